"""The lanes' windows as the scheduler keeps them, so that the oldest task an agent may take is found in O(log n).

A *shelf* is one bucket's window in one lane. Its visible heads lie in *piles*, one for each set of excluded
agents: whoever may take one task of a pile may take all of them. A *board* orders the piles that its agents fit.
May import: agentcom.core.messages, agentcom.protocol.
"""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count

from agentcom.core.messages import Bucket, Head
from agentcom.protocol.rows import LANES

NEVER = 1 << 63
SLACK = 32
"""Stale entries a heap may hold beyond twice the live ones before it is built again."""

REFUSALS = 3
"""An offer that came to nothing so often, with no news of the task from its lane, is not made to that agent again
until there is: otherwise a claim that is always refused would go round as fast as messages do."""


class Pile:
    """Heads of one shelf that exactly the same agents may take. Entries that left the shelf are dropped when they
    reach the top."""

    __slots__ = ("_heap", "ceiling", "excluded", "number", "shelf")

    def __init__(self, shelf: "Shelf", excluded: frozenset[str], number: int) -> None:
        self.shelf = shelf
        self.excluded = excluded
        self.number = number  #: decides between equal orders, so that the choice never depends on addresses
        #: no board lists this pile above it; NEVER when some board may not list it at all
        self.ceiling = NEVER
        self._heap: list[Head] = []

    def first(self) -> Head | None:
        """The oldest visible head."""
        heap = self._heap
        while heap and not self.shelf.shows(heap[0]):
            heappop(heap)
        return heap[0] if heap else None

    def heads(self) -> list[Head]:
        """All visible heads, oldest first."""
        return sorted({head for head in self._heap if self.shelf.shows(head)})

    def put(self, head: Head) -> None:
        heappush(self._heap, head)
        if len(self._heap) > 2 * len(self.shelf.heads) + SLACK:
            self._heap = self.heads()

    def clear(self) -> None:
        self._heap.clear()


class Shelf:
    """One bucket's window in one lane, whole: also the heads that are hidden while an offer for them is in flight."""

    __slots__ = (
        "_hidden",
        "_numbers",
        "bucket",
        "heads",
        "more",
        "needed",
        "parked",
        "piles",
        "rank",
        "refusals",
    )

    def __init__(
        self,
        rank: int,
        bucket: Bucket,
        needed: frozenset[str],
        hidden: Container[str],
        numbers: Iterator[int],
    ) -> None:
        self.rank = rank
        self.bucket = bucket
        self.needed = needed
        self.heads: dict[str, Head] = {}
        self.piles: dict[frozenset[str], Pile] = {}
        self.more = False
        self.parked: set[str] = set()  #: tasks the lane was asked to park
        self.refusals: dict[str, Counter[str]] = {}  #: by task and agent
        self._hidden = hidden
        self._numbers = numbers

    def shows(self, head: Head) -> bool:
        return self.heads.get(head.task_id) == head and head.task_id not in self._hidden

    def replace(self, heads: Iterable[Head], more: bool) -> None:
        for pile in self.piles.values():
            pile.clear()
        self.heads = {head.task_id: head for head in heads}
        self.more = more
        self.parked.clear()
        self.refusals.clear()
        for head in self.heads.values():
            self._pile(head).put(head)
        self._tidy()

    def change(self, gone: Collection[str], came: Collection[Head]) -> None:
        if gone and came:
            # a tail gave way, or more was read: there may be more on disk, the next window tells
            self.more = True
        for task_id in gone:
            self.heads.pop(task_id, None)
            self._is_news(task_id)
        for head in came:
            self._is_news(head.task_id)
            self.heads[head.task_id] = head
            self._pile(head).put(head)
        self._tidy()

    def reveal(self, task_id: str) -> None:
        """An offer ended: a head that is still in the window can be seen again."""
        if head := self.heads.get(task_id):
            self._pile(head).put(head)

    def refused(self, task_id: str, agent_id: str) -> None:
        """An offer of a head in this window came to nothing."""
        refusals = self.refusals.setdefault(task_id, Counter())
        refusals[agent_id] += 1
        head = self.heads.get(task_id)
        if head and refusals[agent_id] >= REFUSALS:
            self.heads[task_id] = head._replace(excluded=(*head.excluded, agent_id))

    def is_restricted(self) -> bool:
        return any(self.piles)

    def _is_news(self, task_id: str) -> None:
        self.parked.discard(task_id)
        self.refusals.pop(task_id, None)

    def _pile(self, head: Head) -> Pile:
        excluded = frozenset(head.excluded)
        if excluded not in self.piles:
            self.piles[excluded] = Pile(self, excluded, next(self._numbers))
        return self.piles[excluded]

    def _tidy(self) -> None:
        if any(self.piles):
            self.piles = {of: pile for of, pile in self.piles.items() if not of or pile.first()}


