"""One agent: feeds `core.agent.Agent`. Started on first use, asleep when offline with nothing held."""

from typing import Any, ClassVar

import msgspec
import structlog

from actors.durable import Durable
from agentcom.core.agent import Agent
from agentcom.core.inbox import MailRules
from agentcom.core.messages import Appended
from agentcom.core.policy import Policy
from agentcom.entropy import SystemEntropy
from agentcom.protocol.rows import LANES

log = structlog.get_logger()

ENTROPY = SystemEntropy()
"""One for all agents of this process, so that ids made in one millisecond differ."""

SLEEP_AFTER_S = 60.0


class AgentArgs(msgspec.Struct, frozen=True):
    folder: str
    policy: Policy
    epoch: int = 1
    mail: MailRules = MailRules()


class AgentActor(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = (
        "scheduler", "agents", "channels", "gateway", "presence", *(f"lane.{lane}" for lane in LANES),
    )  # fmt: skip
    unread_tables = ("messages", "talk", "threads", "counter", "posts")

    def on_opened(self) -> None:
        agent_id = self.name.partition(".")[2]
        args: AgentArgs = self.args
        self.agent = Agent(
            agent_id, self.store_incarnation, args.policy, self.rows, args.epoch, args.mail, ENTROPY
        )
        self.armed_for = float("inf")
        self.after(SLEEP_AFTER_S, "idle?")
        self.ready()

    def on_message(self, msg: Any, sender: Any) -> None:
        """Nearly all mail of an agent that hears many posts takes the short way."""
        if type(msg) is Appended and (delivery := self.agent.inbox.at_once(msg)):
            self.say("gateway", delivery)
        else:
            super().on_message(msg, sender)

    def on_news(self, msg: Any, sender: Any) -> None:
        self.on_several((msg,), sender)

    def on_several(self, messages: tuple[Any, ...], sender: Any) -> None:
        # of which there are many, and which only deliver
        if len(messages) > 1 or type(messages[0]) is not Appended:
            self.agent.admission = self.admission()
        self.carry_out(self.agent.handle_all(messages, self.at))
        if lost := self.agent.inbox.take_dropped():
            log.warning("mailbox.trimmed", actor=self.name, agent_id=self.agent.id, dropped=lost)
        self._arm()

    def on_peer_up(self, name: str) -> None:
        self.carry_out(self.agent.up(name, self.at))

    def on_peer_down(self, name: str) -> None:
        self.carry_out(self.agent.down(name, self.at))

    def on_time(self, payload: Any) -> None:
        if payload == "idle?":
            self.after(SLEEP_AFTER_S, payload)
            if self._is_idle():
                self.may_sleep()
            return
        self.armed_for = float("inf")
        self.carry_out(self.agent.tick(self.at))
        self._arm()

    def on_sleep(self) -> None:
        if self._is_idle():
            self.exit("normal")
        else:
            self.stay_awake()

    def _is_idle(self) -> bool:
        return self.agent.may_sleep and not self.tickets

    def _arm(self) -> None:
        clock = self.at.mono
        wake = self.agent.next_wake(clock)
        if wake < self.armed_for - 0.001:
            self.armed_for = wake
            self.after(wake - clock, "tick")
