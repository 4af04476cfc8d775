"""When a decision's outputs may leave: tickets in order, and what depends on each.

A decision is adopted at once and joins the open ticket, which is closed and sent to the store when the actor has
handled the mail that waited: one commit for a burst, in which of several writes to one key only the last is written.
The outputs leave when the ticket is on disk. A decision without ops depends on the newest outstanding ticket. A
refusable one (`must`) has a ticket of its own and is adopted only when committed; one that appends has its own too, as
the store's sequences are for its outputs alone. A failed ticket takes all later ones along. So nobody, inside or
outside, sees uncommitted state.
May import: agentcom.core, agentcom.protocol.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from agentcom.core.decision import Decision, Output
from agentcom.core.messages import Fault, Reply
from agentcom.protocol.errors import Code
from agentcom.protocol.ops import Add, Append, AppendMany, Key, Must, Op

_APPENDS = frozenset({Append, AppendMany})
Adopt = Callable[[tuple[Op, ...]], tuple[Output, ...]]


class View(Protocol):
    """The writer's own view of rows, which must see what is adopted and not yet on disk."""

    def add(self, ticket: int, ops: tuple[Op, ...]) -> None: ...

    def drop(self, ticket: int) -> None: ...

    def learn(self, ops: tuple[Op, ...]) -> tuple[Op, ...]: ...


class Due(NamedTuple):
    """What the store is to commit now."""

    ticket: int
    event: str
    ops: tuple[Op, ...]
    must: tuple[Must, ...] = ()


class Ticket(msgspec.Struct):
    """A commit on its way to disk; or, without ops, outputs that wait for the one before."""

    number: int
    outputs: list[Output]
    ops: list[Op]
    must: tuple[Must, ...] = ()
    events: list[str] = []
    ask: Any = None


class OutputCommit:
    """One writer's tickets. `release` sends outputs; `adopt` folds ops into the writer's memory."""

    def __init__(self, view: View, adopt: Adopt, release: Callable[[Sequence[Output]], None]) -> None:
        self._view = view
        self._adopt = adopt
        self._release = release
        self._issued = 0
        self._queue: deque[Ticket] = deque()
        self._open: Ticket | None = None

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def is_open(self) -> bool:
        """A ticket has been begun that `close` must end."""
        return self._open is not None

    def take(self, decision: Decision, ask: Any = None) -> tuple[Due, ...]:
        """Adopt it, hold its outputs. Returns what is to be committed at once, in this order."""
        if not decision.ops:
            if decision.outputs:
                self._hold(decision.outputs)
            return ()
        if decision.must:
            return (*self.close(), self._refusable(decision, ask))
        if not _APPENDS.isdisjoint(map(type, decision.ops)):
            return (*self.close(), *self._join(decision).close())
        self._join(decision)
        return ()

    def close(self) -> tuple[Due, ...]:
        """The open ticket, if there is one, as it goes to the store."""
        if self._open is None:
            return ()
        ticket, self._open = self._open, None
        ops = tuple(ticket.ops if len(ticket.events) == 1 else folded(ticket.ops))
        return (Due(ticket.number, ",".join(dict.fromkeys(ticket.events)), ops),)

    def _join(self, decision: Decision) -> "OutputCommit":
        if self._open is None:
            self._open = self._issue(Ticket(self._issued + 1, [], []))
        ticket = self._open
        self._view.add(ticket.number, decision.ops)
        ticket.ops += decision.ops
        ticket.events.append(decision.event)
        ticket.outputs += decision.outputs
        ticket.outputs += self._adopt(decision.ops)
        return self

    def _refusable(self, decision: Decision, ask: Any) -> Due:
        outputs, ops = list(decision.outputs), list(decision.ops)
        ticket = self._issue(Ticket(self._issued + 1, outputs, ops, decision.must, ask=ask))
        return Due(ticket.number, decision.event, decision.ops, decision.must)

    def _issue(self, ticket: Ticket) -> Ticket:
        self._issued += 1
        self._queue.append(ticket)
        return ticket

    def _hold(self, outputs: tuple[Output, ...]) -> None:
        if self._open is not None:
            self._open.outputs += outputs
        elif self._queue:
            self._queue.append(Ticket(self._issued, list(outputs), []))
        else:
            self._release(outputs)

    def committed(self, number: int, appended: tuple[int, ...] = ()) -> None:
        """It is on disk: adopt what was refusable, let its outputs and those that waited behind it go."""
        ticket = self._next(number)
        later: tuple[Output, ...] = ()
        if ticket.must:
            later = self._adopt(self._view.learn(tuple(ticket.ops)))
        else:
            self._view.drop(number)
        self._release(
            [_filled(output, appended) for output in ticket.outputs] if appended else ticket.outputs
        )
        self._go_on()
        if later:
            self._hold(later)

    def refused(self, number: int) -> Any:
        """A precondition did not hold: nothing of it happened. Returns what was asked, to be decided again."""
        ticket = self._next(number)
        self._go_on()
        return ticket.ask

    def failed(self, number: int, code: Code, message: str) -> None:
        """What the writer believes is not on disk: whoever waits is answered, and the writer must end."""
        ticket = self._next(number)
        self._release(_answers(ticket, Fault(code, message, retry_after_ms=1_000)))
        self.abandoned("a write before this one failed")

    def abandoned(self, why: str) -> None:
        """The writer ends and will not hear what became of these: whoever waits is told to ask again."""
        waiting, self._queue, self._open = self._queue, deque(), None
        for ticket in waiting:
            self._release(_answers(ticket, Fault("unavailable", why, retry_after_ms=1_000)))

    def _next(self, number: int) -> Ticket:
        """Tickets are settled in their order."""
        ticket = self._queue.popleft()
        if ticket.number != number:
            raise RuntimeError(f"ticket {number} was settled, {ticket.number} was due")
        return ticket

    def _go_on(self) -> None:
        while self._queue and not self._queue[0].ops:
            self._release(self._queue.popleft().outputs)


def _filled(output: Output, appended: tuple[int, ...]) -> Output:
    """With the sequences the store allocated, where it asked for them."""
    return output._replace(message=output.message(appended)) if callable(output.message) else output


def folded(ops: Iterable[Op]) -> Iterable[Op]:
    """What they come to together: of puts and deletes at one key the last, of additions their sum."""
    last: dict[tuple[str, Key], Op] = {}
    for op in ops:
        place = (op.table, op.key)
        before = last.get(place)
        if type(op) is Add and type(before) is Add:
            op = Add(op.table, op.key, before.delta + op.delta)
        last[place] = op
    return last.values()


def _answers(ticket: Ticket, fault: Fault) -> tuple[Output, ...]:
    """Of all that would have left only answers matter: notices are derived again from rows."""
    return tuple(
        output._replace(message=Reply(output.message.request, fault))
        for output in ticket.outputs
        if isinstance(output.message, Reply)
    )
