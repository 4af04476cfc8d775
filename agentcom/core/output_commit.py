"""When a decision's outputs may leave: tickets in order, and what depends on each.

A decision is adopted at once and takes a ticket; its outputs leave when that ticket is on disk. A decision without
ops depends on the newest outstanding ticket. A refusable one (`must`) is adopted only when committed. A failed
ticket takes all later ones along. So nobody, inside or outside, sees uncommitted state.
May import: agentcom.core, agentcom.protocol.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from agentcom.core.decision import Decision, Output
from agentcom.core.messages import Fault, Reply
from agentcom.protocol.errors import Code
from agentcom.protocol.ops import Op

Adopt = Callable[[tuple[Op, ...]], tuple[Output, ...]]


class View(Protocol):
    """The writer's own view of rows, which must see what is adopted and not yet on disk."""

    def add(self, ticket: int, ops: tuple[Op, ...]) -> None: ...

    def drop(self, ticket: int) -> None: ...

    def learn(self, ops: tuple[Op, ...]) -> None: ...


class Ticket(msgspec.Struct):
    """A commit on its way to disk; or, without ops, outputs that wait for the one before."""

    number: int
    outputs: tuple[Output, ...]
    decision: Decision
    ask: Any = None


class OutputCommit:
    """One writer's tickets. `release` sends outputs; `adopt` folds ops into the writer's memory."""

    def __init__(self, view: View, adopt: Adopt, release: Callable[[tuple[Output, ...]], None]) -> None:
        self._view = view
        self._adopt = adopt
        self._release = release
        self._issued = 0
        self._queue: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def take(self, decision: Decision, ask: Any = None) -> int:
        """Adopt it, hold its outputs. Returns the ticket to commit its ops under, 0 when it has none."""
        if decision.ops:
            return self._issue(decision, ask)
        if decision.outputs:
            self._hold(decision.outputs)
        return 0

    def _issue(self, decision: Decision, ask: Any) -> int:
        self._issued += 1
        outputs = decision.outputs
        if not decision.must:
            self._view.add(self._issued, decision.ops)
            outputs = (*outputs, *self._adopt(decision.ops))
        self._queue.append(Ticket(self._issued, outputs, decision, ask))
        return self._issued

    def _hold(self, outputs: tuple[Output, ...]) -> None:
        if self._queue:
            self._queue.append(Ticket(self._issued, outputs, Decision()))
        else:
            self._release(outputs)

    def committed(self, number: int, appended: tuple[int, ...] = ()) -> None:
        """It is on disk: adopt what was refusable, let its outputs and those that waited behind it go."""
        ticket = self._next(number)
        later: tuple[Output, ...] = ()
        if ticket.decision.must:
            self._view.learn(ticket.decision.ops)
            later = self._adopt(ticket.decision.ops)
        else:
            self._view.drop(number)
        self._release(tuple(_filled(output, appended) for output in ticket.outputs))
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
        behind, self._queue = self._queue, deque()
        for later in behind:
            self._release(_answers(later, Fault("unavailable", "a write before this one failed", retry_after_ms=1_000)))

    def _next(self, number: int) -> Ticket:
        """Tickets are settled in their order."""
        ticket = self._queue.popleft()
        if ticket.number != number:
            raise RuntimeError(f"ticket {number} was settled, {ticket.number} was due")
        return ticket

    def _go_on(self) -> None:
        while self._queue and not self._queue[0].decision.ops:
            self._release(self._queue.popleft().outputs)


def _filled(output: Output, appended: tuple[int, ...]) -> Output:
    """With the sequences the store allocated, where it asked for them."""
    return output._replace(message=output.message(appended)) if callable(output.message) else output


def _answers(ticket: Ticket, fault: Fault) -> tuple[Output, ...]:
    """Of all that would have left only answers matter: notices are derived again from rows."""
    return tuple(
        output._replace(message=Reply(output.message.request, fault))
        for output in ticket.outputs
        if isinstance(output.message, Reply)
    )
