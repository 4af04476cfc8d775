"""Errors sorted by who must act, and the stable codes they carry on the wire.

    AgentComError      one base; `except AgentComError` means "ours"
        Refused        the caller is wrong: answer it, log at INFO
        Unavailable    we are unwell or busy: the caller sends it again later

Anything else that is raised is a bug: the actor crashes and its supervisor decides.
May import: nothing of ours.
"""

from typing import Literal

Code = Literal[
    "bad_json", "bad_frame", "unknown_type", "not_identified", "invalid_token", "token_agent_mismatch",
    "forbidden", "not_found", "stale_generation", "not_owner", "invalid_state", "conflict", "rate_limited",
    "overloaded", "storage_full", "unavailable", "too_large",
]  # fmt: skip

STATUS: dict[Code, int] = {
    "bad_json": 400, "bad_frame": 422, "unknown_type": 422, "not_identified": 401, "invalid_token": 401,
    "token_agent_mismatch": 403, "forbidden": 403, "not_found": 404, "stale_generation": 409, "not_owner": 409,
    "invalid_state": 409, "conflict": 409, "rate_limited": 429, "overloaded": 503, "storage_full": 507,
    "unavailable": 503, "too_large": 413,
}  # fmt: skip
"""HTTP status of each code."""

CALLER_LATER: frozenset[Code] = frozenset({"rate_limited", "overloaded", "storage_full", "unavailable"})
"""The same request may succeed later; every other code is final for the request as it was sent."""


class AgentComError(Exception):
    """One of ours, with a stable `code` for programs and a sentence for people."""

    def __init__(self, code: Code, message: str, *, path: str = "", retry_after_ms: int = 0) -> None:
        super().__init__(code, message)
        self.code: Code = code
        self.message = message
        self.path = path
        self.retry_after_ms = retry_after_ms

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" (at {self.path})" if self.path else "")


class Refused(AgentComError):
    """The caller is wrong; nothing was changed."""


class Unavailable(AgentComError):
    """The hub cannot say or do it now; the outcome of the request is unknown unless it says otherwise."""
