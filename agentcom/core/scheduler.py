"""Which idle agent gets which ready task. In memory only: all it knows is what agents and lanes tell it.

After every message the state is settled: no idle agent may take a visible task. So a message brings either one
agent, which then chooses its task, or tasks of one bucket or lane, each of which, oldest first, then chooses its
agent among the idle ones. One decision costs O(log n) in tasks and buckets, whatever is queued.

An agent takes the oldest task it may take of the highest lane. Its turn of age comes at every `share`-th task that
it was assigned: then it takes the task that is longest past its lane's limit, if any is past it. Hence, for each agent:

- of any `share` assignments in a row, at most one goes by age to a task that is not of the highest lane;
- a task past its limit that k others are longer past, and that this agent may take, is offered before this agent has
  had (k + 1) * share more assignments. No later task can get in between: both age at the same rate.

A task takes the least capable agent that may have it, so that specialists stay free, then the longest idle.
A claim is decided by the lane on the task's row, never here: an offer that was wrong costs one refused claim.

May import: agentcom.core.{decision, messages, roster, shelves, stock}, agentcom.protocol.
"""

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from itertools import islice
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

from agentcom.core.decision import Output
from agentcom.core.messages import (
    AgentGone,
    AgentPresent,
    AgentReady,
    Bucket,
    Head,
    LanePaused,
    MoreHeads,
    Offer,
    OfferDone,
    Park,
    Several,
    Window,
    WindowDelta,
    Workers,
)
from agentcom.core.roster import Agent, Roster
from agentcom.core.shelves import Pile, Shelf
from agentcom.core.stock import Stock
from agentcom.protocol.rows import LANES, Lane

RANK: dict[Lane, int] = {lane: rank for rank, lane in enumerate(LANES)}


class Rules(NamedTuple):
    """The numbers the choice is made by."""

    share: int = 10  #: every n-th assignment of an agent is its turn of age
    limits_us: tuple[int, ...] = (10_000_000, 60_000_000, 300_000_000, 900_000_000)  #: by lane
    max_empty: int = 10_000  #: empty windows kept, so that a lane may fill them by a delta


class Flight(NamedTuple):
    """An offer that was not answered yet."""

    agent_id: str
    incarnation: int
    rank: int
    bucket: Bucket
    task_id: str
    sweep: int  #: how many sweeps there had been when it was made


class Choice(NamedTuple):
    """What one agent may take first of one lane."""

    head: Head
    pile: Pile


_head = attrgetter("head")


