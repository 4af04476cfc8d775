"""The hub's refusals as exceptions: who must act, the code, the path.

May import: msgspec, agentcom.protocol.
"""

from typing import Any, NoReturn, cast, get_args

import msgspec

from agentcom.protocol import errors
from agentcom.protocol.bodies import ErrorBody

CODES: frozenset[str] = frozenset(get_args(errors.Code))
_BY_STATUS: dict[int, errors.Code] = {
    400: "bad_json", 401: "invalid_token", 403: "forbidden", 404: "not_found", 405: "not_found",
    409: "conflict", 413: "too_large", 422: "bad_frame", 429: "rate_limited", 507: "storage_full",
}  # fmt: skip


def error(code: str, message: str, *, path: str = "", retry_after_ms: int = 0) -> errors.AgentComError:
    """The exception of a code; one we do not know is the caller's to look at."""
    known = cast(errors.Code, code if code in CODES else "invalid_state")
    kind = errors.Unavailable if known in errors.CALLER_LATER else errors.Refused
    return kind(known, message, path=path, retry_after_ms=retry_after_ms)


def raise_for(status: int, content: bytes) -> NoReturn:
    """Raise what an HTTP error answer says; answers of proxies and older routes are read by their status."""
    body = _body(content)
    code = str(body.get("error", ""))
    if code not in CODES:
        code = _BY_STATUS.get(status, "unavailable" if status >= 500 else "bad_frame")
    said = str(
        body.get("message") or body.get("error") or content[:200].decode(errors="replace") or f"HTTP {status}"
    )
    later = body.get("retry_after_ms")
    raise error(
        code, said, path=str(body.get("path") or ""), retry_after_ms=later if isinstance(later, int) else 0
    )


def _body(content: bytes) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def retried(entry: object) -> bool:
    """Whether an entry of a batch's answer says: the same again, later."""
    return isinstance(entry, ErrorBody) and entry.error in errors.CALLER_LATER
