"""From a `Reply` to what HTTP says: status and body.

May import: agentcom.protocol, agentcom.core.
"""

from typing import Any, NamedTuple

from agentcom.core.gateway_http import error_body
from agentcom.core.messages import Fault, Reply
from agentcom.protocol.bodies import Submitted
from agentcom.protocol.errors import STATUS


class Answer(NamedTuple):
    status: int
    body: Any
    retry_after_ms: int = 0
    cookie: str | None = None  #: a login's secret, "" to forget one
    near: tuple[str, int] | None = None  #: (tier, how many requests are left)
    cursor: str = ""  #: there is more: where it goes on


def failed(fault: Fault) -> Answer:
    return Answer(STATUS[fault.code], error_body(fault), fault.retry_after_ms)


def finish(route: str, reply: Reply) -> Answer:
    """A single submit's answer is the one entry of its list; 200 instead of 201 when it is a repeat."""
    body = reply.body
    if route == "task.submit" and isinstance(body, list | tuple):
        body = body[0]
    if isinstance(body, Fault):
        return failed(body)
    if isinstance(body, Submitted):
        return Answer(200 if body.repeated else 201, body)
    return Answer(reply.status, body, cookie=reply.cookie, cursor=_cursor(body))


def _cursor(body: Any) -> str:
    """Who reads a list and knows nothing of cursors is told by a header that it was cut."""
    found = body.get("next_cursor") if isinstance(body, dict) else getattr(body, "next_cursor", None)
    return found or ""
