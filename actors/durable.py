"""The shell of every actor that commits: output commit as DESIGN §6 states it.

A decision is adopted at once; its outputs leave when the ticket it depends on is on disk, in the order of the
decisions. A decision without ops depends on the newest outstanding ticket. A refusable decision (with `must`) is
adopted only when committed. After a failed ticket those who waited are answered and the actor exits `aborted`.
"""

import time
from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
import structlog

from agentcom.core.decision import Decision, Output
from agentcom.core.lane import Now
from agentcom.core.messages import Ask, Fault, Reply
from agentcom.protocol.ops import Op
from agentcom.store.env import reader_of
from agentcom.store.messages import Answers, Commit, Committed, Failed, Open, Opened, StoreStatus
from agentcom.store.overlay import Overlay
from supervisors.base import Supervised

log = structlog.get_logger()


class Ticket(msgspec.Struct):
    """A commit on its way to disk, or (without `decision`) outputs that wait for the one before."""

    number: int
    outputs: tuple[Output, ...]
    decision: Decision
    ask: Any = None


def now() -> Now:
    return Now(time.time_ns() // 1_000_000, time.monotonic())


class Durable(Supervised):
    """Subclasses: `on_opened` loads state and says `ready`; `adopt` folds ops into it; `on_refused` answers."""

    needs: ClassVar[tuple[str, ...]] = ("store",)
    cache_tables: ClassVar[tuple[str, ...]] = ()

    def on_start(self, args: Any) -> None:
        self.reader = reader_of(args.folder)
        self.rows = Overlay(self.reader, cache_tables=self.cache_tables)
        self.store_status = StoreStatus()
        self.store_incarnation = 0
        self._ticket = 0
        self._queue: deque[Ticket] = deque()
        self.tell("store", Open(self.name))

    # --- hooks -------------------------------------------------------------------------------------

    def on_opened(self) -> None:
        self.ready()

    def on_news(self, msg: Any, sender: Any) -> None:
        """Every message but the store's."""

    def adopt(self, ops: tuple[Op, ...]) -> tuple[Output, ...]:
        """Fold ops into memory; what that gives to say leaves with the decision."""
        return ()

    def on_refused(self, ask: Any, failed: Failed) -> None:
        """A precondition of `ask`'s decision did not hold. The row in its way is on disk now."""

    # --- messages ----------------------------------------------------------------------------------

    def on_message(self, msg: Any, sender: Any) -> None:
        match msg:
            case Answers(items):
                for item in items:
                    self._settle(item)
            case Opened(_, incarnation):
                self.store_incarnation = incarnation
                self.on_opened()
            case StoreStatus():
                self.store_status = msg
            case _ if isinstance(msg, Ask) and (fault := self._admission()):
                self.send(msg.reply_to, Reply(msg.request, fault))
            case _:
                self.on_news(msg, sender)

    def _admission(self) -> Fault | None:
        """Decided before any state changes."""
        if self.store_status.full:
            return Fault("storage_full", "the disk is full; nothing new is accepted", retry_after_ms=10_000)
        if self.store_status.overloaded or self.store_status.stuck:
            return Fault("overloaded", "the disk is behind", retry_after_ms=1_000)
        return None

    # --- decisions ---------------------------------------------------------------------------------

    def carry_out(self, decisions: Iterable[Decision], ask: Any = None) -> None:
        """Each decision is adopted before the next is made."""
        for decision in decisions:
            if decision.ops:
                self._commit(decision, ask)
            elif decision.outputs:
                self._say(decision.outputs)

    def _commit(self, decision: Decision, ask: Any) -> None:
        self._ticket += 1
        outputs = decision.outputs
        if not decision.must:
            self.rows.add(self._ticket, decision.ops)
            outputs = (*outputs, *self.adopt(decision.ops))
        self._queue.append(Ticket(self._ticket, outputs, decision, ask))
        commit = Commit(
            self.name, self.store_incarnation, self._ticket, decision.event, decision.ops, decision.must
        )
        self.tell("store", commit)

    def _say(self, outputs: tuple[Output, ...]) -> None:
        """Outputs without ops of their own: they wait for whatever is still on its way."""
        if not self._queue:
            self._release(outputs, ())
            return
        self._queue.append(Ticket(self._queue[-1].number, outputs, Decision()))

    def _settle(self, item: Committed | Failed) -> None:
        """Answers come in the order of tickets, so the oldest of the queue is meant."""
        ticket = self._queue.popleft()
        if ticket.number != item.ticket:
            raise RuntimeError(f"the store answered ticket {item.ticket}, {ticket.number} was due")
        if isinstance(item, Committed):
            self._committed(ticket, item)
        elif item.code == "refused":
            self.on_refused(ticket.ask, item)
        else:
            self._abort(ticket, item)
            return
        while self._queue and self._queue[0].decision.ops == ():
            self._release(self._queue.popleft().outputs, ())

    def _committed(self, ticket: Ticket, done: Committed) -> None:
        later: tuple[Output, ...] = ()
        if ticket.decision.must:
            self.rows.add(ticket.number, ticket.decision.ops)
            later = self.adopt(ticket.decision.ops)
        self.rows.drop(ticket.number)
        self._release(ticket.outputs, done.appended)
        if later:
            self._say(later)

    def _abort(self, ticket: Ticket, failed: Failed) -> None:
        """What this actor believes is not on disk: answer those who wait, and start again from rows."""
        log.error("commit.failed", actor=self.name, code=failed.code, reason=failed.message)
        code: Any = "storage_full" if failed.code == "storage_full" else "unavailable"
        self._answer_waiters(ticket, Fault(code, failed.message, retry_after_ms=1_000))
        for behind in self._queue:
            self._answer_waiters(
                behind, Fault("unavailable", "a write before this one failed", retry_after_ms=1_000)
            )
        self._queue.clear()
        self.exit("aborted")

    def _answer_waiters(self, ticket: Ticket, fault: Fault) -> None:
        for output in ticket.outputs:
            if isinstance(output.message, Reply):
                self.send(output.to, Reply(output.message.request, fault))

    # --- leaving -----------------------------------------------------------------------------------

    def _release(self, outputs: tuple[Output, ...], appended: tuple[int, ...]) -> None:
        for to, message in outputs:
            self._deliver(to, message(appended) if callable(message) else message)

    def _deliver(self, to: Any, message: Any) -> None:
        """A notice to a name that is down is dropped: it derives it from rows when it is up. A question is answered."""
        if not isinstance(to, str):
            self.send(to, message)
            return
        name, _, child = to.partition("/")
        sent = self.tell_child(name, child, message) if child else self.tell(name, message)
        if not sent and isinstance(message, Ask):
            self.send(message.reply_to, message.unavailable())

    @property
    def outstanding(self) -> int:
        return len(self._queue)

    def on_stop(self) -> None:
        """Exit only when the tickets are answered, so that the store closes with nothing owed."""
        if not self._queue:
            self.stopped()
        else:
            self.after(0.01, _STOP)

    def on_wakeup(self, payload: Any) -> None:
        if payload == _STOP:
            self.on_stop()
        else:
            self.on_time(payload)

    def on_time(self, payload: Any) -> None:
        """A time set by `after` has come."""


_STOP = "stop when answered"