class Board:
    """The piles that certain agents fit, in each lane by their oldest head.

    An entry's order is a lower bound: heads that leave do not touch the board, the entry is put right when it
    reaches the top. Only a head older than the entry must be listed by whoever puts it there.
    """

    __slots__ = ("_heaps", "_limits", "_listed")

    def __init__(self) -> None:
        self._heaps: tuple[list[tuple[int, int, Pile]], ...] = tuple([] for _ in LANES)
        self._listed: tuple[dict[Pile, int], ...] = tuple({} for _ in LANES)
        self._limits = [SLACK] * len(LANES)  #: entries of a heap before it is built again

    def list(self, pile: Pile, order: int) -> None:
        rank = pile.shelf.rank
        if self._listed[rank].get(pile, NEVER) > order:
            self._listed[rank][pile] = order
            heappush(self._heaps[rank], (order, pile.number, pile))
            if len(self._heaps[rank]) > self._limits[rank]:
                self._build(rank)

    def enter(self, pile: Pile) -> None:
        """List a pile this board has not seen yet."""
        if head := pile.first():
            self.list(pile, head.order)
            pile.ceiling = max(pile.ceiling, head.order)
        else:
            pile.ceiling = NEVER

    def lists(self, rank: int) -> bool:
        """Whether anything of this lane is, or was until lately."""
        return bool(self._heaps[rank])

    def oldest(self, rank: int, agent_id: str, passed: Callable[[Pile], None]) -> tuple[Head, Pile] | None:
        """The oldest head of a lane this agent may take; `passed` hears of the piles that exclude it."""
        heap, skipped, found = self._heaps[rank], [], None
        while found is None and (top := self._top(rank)):
            pile = top[1]
            if agent_id in pile.excluded:
                skipped.append(heappop(heap))
                passed(pile)
            else:
                found = top
        for entry in skipped:
            heappush(heap, entry)
        return found

    def _build(self, rank: int) -> None:
        """Without the piles that are empty now: a board that is never asked must not grow with all that passed."""
        listed = self._listed[rank]
        for pile in [pile for pile in listed if pile.first() is None]:
            self._drop(pile)
        self._heaps[rank][:] = [(order, pile.number, pile) for pile, order in listed.items()]
        heapify(self._heaps[rank])
        self._limits[rank] = 2 * len(listed) + SLACK

    def _drop(self, pile: Pile) -> None:
        del self._listed[pile.shelf.rank][pile]
        pile.ceiling = NEVER

    def _top(self, rank: int) -> tuple[Head, Pile] | None:
        heap, listed = self._heaps[rank], self._listed[rank]
        while heap:
            order, number, pile = heap[0]
            if listed.get(pile) != order:
                heappop(heap)  # listed again, elsewhere in the heap
            elif (head := pile.first()) is None:
                heappop(heap)
                self._drop(pile)
            elif head.order == order:
                return head, pile
            else:
                heapreplace(heap, (head.order, number, pile))
                listed[pile] = head.order
                pile.ceiling = max(pile.ceiling, head.order)
        return None


def numbering() -> Iterator[int]:
    return count(1)
