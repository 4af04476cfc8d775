"""Registrations, tokens, invites, repos and pull request records, and what operators send: feeds `core.directory`,
`core.directory_retention` and `core.posting`.
"""

from typing import Any, ClassVar

import msgspec

from actors.durable import Durable
from agentcom.core.audit import record
from agentcom.core.directory import decide
from agentcom.core.directory_base import Registration
from agentcom.core.directory_pauses import condition
from agentcom.core.directory_retention import DirectoryRetention
from agentcom.core.inbox import MailRules
from agentcom.core.messages import Administer, Expire, PauseChanged, Recorded, SendMessage
from agentcom.core.posting import Sender, answer_to, post
from agentcom.entropy import SystemEntropy, SystemSecrets
from agentcom.protocol.pauses import every_pause
from agentcom.protocol.rows import LANES


class DirectoryArgs(msgspec.Struct, frozen=True):
    folder: str
    registration: Registration
    mail: MailRules


class DirectoryActor(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = (
        "gateway",
        "agents",
        "channels",
        *(f"lane.{lane}" for lane in LANES),
    )

    def on_opened(self) -> None:
        self.entropy = SystemEntropy()
        self.retention = DirectoryRetention()
        self.ready()

    def on_peer_up(self, name: str) -> None:
        """A lane that was starting when its pause changed has read its row too early and heard nothing."""
        if name == "gateway":
            self.say(name, condition(every_pause(self.rows)))
        elif name.startswith("lane."):
            self.say(name, PauseChanged())

    def on_news(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Administer):
            decision = decide(msg, self.at.ms, self.rows, SystemSecrets(), self.args.registration)
            self.carry_out([decision], msg)
        elif isinstance(msg, Recorded):
            self.carry_out([record(msg, self.at.ms, self.rows)])
        elif isinstance(msg, Expire):
            self.carry_out([self.retention.expire(msg, self.rows, self.at.ms)])
        elif isinstance(msg, SendMessage):
            operator = Sender(msg.sender, self.rows, self.args.mail)
            done = post(msg.send, operator, self.entropy.message_id(self.at.ms), self.at.ms)
            self.carry_out([answer_to(msg, done)], msg)
