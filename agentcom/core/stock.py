"""Every shelf the lanes have told of, and which crews fit which: whether a crew fits is worked out once for each
signature, not for each task.

May import: agentcom.core.{messages, roster, shelves}, agentcom.protocol.
"""

from bisect import insort
from collections import OrderedDict
from collections.abc import Container, Iterator

from agentcom.core.messages import Bucket
from agentcom.core.roster import Agent, Crew, Roster
from agentcom.core.shelves import Board, Pile, Shelf, numbering
from agentcom.protocol.rows import LANES

FEW = 32
"""Up to this many fitting crews of one size are looked at one by one. With more, most idle agents of that size fit,
and going through those by how long they are idle ends sooner."""


class Need:
    """One signature: the crews that fit it, by size, and its shelves in all lanes."""

    __slots__ = ("crews", "needed", "shelves", "sizes")

    def __init__(self, needed: frozenset[str]) -> None:
        self.needed = needed
        self.sizes: list[int] = []  #: least capable first
        self.crews: dict[int, list[Crew]] = {}
        self.shelves: set[Shelf] = set()

    def add(self, crew: Crew) -> None:
        if crew.size not in self.crews:
            self.crews[crew.size] = []
            insort(self.sizes, crew.size)
        self.crews[crew.size].append(crew)

    def remove(self, crew: Crew) -> None:
        self.crews[crew.size].remove(crew)

    def fitting(self) -> Iterator[Crew]:
        for size in self.sizes:
            yield from self.crews[size]