class Scheduler:
    """`on` takes a message and returns what to say; `flush` says who is online, once for many changes."""

    def __init__(self, rules: Rules = Rules()) -> None:  # noqa: B008 - immutable
        self._rules = rules
        self._roster = Roster()
        self._flights: dict[str, Flight] = {}  #: by task
        self._of_agent: dict[str, str] = {}  #: agent to the task it is offered
        self._left: set[str] = set()  #: tasks in flight that their lane has taken out of the window
        self._stock = Stock(self._roster, self._flights, rules.max_empty)
        self._turns: dict[str, int] = {}  #: assignments of each agent, modulo share; outlives its sessions
        self._paused: set[int] = set()
        self._up: set[int] = set()
        self._asked: set[tuple[int, Bucket]] = set()  #: MoreHeads sent, not answered
        self._restricted: dict[Shelf, None] = {}  #: shelves with exclusions
        self._sweeps = 0
        self.given_up: list[Flight] = []  #: by the last sweep
        self._version = 1
        self._changed = False

    def on(self, msg: Any, now_us: int) -> list[Output]:
        """Every message of agents and lanes. What is not for the scheduler changes nothing."""
        if type(msg) is Several:
            return [output for one in msg.messages for output in self.on(one, now_us)]
        rule = self._HANDLERS.get(type(msg))
        return [] if rule is None else list(rule(self, msg, now_us))

    @property
    def needs_flush(self) -> bool:
        return self._changed

    def flush(self) -> list[Output]:
        """After a change of who is online: tell the lanes, and park what now nobody may take."""
        if not self._changed:
            return []
        self._changed = False
        self._version += 1
        parks = [output for shelf in self._restricted for output in self._park(shelf)]
        return [*(self._workers(rank) for rank in sorted(self._up)), *parks]

    # --- who is up ---------------------------------------------------------------------------------

    def lane_up(self, lane: Lane) -> list[Output]:
        """Its earlier windows count for nothing; an unchanged version asks for all of them."""
        outputs = self.lane_down(lane)
        self._up.add(RANK[lane])
        return [*outputs, self._workers(RANK[lane])]

    def lane_down(self, lane: Lane) -> list[Output]:
        """Drop its windows and offers."""
        rank = RANK[lane]
        self._up.discard(rank)
        for shelf in self._stock.lane(rank):
            self._restricted.pop(shelf, None)
            self._stock.close(shelf)
        self._asked = {(of, bucket) for of, bucket in self._asked if of != rank}
        lost = [flight for flight in self._flights.values() if flight.rank == rank]
        return [output for flight in lost for output in self._land(flight)]

    def agents_down(self) -> list[Output]:
        """No agent's actor is left, and none will answer an offer."""
        for agent in list(self._roster.agents.values()):
            self._leave(agent)
        return [output for flight in list(self._flights.values()) for output in self._land(flight)]

    def sweep(self) -> list[Output]:
        """Called at intervals: give up the offers that saw a whole interval without an answer, as after a crash of an
        agent that was not started again. It counts calls and no time, so that a jump of the clock cannot matter."""
        self._sweeps += 1
        self.given_up = [flight for flight in self._flights.values() if flight.sweep < self._sweeps - 1]
        return [output for flight in self.given_up for output in self._land(flight)]

    # --- agents ------------------------------------------------------------------------------------

    def _ready(self, msg: AgentReady, now_us: int) -> Iterator[Output]:
        agent = self._present(msg)
        yield from self._cancel_older(msg.agent_id, msg.incarnation)
        if agent and msg.agent_id not in self._of_agent:
            self._roster.rest(agent)
            yield from self._choose(agent, now_us)

    def _busy(self, msg: AgentPresent, now_us: int) -> Iterator[Output]:
        if agent := self._present(msg):
            self._roster.occupy(agent)
        yield from self._cancel_older(msg.agent_id, msg.incarnation)

    def _gone(self, msg: AgentGone, now_us: int) -> Iterator[Output]:
        agent = self._roster.agents.get(msg.agent_id)
        if agent and agent.incarnation <= msg.incarnation:
            self._leave(agent)
        yield from self._cancel_older(msg.agent_id, msg.incarnation)

    def _present(self, msg: AgentReady | AgentPresent) -> Agent | None:
        """The agent, online with these capabilities; None if an older incarnation speaks."""
        capabilities = frozenset(msg.capabilities)
        agent = self._roster.agents.get(msg.agent_id)
        if agent and agent.incarnation > msg.incarnation:
            return None
        if agent and agent.crew.capabilities != capabilities:
            self._leave(agent)
            agent = None
        if agent is None:
            agent, crew_is_new = self._roster.join(msg.agent_id, msg.incarnation, capabilities)
            self._stock.admit(agent, crew_is_new)
            self._changed = True
        agent.incarnation = msg.incarnation
        return agent

    def _leave(self, agent: Agent) -> None:
        if self._roster.leave(agent):
            self._stock.dismiss(agent.crew)
        self._changed = True

    # --- offers ------------------------------------------------------------------------------------

    def _offer(self, agent: Agent, choice: Choice) -> Output:
        shelf, task_id = choice.pile.shelf, choice.head.task_id
        self._roster.occupy(agent)
        self._flights[task_id] = Flight(
            agent.agent_id, agent.incarnation, shelf.rank, shelf.bucket, task_id, self._sweeps
        )
        self._of_agent[agent.agent_id] = task_id
        offer = Offer(LANES[shelf.rank], task_id, shelf.bucket)
        return Output(f"agents/agent.{agent.agent_id}", offer)

    def _done(self, msg: OfferDone, now_us: int) -> Iterator[Output]:
        flight = self._flights.get(msg.task_id)
        if flight is None or flight.agent_id != msg.agent_id:
            return  # dropped meanwhile; the lane may be another one, if the task was moved
        shelf = self._stock.shelf(flight.rank, flight.bucket)
        if msg.taken:
            self._turns[msg.agent_id] = (self._turns.get(msg.agent_id, 0) + 1) % self._rules.share
        if shelf and msg.task_id not in self._left:  # else what is there now has come back since
            yield from self._answered(shelf, msg)
        yield from self._land(flight)

    def _answered(self, shelf: Shelf, msg: OfferDone) -> Iterator[Output]:
        if msg.taken:
            shelf.change((msg.task_id,), ())
            yield from self._looked_over(shelf)
        elif shelf.rank not in self._paused:  # else it may well take it when the lane goes on
            shelf.refused(msg.task_id, msg.agent_id)

    def _land(self, flight: Flight) -> Iterator[Output]:
        """The offer is over: the task can be seen again wherever a window still has it (two, while it is moved)."""
        del self._flights[flight.task_id]
        del self._of_agent[flight.agent_id]
        self._left.discard(flight.task_id)
        for rank in range(len(LANES)):
            shelf = self._stock.shelf(rank, flight.bucket)
            if shelf and flight.task_id in shelf.heads:
                shelf.reveal(flight.task_id)
                yield from self._stocked(shelf)

    def _cancel_older(self, agent_id: str, incarnation: int) -> Iterator[Output]:
        """A newer life of the agent knows nothing of an offer to an older one."""
        flight = self._flights.get(self._of_agent.get(agent_id, ""))
        if flight and flight.incarnation < incarnation:
            yield from self._land(flight)

    # --- windows -----------------------------------------------------------------------------------

    def _window(self, msg: Window, now_us: int) -> Iterator[Output]:
        rank = RANK[msg.lane]
        shelf = self._stock.open(rank, msg.bucket, frozenset(msg.capabilities))
        self._asked.discard((rank, msg.bucket))
        self._note_left(rank, shelf.heads.keys() - {head.task_id for head in msg.heads})
        shelf.replace(msg.heads, msg.more)
        yield from self._stocked(shelf)

    def _delta(self, msg: WindowDelta, now_us: int) -> Iterator[Output]:
        rank = RANK[msg.lane]
        shelf = self._stock.shelf(rank, msg.bucket)
        if shelf is None:
            if msg.came:
                yield from self._ask(rank, msg.bucket)
            return
        if msg.came:
            self._asked.discard((rank, msg.bucket))
        self._note_left(rank, msg.gone)
        shelf.change(msg.gone, msg.came)
        if msg.came:
            yield from self._stocked(shelf)
        else:
            yield from self._looked_over(shelf)

    def _note_left(self, rank: int, gone: Iterable[str]) -> None:
        for task_id in gone:
            flight = self._flights.get(task_id)
            if flight and flight.rank == rank:
                self._left.add(task_id)

    def _lane_paused(self, msg: LanePaused, now_us: int) -> Iterator[Output]:
        rank = RANK[msg.lane]
        if msg.paused:
            self._paused.add(rank)
        elif rank in self._paused:
            self._paused.discard(rank)
            yield from self._hand_out(self._stock.lane(rank))
            for shelf in self._restricted:
                yield from self._reach_further(shelf)

    # --- choosing ----------------------------------------------------------------------------------

    def _stocked(self, shelf: Shelf) -> Iterator[Output]:
        """A shelf may show tasks it did not show before."""
        yield from self._hand_out((shelf,))
        yield from self._looked_over(shelf)

    def _looked_over(self, shelf: Shelf) -> Iterator[Output]:
        """What is left in a shelf after a change, when no idle agent may take any of it."""
        self._stock.changed(shelf)
        self._stock.announce(shelf)
        if shelf.is_restricted():
            self._restricted[shelf] = None
            yield from self._park(shelf)
            yield from self._reach_further(shelf)
        else:
            self._restricted.pop(shelf, None)

    def _hand_out(self, shelves: Iterable[Shelf]) -> Iterator[Output]:
        """Tasks choose their agents, oldest first; all of one lane, and nothing else is waiting for an idle agent."""
        if not self._roster.idle_count:
            return
        piles = (pile for shelf in shelves if shelf.rank not in self._paused for pile in shelf.piles.values())
        queue = [(head.order, pile.number, pile) for pile in piles if (head := pile.first())]
        heapify(queue)
        while queue and self._roster.idle_count:
            pile = queue[0][2]
            head, agent = pile.first(), self._stock.taker(pile)
            if head is None or agent is None:
                heappop(queue)
                continue
            yield self._offer(agent, Choice(head, pile))
            after = pile.first()
            if after:
                heapreplace(queue, (after.order, pile.number, pile))

    def _choose(self, agent: Agent, now_us: int) -> Iterator[Output]:
        """An agent became idle and chooses its task."""
        excluding: list[Pile] = []
        found = self._overdue(agent, now_us, excluding) or next(self._by_lane(agent, excluding), None)
        if found:
            yield self._offer(agent, found)
        for pile in excluding:
            yield from self._reach_further(pile.shelf, agent)

    def _overdue(self, agent: Agent, now_us: int, excluding: list[Pile]) -> Choice | None:
        """On its turn of age: what is longest past its lane's limit."""
        if self._turns.get(agent.agent_id, 0) != self._rules.share - 1:
            return None
        oldest = min(self._by_lane(agent, excluding), key=self._limit_us, default=None)
        return oldest if oldest and self._limit_us(oldest) < now_us else None

    def _limit_us(self, choice: Choice) -> int:
        """When it passes, or passed, its lane's limit."""
        return choice.head.order + self._rules.limits_us[choice.pile.shelf.rank]

    def _by_lane(self, agent: Agent, excluding: list[Pile]) -> Iterator[Choice]:
        """The oldest task the agent may take of each lane, highest lane first."""
        boards = (agent.crew.board, agent.own)
        for rank in range(len(LANES)):
            if rank not in self._paused:
                found = [
                    board.oldest(rank, agent.agent_id, excluding.append)
                    for board in boards
                    if board.lists(rank)
                ]
                if choices := [Choice(*of) for of in found if of]:
                    yield min(choices, key=_head) if len(choices) > 1 else choices[0]

    # --- exclusions --------------------------------------------------------------------------------

    def _reach_further(self, shelf: Shelf, agent: Agent | None = None) -> Iterator[Output]:
        """If an idle agent may take none of a window that ends before its bucket does, ask for the keys after it.

        Without `agent`: the state is settled, so that no idle agent may take any of what is visible."""
        visible = [pile for pile in shelf.piles.values() if pile.first()]
        if shelf.more and visible and shelf.rank not in self._paused:
            if agent is None:
                is_stuck = self._stock.has_idle(shelf)
            else:
                is_stuck = all(agent.agent_id in pile.excluded for pile in visible)
            if is_stuck:
                yield from self._ask(shelf.rank, shelf.bucket)

    def _ask(self, rank: int, bucket: Bucket) -> Iterator[Output]:
        if (rank, bucket) not in self._asked:
            self._asked.add((rank, bucket))
            yield Output(f"lane.{LANES[rank]}", MoreHeads(bucket))

    def _park(self, shelf: Shelf) -> Iterator[Output]:
        """Once for each head that every fitting online agent is excluded from; again if the lane tells it again."""
        for excluded, pile in shelf.piles.items():
            if excluded and self._excludes_all(shelf, excluded):
                for head in pile.heads():
                    if head.task_id not in shelf.parked:
                        shelf.parked.add(head.task_id)
                        reason = f"excluded: {', '.join(sorted(excluded))}; no other online agent fits"
                        yield Output(f"lane.{LANES[shelf.rank]}", Park(head.task_id, reason))

    def _excludes_all(self, shelf: Shelf, excluded: frozenset[str]) -> bool:
        """Looks at no more fitting agents than are excluded, and one."""
        fitting = [agent.agent_id for agent in islice(self._stock.fitting(shelf), len(excluded) + 1)]
        return bool(fitting) and excluded.issuperset(fitting)

    def _workers(self, rank: int) -> Output:
        return Output(f"lane.{LANES[rank]}", Workers(self._version, self._roster.rows()))

    _HANDLERS: ClassVar[dict[type, Callable[["Scheduler", Any, int], Iterator[Output]]]] = {
        AgentReady: _ready,
        AgentPresent: _busy,
        AgentGone: _gone,
        OfferDone: _done,
        Window: _window,
        WindowDelta: _delta,
        LanePaused: _lane_paused,
    }
