"""Bytes from outside become Structs, or a `Fault` that names the field: one msgspec pass, no exception gets further.

Free-form values (`metadata`, `result.data`) are held to what a row and a JSON answer can carry.
May import: agentcom.protocol, agentcom.core.messages.
"""

import re
from collections.abc import Callable
from math import isfinite
from typing import Any, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from agentcom.core.messages import Fault
from agentcom.protocol.bodies import NewMessage, NewPost, NewTask
from agentcom.protocol.frames import InboundFrame, Send, TaskComplete, TaskSubmit
from agentcom.protocol.v1_bodies import PushTask

Codec = Literal["json", "msgpack"]
T = TypeVar("T")

MAX_DEPTH = 32
MAX_INT, MIN_INT = 2**64 - 1, -(2**63)

_AT = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>.*)`$")
_FIELD = re.compile(r"^Object (?:missing required|contains unknown) field `(?P<field>[^`]+)`")
_frames: dict[str, Callable[[bytes], Any]] = {
    "json": msgspec.json.Decoder(InboundFrame).decode,
    "msgpack": msgspec.msgpack.Decoder(InboundFrame).decode,
}
_FREE: dict[type, str] = {
    NewMessage: "payload",
    NewPost: "payload",
    NewTask: "metadata",
    PushTask: "metadata",
}
"""Bodies with a field of any shape."""
_ENVELOPE = frozenset({"type", "id", "task"})
_bodies: dict[type, Callable[[Any], Any]] = {}


class _Named(msgspec.Struct):
    id: str = ""
    task_id: str = ""


_named: dict[str, Callable[[bytes], _Named]] = {
    "json": msgspec.json.Decoder(_Named).decode,
    "msgpack": msgspec.msgpack.Decoder(_Named).decode,
}


def decode_frame(codec: str, data: bytes) -> Any:
    """An inbound frame, or a Fault."""
    frame = _attempt(_frames[codec], data)
    if type(frame) is TaskComplete and frame.result.data:
        return not_plain(frame.result.data, "result.data") or frame
    if type(frame) is TaskSubmit and frame.task is None:
        return replace(frame, task=_inline(codec, data))
    if type(frame) is Send:
        return not_plain(frame.payload, "payload") or frame
    return frame


class Inline(dict[str, Any]):
    """The fields of a task that stand in its frame itself, and not under `task`."""


def _inline(codec: str, data: bytes) -> Inline:
    said: dict[str, Any] = (msgspec.json if codec == "json" else msgspec.msgpack).decode(data)
    return Inline((name, value) for name, value in said.items() if name not in _ENVELOPE)


def decode_body(kind: type[T], data: bytes) -> T | Fault:
    """A JSON request body. An absent body is an empty object; `null` is the same as leaving a field out."""
    decode = _bodies.get(kind)
    if decode is None:
        decode = _bodies[kind] = msgspec.json.Decoder(kind).decode
    body = _attempt(decode, data or b"{}")
    if isinstance(body, Fault) and b"null" in data:
        body = _without_nulls(kind, data, body)
    if (free := _FREE.get(type(body))) and (fault := not_plain(getattr(body, free), free)):
        return fault
    return body  # type: ignore[no-any-return]


def _without_nulls(kind: type[T], data: bytes, fault: Fault) -> T | Fault:
    said = _attempt(msgspec.json.decode, data)
    if not isinstance(said, dict) or None not in said.values():
        return fault
    left = {name: value for name, value in said.items() if value is not None}
    return _attempt(lambda given: msgspec.convert(given, kind), left)  # type: ignore[no-any-return]


def decode_query(kind: type[T], args: dict[str, str]) -> T | Fault:
    return _attempt(lambda given: msgspec.convert(given, kind, strict=False), args)  # type: ignore[no-any-return]


def convert_task(task: dict[str, Any]) -> NewTask | Fault:
    """The task of a `task_submit` frame."""
    made = _attempt(lambda given: msgspec.convert(given, NewTask), dict(task))
    if not isinstance(made, Fault):
        made = not_plain(made.metadata, "metadata") or made
    return within(task, made) if isinstance(made, Fault) else made


def within(task: dict[str, Any], fault: Fault) -> Fault:
    """What is wrong with a task, as a fault of the frame that carries it."""
    if isinstance(task, Inline):
        return fault
    return replace(fault, path=f"task.{fault.path}" if fault.path else "task")


def named(codec: str, data: bytes) -> tuple[str, str]:
    """The `id` and `task_id` of a frame that was refused, as far as they can be read."""
    found = _attempt(_named[codec], data)
    return ("", "") if isinstance(found, Fault) else (found.id[:64], found.task_id[:64])


def _attempt(decode: Callable[[Any], Any], given: Any) -> Any:
    try:
        return decode(given)
    except msgspec.ValidationError as error:
        return _refusal(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Fault("bad_json", str(error))
    except RecursionError:
        return Fault("bad_frame", "nested too deeply")


def _refusal(message: str) -> Fault:
    at = _AT.search(message)
    path = at["path"] if at else ""
    sentence = message[: at.start()] if at else message
    field = _FIELD.match(message)
    if field:
        path = f"{path}.{field['field']}" if path else field["field"]
    if path == "type" and not field and "Invalid value" in sentence:
        return Fault("unknown_type", sentence.replace("Invalid value", "There is no frame"), path)
    return Fault("bad_frame", sentence, path)


def not_plain(value: Any, path: str, depth: int = 1) -> Fault | None:
    """Why a free-form value cannot be kept and shown as JSON, if so."""
    kind = type(value)
    if kind in _ALWAYS:
        return None
    if kind is int:
        return None if MIN_INT <= value <= MAX_INT else Fault("bad_frame", "number out of range", path)
    if kind is float:
        return None if isfinite(value) else Fault("bad_frame", "JSON has no such number", path)
    if depth > MAX_DEPTH:
        return Fault("bad_frame", f"nested deeper than {MAX_DEPTH}", path)
    if kind is dict:
        return _not_plain_dict(value, path, depth)
    if kind is list:
        faults = (not_plain(item, f"{path}[{n}]"[:200], depth + 1) for n, item in enumerate(value))
        return next(filter(None, faults), None)
    return Fault("bad_frame", "only what JSON can say is kept", path)


def _not_plain_dict(value: dict[Any, Any], path: str, depth: int) -> Fault | None:
    for key, item in value.items():
        if type(key) is not str:
            return Fault("bad_frame", "keys must be text", path)
        if type(item) not in _ALWAYS and (fault := not_plain(item, f"{path}.{key}"[:200], depth + 1)):
            return fault
    return None


_ALWAYS = frozenset({str, bool, type(None)})
