"""One channel: feeds `core.channel.Channel`. Started on first use, asleep when nothing is posted."""

from typing import Any, ClassVar

import msgspec

from actors.durable import Durable
from agentcom.core.channel import Channel, ChannelRules

SLEEP_AFTER_S = 60.0


class ChannelArgs(msgspec.Struct, frozen=True):
    folder: str
    rules: ChannelRules


class NextSlice(msgspec.Struct, frozen=True):
    """From itself: the next mailboxes of the post under way."""

    def __str__(self) -> str:
        return "NextSlice"


class ChannelActor(Durable):
    soft_needs: ClassVar[tuple[str, ...]] = ("agents", "gateway")
    unread_tables = ("counter",)

    def on_opened(self) -> None:
        args: ChannelArgs = self.args
        self.channel = Channel(self.name.partition(".")[2], self.rows, args.rules)
        self.posting = self.was_used = False
        self.after(SLEEP_AFTER_S, "idle?")
        self.ready()
        self.carry_out(self.channel.start())
        self._go_on()

    def on_news(self, msg: Any, sender: Any) -> None:
        self.was_used = True
        if isinstance(msg, NextSlice):
            self.posting = False
            self.carry_out(self.channel.go_on())
        else:
            self.carry_out(self.channel.handle(msg), msg)
        self._go_on()

    def on_time(self, payload: Any) -> None:
        self.after(SLEEP_AFTER_S, payload)
        if self._is_idle() and not self.was_used:
            self.may_sleep()
        self.was_used = False

    def on_sleep(self) -> None:
        if self._is_idle():
            self.exit("normal")
        else:
            self.stay_awake()

    def _is_idle(self) -> bool:
        return not self.channel.is_busy and not self.tickets and not self.tickets.is_open

    def _go_on(self) -> None:
        if self.channel.is_busy and not self.posting:
            self.posting = True
            self.send(self.myAddress, NextSlice())
