"""The scheduler against the brute-force model: the same messages must give the same offers, in the same order."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentcom.core import shelves, stock
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
    Window,
    WindowDelta,
    Workers,
)
from agentcom.core.scheduler import Rules, Scheduler
from agentcom.protocol.rows import LANES
from tests.core.scheduler_model import LIMITS, SECOND, Model, Seen, bucket, caps

AGENTS = ("ada", "bob", "cyd", "dee")
CAPS = ("", "x", "y", "xy", "xyz")
NEEDS = ("", "x", "y", "xy")
SHARE = 3

names = st.sampled_from(AGENTS)
ranks = st.integers(0, 3)
buckets = st.tuples(st.sampled_from(NEEDS), st.sampled_from(("", "", "", *AGENTS[:2])))
exclusions = st.one_of(st.just(()), st.just(()), st.lists(names, max_size=4, unique=True).map(tuple))
new_heads = st.lists(st.tuples(st.integers(0, 1_200), exclusions), max_size=4)
dice = st.randoms(use_true_random=False)


class SchedulerAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.core = Scheduler(Rules(SHARE, LIMITS))
        self.model = Model(SHARE, LIMITS)
        self.now = 10_000 * SECOND
        self.made = 0
        self.version = 0
        self.lives = dict.fromkeys(AGENTS, 1)
        self.up: set[int] = set()
        self.parked: set[tuple[int, str]] = set()
        self.asked: set[tuple[int, Bucket]] = set()

    # --- both at once ---

    def compare(self, outputs: Any, expected: list[tuple[str, str]]) -> None:
        offers = []
        for to, message in outputs:
            match message:
                case Offer():
                    offers.append((to.removeprefix("agents/agent."), message.task_id))
                    assert message.lane == LANES[self.model.flights[message.task_id][2]]
                case Park():
                    self.saw_park(LANES.index(to.removeprefix("lane.")), message)
                case MoreHeads():
                    self.asked.add((LANES.index(to.removeprefix("lane.")), message.bucket))
                case Workers():
                    self.saw_workers(message)
        assert offers == expected

    def say(self, message: Any, expected: list[tuple[str, str]]) -> None:
        self.compare(self.core.on(message, self.now), expected)

    def saw_park(self, rank: int, park: Park) -> None:
        assert (rank, park.task_id) not in self.parked, "parked twice"
        self.parked.add((rank, park.task_id))
        assert (rank, park.task_id) in self.hopeless()

    def saw_workers(self, news: Workers) -> None:
        assert news.version >= self.version
        self.version = news.version
        online = {(of.capabilities, name) for of in news.classes for name in of.agents}
        assert online == {(of.capabilities, name) for name, of in self.model.agents.items()}
        assert all(of.agents for of in news.classes)

    def hopeless(self) -> set[tuple[int, str]]:
        """Visible tasks that every fitting online agent is excluded from."""
        found = set()
        for (rank, where), of in self.model.windows.items():
            fitting = {name for name in self.model.agents if self.model.fits(name, where)}
            for head in of.heads.values():
                if fitting and fitting <= set(head.excluded) and head.task_id not in self.model.flights:
                    found.add((rank, head.task_id))
        return found

    # --- agents ---

    @rule(name=names, has=st.sampled_from(CAPS), is_new_life=st.sampled_from((False, False, False, True)))
    def becomes_ready(self, name: str, has: str, is_new_life: bool) -> None:
        self.announce(AgentReady, name, has, is_new_life)

    @rule(name=names, has=st.sampled_from(CAPS), is_new_life=st.sampled_from((False, False, False, True)))
    def is_busy(self, name: str, has: str, is_new_life: bool) -> None:
        self.announce(AgentPresent, name, has, is_new_life)

    def announce(self, kind: type, name: str, has: str, is_new_life: bool) -> None:
        self.lives[name] += is_new_life
        life, model = self.lives[name], self.model
        model.cancel_older(name, life)
        if (of := model.agents.get(name)) and of.capabilities != frozenset(has):
            landed = model.settle(self.now)  # those who are idle now take what an older life gave back
            del model.agents[name]
        else:
            landed = model.settle(self.now)
        worker = model.present(name, life, frozenset(has))
        assert worker
        if kind is AgentPresent:
            worker.since = 0
            return self.say(kind(name, life, caps(has)), landed)
        if not model.is_offered(name):
            model.rest(name)
            landed += model.settle(self.now, newcomer=name)
        return self.say(kind(name, life, caps(has)), landed)

    @rule(name=names)
    def goes(self, name: str) -> None:
        self.model.agents.pop(name, None)
        self.say(AgentGone(name, self.lives[name]), [])

    @precondition(lambda self: any(life > 1 for life in self.lives.values()))
    @rule(name=names, kind=st.sampled_from((AgentReady, AgentPresent)))
    def an_older_life_speaks(self, name: str, kind: type) -> None:
        of = self.model.agents.get(name)
        if of and of.incarnation > 1:
            self.say(kind(name, of.incarnation - 1, caps("xyz")), [])

    @precondition(lambda self: self.model.flights)
    @rule(random=dice, taken=st.booleans(), moved=st.booleans())
    def an_offer_ends(self, random: Any, taken: bool, moved: bool) -> None:
        task_id = random.choice(sorted(self.model.flights))
        name, _, rank = self.model.flights[task_id]
        lane = LANES[(rank + moved) % 4]
        self.model.done(name, task_id, taken)
        self.say(OfferDone(name, lane, task_id, taken), self.model.settle(self.now))

    @rule(name=names, taken=st.booleans())
    def an_unknown_offer_ends(self, name: str, taken: bool) -> None:
        self.say(OfferDone(name, "low", "t-none", taken), [])

    # --- lanes ---

    def heads(self, drawn: Any) -> tuple[Head, ...]:
        heads = []
        for age_s, excluded in drawn:
            self.made += 1
            heads.append(Head(self.now - age_s * SECOND + self.made, f"t{self.made}", excluded))
        return tuple(sorted(heads))

    def is_news(self, rank: int, tasks: set[str]) -> None:
        self.parked -= {(rank, task) for task in tasks}
        self.model.is_news(rank, tasks)

    def known(self, rank: int, where: Bucket) -> list[Head]:
        of = self.model.windows.get((rank, where))
        return sorted(of.heads.values()) if of else []

    @rule(rank=ranks, of=buckets, drawn=new_heads, random=dice, more=st.booleans())
    def a_window_comes(self, rank: int, of: tuple[str, str], drawn: Any, random: Any, more: bool) -> None:
        needs, target = of
        where = bucket(needs, target)
        kept = [head for head in self.known(rank, where) if random.random() < 0.7]
        heads = tuple(sorted([*kept, *self.heads(drawn)]))
        model = self.model
        before = model.windows.get((rank, where), Seen(frozenset(needs)))
        model.note_left(rank, set(before.heads) - {head.task_id for head in heads})
        model.windows[rank, where] = Seen(frozenset(needs), {head.task_id: head for head in heads}, more)
        self.is_news(rank, {*before.heads, *(head.task_id for head in heads)})
        self.asked.discard((rank, where))
        self.say(Window(LANES[rank], where, caps(needs), heads, more), model.settle(self.now))

    @rule(rank=ranks, of=buckets, drawn=new_heads, random=dice, change=exclusions)
    def a_window_changes(self, rank: int, of: tuple[str, str], drawn: Any, random: Any, change: Any) -> None:
        where = bucket(*of)
        known = self.known(rank, where)
        gone = tuple(head.task_id for head in known if random.random() < 0.3)
        again = [head._replace(excluded=change) for head in known if random.random() < 0.2]
        came = tuple(sorted([*self.heads(drawn), *again]))
        model = self.model
        if seen := model.windows.get((rank, where)):
            model.note_left(rank, set(gone))
            seen.more |= bool(gone and came)
            for task_id in gone:
                seen.heads.pop(task_id, None)
            seen.heads |= {head.task_id: head for head in came}
            self.is_news(rank, {*gone, *(head.task_id for head in came)})
        if came and seen:
            self.asked.discard((rank, where))
        self.say(WindowDelta(LANES[rank], where, gone, came), model.settle(self.now))
        if came and not seen:
            assert (rank, where) in self.asked, "a change of an unknown window asks for all of it"

    @precondition(lambda self: self.model.visible())
    @rule(random=dice, rank=ranks)
    def a_task_moves(self, random: Any, rank: int) -> None:
        """The new lane may speak before the old one: for a while two windows hold it."""
        task = random.choice(sorted(self.model.visible(), key=lambda of: (of.rank, of.id)))
        seen = self.model.windows.get((rank, task.bucket))
        if seen and rank != task.rank:
            head = task.head._replace(order=task.head.order + rank)
            seen.heads[head.task_id] = head
            self.asked.discard((rank, task.bucket))
            self.is_news(rank, {head.task_id})
            self.say(WindowDelta(LANES[rank], task.bucket, (), (head,)), self.model.settle(self.now))

    @rule(rank=ranks, is_up=st.booleans())
    def a_lane_restarts(self, rank: int, is_up: bool) -> None:
        model = self.model
        model.windows = {at: of for at, of in model.windows.items() if at[0] != rank}
        model.refusals = [of for of in model.refusals if of[0] != rank]
        for task_id in [task for task, flight in model.flights.items() if flight[2] == rank]:
            model.land(task_id)
        self.parked = {at for at in self.parked if at[0] != rank}
        self.asked = {at for at in self.asked if at[0] != rank}
        outputs = self.core.lane_up(LANES[rank]) if is_up else self.core.lane_down(LANES[rank])
        told = [to for to, message in outputs if isinstance(message, Workers)]
        assert told == ([f"lane.{LANES[rank]}"] if is_up else [])
        self.up = self.up | {rank} if is_up else self.up - {rank}
        self.compare(outputs, model.settle(self.now))

    @rule(rank=ranks, paused=st.booleans())
    def a_lane_pauses(self, rank: int, paused: bool) -> None:
        self.model.paused = self.model.paused | {rank} if paused else self.model.paused - {rank}
        self.say(LanePaused(LANES[rank], paused), self.model.settle(self.now))

    # --- time ---

    @rule(seconds=st.integers(0, 600))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def all_agents_crash(self) -> None:
        self.model.agents.clear()
        for task_id in list(self.model.flights):
            self.model.land(task_id)
        self.compare(self.core.agents_down(), [])

    @rule()
    def mail_is_empty(self) -> None:
        was_due = self.core.needs_flush
        version = self.version
        outputs = self.core.flush()
        told = [to for to, message in outputs if isinstance(message, Workers)]
        assert sorted(told) == (sorted(f"lane.{LANES[rank]}" for rank in self.up) if was_due else [])
        self.compare(outputs, [])
        assert not told or self.version > version
        assert self.hopeless() <= self.parked, "a task nobody online may take is parked"

    # --- always ---

    @invariant()
    def no_idle_agent_may_take_a_visible_task(self) -> None:
        assert not any(
            self.model.may(name, task) for name in self.model.idle() for task in self.model.visible()
        )

    @invariant()
    def an_agent_has_one_offer_at_most(self) -> None:
        offered = [flight[0] for flight in self.model.flights.values()]
        assert len(offered) == len(set(offered))

    @invariant()
    def an_idle_agent_that_is_excluded_from_a_whole_window_sees_further(self) -> None:
        shown = {(task.rank, task.bucket) for task in self.model.visible()}
        for at in shown:
            if self.model.windows[at].more and any(
                self.model.fits(name, at[1]) for name in self.model.idle()
            ):
                assert at in self.asked


class SchedulerThatAlwaysTidies(SchedulerAgainstModel):
    """What otherwise takes dozens of stale entries or capability sets, or some refusals, happens at once."""

    def __init__(self) -> None:
        self.was = shelves.SLACK, stock.FEW, shelves.REFUSALS
        shelves.SLACK, stock.FEW, shelves.REFUSALS = 0, 0, 1
        super().__init__()

    def teardown(self) -> None:
        shelves.SLACK, stock.FEW, shelves.REFUSALS = self.was


TestSchedulerAgainstModel = SchedulerAgainstModel.TestCase
TestSchedulerAgainstModel.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestSchedulerThatAlwaysTidies = SchedulerThatAlwaysTidies.TestCase
TestSchedulerThatAlwaysTidies.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
