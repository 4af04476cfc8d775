"""One authorised HTTP request, on its way through the gateway.

May import: agentcom.protocol, agentcom.core.
"""

from typing import Any

from agentcom.core.decision import Output
from agentcom.core.gateway_state import refuse
from agentcom.core.messages import Fault, HttpIn, Reply
from agentcom.core.routes import Route
from agentcom.protocol.rows import Token


class Asked:
    """What was asked, by whom, and how to answer."""

    __slots__ = ("msg", "route", "who")

    def __init__(self, msg: HttpIn, route: Route, who: Token | None) -> None:
        self.msg, self.route, self.who = msg, route, who

    @property
    def subject(self) -> str:
        return self.who.subject if self.who else ""

    @property
    def role(self) -> str:
        return self.who.role if self.who else ""

    def refuse(self, fault: Fault) -> list[Output]:
        return refuse(self.msg.reply_to, self.msg.request, fault)

    def reply(self, body: Any, status: int = 200) -> list[Output]:
        return [Output(self.msg.reply_to, Reply(self.msg.request, body, status))]
