"""The shell of every actor that commits; the rules are `agentcom.core.output_commit`'s.

It opens its incarnation with the store, sends tickets, and lets outputs go as their tickets come back. After a
failed ticket it exits `aborted` and starts again from rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import msgspec
import structlog

from agentcom.core.decision import Decision, Now, Output, joined
from agentcom.core.messages import Ask, Fault, Reply, Several, Spread
from agentcom.core.output_commit import Due, OutputCommit
from agentcom.protocol.ops import Op
from agentcom.runtime import clock_of, when_idle
from agentcom.store.env import reader_of
from agentcom.store.messages import Answers, Commit, Committed, Failed, Open, Opened, StoreStatus
from agentcom.store.overlay import Overlay
from supervisors.base import Supervised
from supervisors.messages import To, ToEach

log = structlog.get_logger()

_STOP = "stop when answered"


class CloseTicket(msgspec.Struct, frozen=True):
    """From itself: the actors have nothing more to say for now, so the open ticket can go."""

    def __str__(self) -> str:
        return "CloseTicket"


class Durable(Supervised):
    """Subclasses: `on_opened` loads state and says `ready`; `adopt` folds ops into it; `on_refused` decides again.

    They hear of other names by `on_peer_up` and `on_peer_down`, and only once their state is loaded. `at` is the time
    of the message under way.
    """

    needs: ClassVar[tuple[str, ...]] = ("store",)
    cache_tables: ClassVar[tuple[str, ...]] = ()
    unread_tables: ClassVar[tuple[str, ...]] = ()
    store_incarnation = 0
    at: Now
    _held_back: list[Output] | None = None

    def on_start(self, args: Any) -> None:
        self.rows = Overlay(
            reader_of(args.folder),
            cache_tables=self.cache_tables,
            cache_if=lambda row: self.is_ours(row),
            unread=self.unread_tables,
        )
        self.tickets = OutputCommit(self.rows, self.adopt, self._release)
        self.closing = False
        self.clock = clock_of(self)
        self._look_at_the_clock()
        self.store_status = StoreStatus()
        self.tell("store", Open(self.name))

    # --- hooks -------------------------------------------------------------------------------------

    def on_opened(self) -> None:
        self.ready()

    def on_peer_up(self, name: str) -> None:
        """A name of `soft_needs` is Up, or was when the state was loaded."""

    def on_peer_down(self, name: str) -> None:
        """It is gone."""

    def on_news(self, msg: Any, sender: Any) -> None:
        """Every message but the store's."""

    def on_several(self, messages: tuple[Any, ...], sender: Any) -> None:
        """Notices that came as one."""
        for message in messages:
            self.on_news(message, sender)

    def adopt(self, ops: tuple[Op, ...]) -> tuple[Output, ...]:
        """Fold ops into memory; what that gives to say leaves with the decision."""
        return ()

    def is_ours(self, row: Any) -> bool:
        """Whether nobody else writes this row of a cached table, so that it may be kept."""
        return True

    def on_refused(self, ask: Any) -> None:
        """A precondition of `ask`'s decision did not hold. The row in its way is on disk now."""

    def on_time(self, payload: Any) -> None:
        """A time set by `after` has come."""

    # --- messages ----------------------------------------------------------------------------------

    def on_message(self, msg: Any, sender: Any) -> None:
        self._look_at_the_clock()
        kind = type(msg)
        if kind is Answers:
            for item in msg.items:
                self._settle(item)
        elif kind is CloseTicket:
            self.closing = False
            self._commit(self.tickets.close())
        elif kind is Opened:
            self._opened(msg.incarnation)
        elif kind is StoreStatus:
            self.store_status = msg
        elif kind is Several:
            self._several(msg, sender)
        elif isinstance(msg, Ask) and (fault := self.admission()):
            self.send(msg.reply_to, Reply(msg.request, fault))
        else:
            self.on_news(msg, sender)

    def _opened(self, incarnation: int) -> None:
        """One that starts again finds its peers Up already, before it can do anything with that."""
        self.store_incarnation = incarnation
        self.on_opened()
        for name in self.soft_needs:
            if self.where(name) is not None:
                self.on_peer_up(name)

    def on_up(self, name: str, incarnation: int) -> None:
        if self.store_incarnation:
            self._look_at_the_clock()
            self.on_peer_up(name)

    def on_down(self, name: str) -> None:
        if not self.store_incarnation:
            return
        self._look_at_the_clock()
        if name == "store":
            self._give_up("the store started again; send it again with the same key")
        else:
            self.on_peer_down(name)

    def _give_up(self, why: str) -> None:
        """What is outstanding will never be answered, and memory may hold what is not on disk."""
        self.tickets.abandoned(why)
        self.exit("aborted")

    def admission(self) -> Fault | None:
        """Decided before any state changes."""
        if self.store_status.full:
            return Fault("storage_full", "there is no room; nothing new is accepted", retry_after_ms=10_000)
        if self.store_status.stuck:
            return Fault("unavailable", "the disk does not answer", retry_after_ms=5_000)
        if self.store_status.overloaded:
            return Fault("overloaded", "the disk is behind", retry_after_ms=1_000)
        return None

    def _look_at_the_clock(self) -> None:
        self.at = Now(int(self.clock.now() * 1000), self.clock.monotonic())

    # --- decisions ---------------------------------------------------------------------------------

    def carry_out(self, decisions: Iterable[Decision], ask: Any = None) -> None:
        """Each decision is adopted before the next is made. What a burst of mail decides is one commit.

        Decisions in a row that only say something are taken as one.
        """
        said: tuple[Output, ...] = ()
        for decision in decisions:
            if not decision.ops:
                said += decision.outputs
                continue
            if said:
                self.tickets.take(Decision(outputs=said))
                said = ()
            if due := self.tickets.take(decision, ask):
                self._commit(due)
        if said:
            self.tickets.take(Decision(outputs=said))
        if self.tickets.is_open and not self.closing:
            self.closing = True
            when_idle(self, CloseTicket())

    def say(self, name: str, message: Any) -> None:
        """An output of a decision without ops, to a name."""
        if self.tickets:
            self.tickets.take(Decision(outputs=(Output(name, message),)))
        else:
            self.tell(name, message)

    def _commit(self, what: Iterable[Due]) -> None:
        for due in what:
            self.tell("store", Commit(self.name, self.store_incarnation, *due))

    def _settle(self, item: Committed | Failed) -> None:
        if isinstance(item, Committed):
            self.tickets.committed(item.ticket, item.appended)
        elif item.code == "refused":
            self.on_refused(self.tickets.refused(item.ticket))
        elif self.tickets:
            log.error("commit.failed", actor=self.name, code=item.code, reason=item.message)
            full = item.code == "storage_full"
            self.tickets.failed(item.ticket, "storage_full" if full else "unavailable", item.message)
            self.exit("aborted")

    def on_crash(self) -> None:
        """What is on its way to disk may arrive there; the next life of this actor does not know who asked for it."""
        if self.store_incarnation:
            self.tickets.abandoned("its actor crashed; send it again with the same key")

    # --- leaving -----------------------------------------------------------------------------------

    def _several(self, msg: Several, sender: Any) -> None:
        """What they give to say leaves together too."""
        self._held_back = []
        self.on_several(msg.messages, sender)
        outputs, self._held_back = self._held_back, None
        self._release(outputs)

    def _release(self, outputs: Sequence[Output]) -> None:
        if self._held_back is not None:
            self._held_back += outputs
            return
        for to, message in joined(outputs):
            if type(to) is str:
                self._deliver(to, message)
            else:
                self.send(to, message)

    def _deliver(self, to: str, message: Any) -> None:
        """A notice to a name that is down is dropped: it derives it from rows when it is up. A question is answered."""
        name, _, child = to.partition("/")
        if type(message) is Spread:
            sent = self.tell(name, ToEach(tuple([To(each, news, news.wakes) for each, news in message.mail])))
        elif child:
            sent = self.tell_child(name, child, message, wake=getattr(message, "wakes", True))
        else:
            sent = self.tell(name, message)
        if not sent and isinstance(message, Ask):
            self.send(message.reply_to, message.unavailable())

    def on_stop(self) -> None:
        """Exit only when the tickets are answered, so that the store closes with nothing owed."""
        if self.tickets:
            self.after(0.01, _STOP)
        else:
            self.stopped()

    def on_wakeup(self, payload: Any) -> None:
        self._look_at_the_clock()
        if payload == _STOP:
            self.on_stop()
        else:
            self.on_time(payload)
