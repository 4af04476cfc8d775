"""The store actor's bookkeeping: who waits for what, what is being written, what admission must know.

Pure: no I/O, no clock, no actor; addresses are opaque. Methods that answer return (address, message) pairs.
May import: agentcom.store.{commits,disk,messages,telling}, msgspec.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from agentcom.store import telling
from agentcom.store.commits import Answer
from agentcom.store.disk import Done, Figures, Space
from agentcom.store.messages import Answers, Committed, Open, StoreStatus
from agentcom.store.preparing import Prepared

Item = Prepared | Open
Letter = tuple[Any, Any]

MAX_BATCH = 2_000
REMEMBERED = 500
"""Batches whose size and time are kept for the percentiles."""


class Flags(NamedTuple):
    """What admission goes by."""

    full: bool = False
    overloaded: bool = False
    stuck: bool = False


class Desk:
    """One batch is written while the next one gathers."""

    def __init__(self, *, max_queue: int, sync: bool) -> None:
        self.status = StoreStatus(sync=sync)
        self.flags = Flags()  #: another object when one of them has changed
        self._flags = self.flags  #: as of `turned`
        self._gathering = False
        self._max_queue = max_queue
        self._waiting: list[tuple[Any, Item]] = []
        self._writing: list[tuple[Any, Item]] = []
        self._watchers: dict[str, Any] = {}
        self._last: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)  #: commits and milliseconds
        self._space = Space()

    @property
    def idle(self) -> bool:
        return not self._writing and not self._waiting

    def add(self, sender: Any, item: Item) -> Sequence[Letter]:
        self._waiting.append((sender, item))
        crowded = len(self._waiting) > self._max_queue
        return self.tell(overloaded=True) if crowded and not self.status.overloaded else ()

    def gather(self, item: Item) -> Literal["", "soon", "idle"]:
        """When to `take` the batch that begins with `item`, "" when that is settled.

        Soon for a commit without preconditions: it closes a ticket, so its writer has let the others speak first. Of
        any other more may follow at once.
        """
        if self._gathering or self._writing:
            return ""
        self._gathering = True
        return "idle" if isinstance(item, Open) or item.must else "soon"

    def take(self) -> list[Item]:
        """The next batch; empty while one is being written or when nothing waits."""
        self._gathering = False
        if self._writing:
            return []
        self._writing, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        return [item for _, item in self._writing]

    def settle(self, done: Done) -> list[Letter]:
        """What the written batch answers, and what it changed for admission."""
        written, self._writing = self._writing, []
        letters = list(self._answers(written, done.answers))
        self._last.append((len(written), done.figures.took_ms))
        self.status = msgspec.structs.replace(
            self.status,
            last_batch=len(written),
            last_commit_ms=done.figures.took_ms,
            commits=self.status.commits + sum(type(answer) is Committed for answer in done.answers),
        )
        self._space = done.figures.space or self._space
        crowded = self.status.overloaded and len(self._waiting) > self._max_queue // 2
        return [*letters, *self.tell(full=done.figures.full, overloaded=crowded, stuck=False)]

    def kept(self, figures: Figures) -> list[Letter]:
        """What the disk's upkeep found."""
        self._space = figures.space or self._space
        return self.tell(full=figures.full, stuck=False)

    def tell(self, **flags: bool) -> list[Letter]:
        """Every opened name hears of a change; nothing when there is none."""
        changed = {name: flag for name, flag in flags.items() if getattr(self.status, name) != flag}
        if not changed:
            return []
        self.status = msgspec.structs.replace(self.status, **changed)
        self.flags = self.flags._replace(**changed)
        return [(watcher, self.figures()) for watcher in self._watchers.values()]

    def turned(self) -> Literal["", "full", "roomy", "otherwise"]:
        """How the flags have changed since it was last asked."""
        if self._flags is self.flags:
            return ""
        before, self._flags = self._flags, self.flags
        if before.full != self.flags.full:
            return "full" if self.flags.full else "roomy"
        return "otherwise"

    def figures(self) -> StoreStatus:
        return msgspec.structs.replace(self.status, queued=len(self._waiting))

    def report(self) -> StoreStatus:
        """`figures` with the percentiles."""
        sizes, times = sorted(size for size, _ in self._last), sorted(ms for _, ms in self._last)
        return msgspec.structs.replace(
            self.figures(),
            batch_p50=_share(sizes, 0.5),
            batch_p99=_share(sizes, 0.99),
            commit_p50_ms=_share(times, 0.5),
            commit_p99_ms=_share(times, 0.99),
        )

    def said(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Facts and alerts, for people."""
        return telling.facts(self.report(), self._space), tuple(telling.alerts(self.status, self._space))

    def why_full(self) -> str:
        return telling.full(self._space)

    def _answers(self, written: list[tuple[Any, Item]], answers: Sequence[Answer]) -> Iterable[Letter]:
        """`Opened` by itself, as it begins an incarnation's talk; everything else one message a sender."""
        grouped: dict[tuple[str, int], tuple[Any, list[Any]]] = {}
        for (sender, item), answer in zip(written, answers, strict=True):
            if isinstance(item, Open):
                self._watchers[item.name] = sender
                yield sender, answer
                yield sender, self.figures()
            else:
                grouped.setdefault((item.actor, item.incarnation), (sender, []))[1].append(answer)
        for sender, items in grouped.values():
            yield sender, Answers(tuple(items))


def _share(ordered: Sequence[Any], share: float) -> Any:
    """The smallest value that at least `share` of them do not exceed; 0 of none."""
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else 0
