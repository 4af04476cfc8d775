"""Protocol 1's bytes become Structs, or the list of all that is wrong with them.

A frame that is right costs one msgspec pass; only one that is not is looked at field by field.
May import: agentcom.protocol, agentcom.core.decoding.
"""

from functools import cache
from typing import Any

import msgspec

from agentcom.core.decoding import not_plain
from agentcom.protocol.v1 import (
    BY_TYPE,
    INBOUND,
    ChannelPublish,
    Complete,
    Error,
    Inbound,
    Message,
    Progress,
    ValidationFailed,
    Wrong,
)

SHOWN_CHARACTERS = 50
"""Of a value that is echoed."""
SECRET = frozenset({"token"})

NOT_JSON = Error(error="invalid_json", message="a frame is one JSON object")


@cache
def _decoder() -> msgspec.json.Decoder[Any]:
    union: Any = INBOUND[0]
    for kind in INBOUND[1:]:
        union = union | kind
    return msgspec.json.Decoder(union)


def check(data: bytes) -> Inbound | Error | ValidationFailed:
    """The frame, or what to answer instead."""
    try:
        frame: Inbound = _decoder().decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _what_is_wrong(data)
    return _not_kept(frame) or frame


def _not_kept(frame: Inbound) -> ValidationFailed | None:
    """Free-form values are held to what a row and a JSON answer can carry."""
    name, value = _free(frame)
    fault = not_plain(value, name) if value else None
    if fault is None:
        return None
    return _refusal(
        frame.__struct_config__.tag, Wrong(field=fault.path, error="wrong_type", detail=fault.message)
    )


def _free(frame: Inbound) -> tuple[str, Any]:
    if type(frame) is Complete:
        return "result", frame.result
    if type(frame) is Progress:
        return "execution_event", frame.execution_event
    if isinstance(frame, Message | ChannelPublish):
        return "payload", frame.payload
    return "", None


def _refusal(kind: Any, *wrong: Wrong) -> ValidationFailed:
    return ValidationFailed(message_type=kind if isinstance(kind, str) else None, errors=list(wrong))


def _what_is_wrong(data: bytes) -> Error | ValidationFailed:
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOT_JSON
    except RecursionError:
        return _refusal(None, Wrong(field="", error="wrong_type", detail="nested too deeply"))
    if not isinstance(said, dict):
        return NOT_JSON
    kind = said.get("type")
    if kind is None:
        return _refusal(None, Wrong(field="type", error="required", detail="every frame has a type"))
    if not isinstance(kind, str):
        return _refusal(
            None, Wrong(field="type", error="wrong_type", detail="type is a string", value=_shown(kind))
        )
    if kind not in BY_TYPE:
        return _refusal(kind[:SHOWN_CHARACTERS], _unknown(kind))
    wrong = [found for field in msgspec.structs.fields(BY_TYPE[kind]) if (found := _wrong(field, said))]
    # What no single field explains is wrong with the whole: say at least that.
    whole = Wrong(field="type", error="wrong_type", detail=f"not a {kind} frame")
    return _refusal(kind, *(wrong or [whole]))


def _unknown(kind: str) -> Wrong:
    return Wrong(
        field="type", error="unknown_message_type", detail="there is no frame of this type",
        value=kind[:SHOWN_CHARACTERS], known_types=sorted(BY_TYPE),
    )  # fmt: skip


def _wrong(field: msgspec.structs.FieldInfo, said: dict[str, Any]) -> Wrong | None:
    name, value = field.encode_name, said.get(field.encode_name)
    if value is None:
        return Wrong(field=name, error="required", detail=f"{name} is required") if field.required else None
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        detail = str(error)
        too_long = "length <=" in detail
        return Wrong(
            field=name, error="too_long" if too_long else "wrong_type", detail=detail,
            value=None if name in SECRET else _shown(value),
        )  # fmt: skip
    return None


def _shown(value: Any) -> Any:
    """What is echoed of a bad value."""
    if isinstance(value, str):
        return value[:SHOWN_CHARACTERS]
    if isinstance(value, bool | int | float) and not (isinstance(value, int) and value.bit_length() > 63):
        return value
    return None