class Stock:
    """Shelves by lane and bucket. `hidden` are the tasks with an offer in flight."""

    def __init__(self, roster: Roster, hidden: Container[str], max_empty: int) -> None:
        self._roster = roster
        self._hidden = hidden
        self._max_empty = max_empty
        self._numbers = numbering()
        self._shelves: tuple[dict[Bucket, Shelf], ...] = tuple({} for _ in LANES)
        self._needs: dict[str, Need] = {}
        self._aimed: dict[str, set[Shelf]] = {}
        self._empty: OrderedDict[Shelf, None] = OrderedDict()  #: longest empty first

    # --- shelves -----------------------------------------------------------------------------------

    def shelf(self, rank: int, bucket: Bucket) -> Shelf | None:
        return self._shelves[rank].get(bucket)

    def lane(self, rank: int) -> list[Shelf]:
        return list(self._shelves[rank].values())

    def open(self, rank: int, bucket: Bucket, needed: frozenset[str]) -> Shelf:
        """The shelf of this bucket, made if need be."""
        found = self._shelves[rank].get(bucket)
        if found is None:
            found = self._shelves[rank][bucket] = Shelf(rank, bucket, needed, self._hidden, self._numbers)
            self._link(found)
        return found

    def changed(self, shelf: Shelf) -> None:
        """Keep count of the empty ones: a lane may fill them again, but the oldest are let go."""
        if shelf.heads:
            self._empty.pop(shelf, None)
        else:
            self._empty.setdefault(shelf)
            if len(self._empty) > self._max_empty:
                self.close(next(iter(self._empty)))

    def close(self, shelf: Shelf) -> None:
        """Forget a shelf; what boards still list of it is dropped when it reaches the top."""
        shelf.replace((), more=False)
        del self._shelves[shelf.rank][shelf.bucket]
        self._empty.pop(shelf, None)
        self._unlink(shelf)

    # --- who fits ----------------------------------------------------------------------------------

    def admit(self, agent: Agent, crew_is_new: bool) -> None:
        """An agent came online: put on its boards what it fits."""
        if crew_is_new:
            self._admit_crew(agent.crew)
        for shelf in self._aimed.get(agent.agent_id, ()):
            if shelf.needed <= agent.crew.capabilities:
                for pile in shelf.piles.values():
                    agent.own.enter(pile)

    def dismiss(self, crew: Crew) -> None:
        for need in self._needs.values():
            if need.needed <= crew.capabilities:
                need.remove(crew)

    def fitting(self, shelf: Shelf) -> Iterator[Agent]:
        """Every online agent that could take such a task, were it not excluded."""
        if shelf.bucket.target:
            yield from filter(None, [self._aim(shelf)])
        else:
            for crew in self._needs[shelf.bucket.signature].fitting():
                yield from crew.agents.values()

    def taker(self, pile: Pile) -> Agent | None:
        """The idle agent this pile goes to: the least capable that may take it, then the longest idle."""
        if pile.shelf.bucket.target:
            return self._aimed_taker(pile)
        need = self._needs[pile.shelf.bucket.signature]
        found = (self._longest_idle(need, size, pile.excluded) for size in need.sizes)
        return next(filter(None, found), None)

    def has_idle(self, shelf: Shelf) -> bool:
        """Some idle agent fits this shelf, excluded or not."""
        if shelf.bucket.target:
            agent = self._aim(shelf)
            return agent is not None and bool(agent.idle_since)
        return any(crew.idle for crew in self._needs[shelf.bucket.signature].fitting())

    def announce(self, shelf: Shelf) -> None:
        """Put on the boards what is older than they know."""
        for pile in shelf.piles.values():
            head = pile.first()
            if head and head.order < pile.ceiling:
                for board in self._boards(shelf):
                    board.list(pile, head.order)
                pile.ceiling = head.order

    # --- within ------------------------------------------------------------------------------------

    def _longest_idle(self, need: Need, size: int, excluded: frozenset[str]) -> Agent | None:
        idle = self._roster.idle.get(size)
        if not idle:
            return None
        if len(need.crews[size]) > FEW:
            fitting = (of for of in idle.values() if need.needed <= of.crew.capabilities)
            return next((agent for agent in fitting if agent.agent_id not in excluded), None)
        firsts = (crew.longest_idle(excluded) for crew in need.crews[size] if crew.idle)
        return min(filter(None, firsts), key=lambda agent: agent.idle_since, default=None)

    def _admit_crew(self, crew: Crew) -> None:
        for need in self._needs.values():
            if need.needed <= crew.capabilities:
                need.add(crew)
                for shelf in need.shelves:
                    for pile in shelf.piles.values():
                        crew.board.enter(pile)

    def _boards(self, shelf: Shelf) -> Iterator[Board]:
        if shelf.bucket.target:
            agent = self._aim(shelf)
            return iter(() if agent is None else (agent.own,))
        return (crew.board for crew in self._needs[shelf.bucket.signature].fitting())

    def _aim(self, shelf: Shelf) -> Agent | None:
        """The agent a shelf is aimed at, if it is online and fits."""
        agent = self._roster.agents.get(shelf.bucket.target)
        return agent if agent and shelf.needed <= agent.crew.capabilities else None

    def _aimed_taker(self, pile: Pile) -> Agent | None:
        agent = self._aim(pile.shelf)
        return agent if agent and agent.idle_since and agent.agent_id not in pile.excluded else None

    def _link(self, shelf: Shelf) -> None:
        if shelf.bucket.target:
            self._aimed.setdefault(shelf.bucket.target, set()).add(shelf)
        else:
            self._need(shelf).shelves.add(shelf)

    def _need(self, shelf: Shelf) -> Need:
        signature = shelf.bucket.signature
        if signature not in self._needs:
            need = self._needs[signature] = Need(shelf.needed)
            for crew in self._roster.crews.values():
                if need.needed <= crew.capabilities:
                    need.add(crew)
        return self._needs[signature]

    def _unlink(self, shelf: Shelf) -> None:
        if shelf.bucket.target:
            aimed = self._aimed[shelf.bucket.target]
            aimed.discard(shelf)
            if not aimed:
                del self._aimed[shelf.bucket.target]
            return
        need = self._needs[shelf.bucket.signature]
        need.shelves.discard(shelf)
        if not need.shelves:
            del self._needs[shelf.bucket.signature]
