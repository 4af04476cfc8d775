"""Registrations, tokens, invites, repos and pull request records: feeds `core.directory` and `core.retention`."""

import secrets
from typing import Any, ClassVar

import msgspec

from actors.durable import Durable
from agentcom.config import Config
from agentcom.core.audit import record
from agentcom.core.directory import decide
from agentcom.core.messages import Administer, Expire, Recorded
from agentcom.core.retention import DirectoryRetention
from agentcom.protocol.rows import LANES


class DirectoryArgs(msgspec.Struct, frozen=True):
    config: Config
    folder: str


class SystemSecrets:
    """256 random bits as text, from the operating system."""

    def secret(self) -> str:
        return secrets.token_urlsafe(32)


class DirectoryActor(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway", *(f"lane.{lane}" for lane in LANES))

    def on_opened(self) -> None:
        self.retention = DirectoryRetention()
        self.ready()

    def on_news(self, msg: Any, sender: Any) -> None:
        if isinstance(msg, Administer):
            registration = self.args.config.registration
            self.carry_out([decide(msg, self.at.ms, self.rows, SystemSecrets(), registration)], msg)
        elif isinstance(msg, Recorded):
            self.carry_out([record(msg, self.at.ms, self.rows)])
        elif isinstance(msg, Expire):
            self.carry_out([self.retention.expire(msg, self.rows, self.at.ms)])
