"""The simulation: virtual time, chosen order, and that a run is a function of its seed."""

import asyncio
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thespian.actors import Actor, ActorExitRequest, ActorSystem, ChildActorExited, WakeupMessage

from agentcom.runtime import (
    BlockingDone,
    Faults,
    NeverIdleError,
    NothingLeftError,
    ScriptedChooser,
    SimSystemBase,
    TimedOut,
    clock_of,
    monotonic_of,
    run_blocking,
)
from agentcom.runtime.replay import run_seed, run_seeds


class Keeper(Actor):
    """Keeps what it is told; says it when asked."""

    def __init__(self):
        self.kept = []

    def receiveMessage(self, msg, sender):
        if msg == "kept":
            self.send(sender, self.kept)
        else:
            self.kept.append(msg)


class Counts(Actor):
    """Tells the target a number of things, one in each turn."""

    def receiveMessage(self, msg, sender):
        target, name, left = msg
        self.send(target, (name, left))
        if left:
            self.send(self.myAddress, (target, name, left - 1))


class Clocks(Actor):
    """Sets wakeups and keeps when they came."""

    def __init__(self):
        self.rung = []

    def receiveMessage(self, msg, sender):
        if isinstance(msg, WakeupMessage):
            self.rung.append((msg.payload, monotonic_of(self)))
        elif msg == "rung":
            self.send(sender, self.rung)
        elif msg == "time":
            self.send(sender, (clock_of(self).now(), monotonic_of(self)))
        else:
            self.wakeupAfter(msg, msg)


class Works(Actor):
    """Keeps the outcomes of blocking work, and when they came."""

    def __init__(self):
        self.outcomes = []

    def receiveMessage(self, msg, sender):
        if msg == "outcomes":
            self.send(sender, self.outcomes)
        elif isinstance(msg, tuple):
            token, deadline_s = msg
            run_blocking(self, str.upper, token, token=token, deadline_s=deadline_s)
            self.outcomes.append("asked")
        else:
            self.outcomes.append(msg)


class Rings(Actor):
    """Sends everything on to itself, for ever."""

    def receiveMessage(self, msg, sender):
        self.send(self.myAddress, msg)


class Mother(Actor):
    def __init__(self):
        self.news = []

    def receiveMessage(self, msg, sender):
        if msg == "child":
            self.send(sender, self.createActor(Keeper))
        elif msg == "news":
            self.send(sender, self.news)
        elif isinstance(msg, ChildActorExited):
            self.news.append(msg.childAddress)


def crowd(sim):
    """Five that tell one at the same time; the order is what the seed makes of it."""
    keeper = sim.create(Keeper)
    for name in "abcde":
        sim.tell(sim.create(Counts), (keeper, name, 4))
    sim.run_until_idle()
    return sim.ask(keeper, "kept")


def broken(sim):
    assert crowd(sim)[0][0] == "nobody"


def test_the_same_seed_takes_the_same_steps():
    one, other = SimSystemBase(7), SimSystemBase(7)
    assert crowd(one) == crowd(other)
    assert one.trace.hash() == other.trace.hash()


def test_other_seeds_choose_other_orders():
    assert len({tuple(crowd(SimSystemBase(seed))) for seed in range(20)}) > 15


@settings(max_examples=25)
@given(st.lists(st.integers(0, 255), max_size=100))
def test_no_order_changes_what_one_sender_says(script):
    heard = crowd(SimSystemBase(ScriptedChooser(script)))
    for name in "abcde":
        assert [n for who, n in heard if who == name] == [4, 3, 2, 1, 0]


def test_a_seed_that_cannot_decide_is_refused():
    with pytest.raises(TypeError, match="dict"):
        SimSystemBase({})


def test_an_empty_script_is_first_come_first_served():
    assert [who for who, _ in crowd(SimSystemBase(ScriptedChooser([])))] == [*"abcde"] * 5


def test_a_failing_seed_says_how_to_replay_it():
    with pytest.raises(AssertionError) as failed:
        run_seeds(broken, range(3, 5))
    notes = "\n".join(failed.value.__notes__)
    assert f"python -m agentcom.runtime.replay {broken.__module__}:broken 3" in notes
    assert "deliver" in notes


@pytest.mark.slow
@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_replay_command_repeats_the_run_in_another_process(hash_seed):
    argv = [sys.executable, "-m", "agentcom.runtime.replay", "tests.runtime.test_sim:crowd", "9"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert run_seed(crowd, 9).trace.hash() in done.stdout


def test_time_stands_still_until_it_is_told_to_pass():
    sim = SimSystemBase()
    clocks = sim.create(Clocks)
    for seconds in (5, 1, 3):
        sim.tell(clocks, seconds)
    sim.run_until_idle()
    assert sim.ask(clocks, "rung") == []
    sim.advance(4)
    assert sim.ask(clocks, "rung") == [(1, 1.0), (3, 3.0)]
    sim.advance(86_400)
    assert sim.ask(clocks, "rung")[2] == (5, 5.0)


def test_actors_read_the_simulation_s_clock():
    sim = SimSystemBase(wall=1000.0)
    clocks = sim.create(Clocks)
    sim.advance(2.5)
    sim.clock.jump(-60)
    assert sim.ask(clocks, "time") == (942.5, 2.5)


def test_a_dead_actor_s_timers_never_fire():
    sim = SimSystemBase()
    clocks = sim.create(Clocks)
    sim.tell(clocks, 1)
    sim.run_until_idle()
    sim.kill("Clocks")
    sim.advance(10)
    assert sim.trace.tail().count("WakeupMessage") == 0


def test_actors_that_never_rest_are_noticed():
    sim = SimSystemBase()
    sim.tell(sim.create(Rings), "round")
    with pytest.raises(NeverIdleError):
        sim.run_until_idle(max_steps=100)


def test_blocking_work_runs_in_a_later_step():
    sim = SimSystemBase()
    works = sim.create(Works)
    sim.tell(works, ("a", None))
    sim.run_until_idle()
    assert sim.ask(works, "outcomes") == ["asked", BlockingDone("a", "A")]


def test_blocking_work_that_is_slow_meets_its_deadline():
    sim = SimSystemBase(faults=Faults(job_slow=1.0, delays_s=(3.0,)))
    works = sim.create(Works)
    sim.tell(works, ("late", 2.0))
    sim.tell(works, ("early", 4.0))
    sim.run_until_idle()
    assert sim.ask(works, "outcomes")[2:] == [TimedOut("late"), BlockingDone("early", "EARLY")]
    assert sim.monotonic() == 3.0


def test_ask_gives_up_after_virtual_time_only():
    sim = SimSystemBase()
    clocks = sim.create(Clocks)
    assert sim.ask(clocks, 100, timeout=30) is None
    assert sim.monotonic() == 30.0


def test_a_late_answer_is_heard_by_listen():
    sim = SimSystemBase()
    keeper = sim.create(Keeper)
    sim.stall("Keeper", 5.0)
    assert sim.ask(keeper, "kept", timeout=1) is None
    assert sim.listen(timeout=10) == []


def test_ask_of_a_dead_actor_answers_at_once():
    sim = SimSystemBase()
    keeper = sim.create(Keeper)
    sim.kill("Keeper")
    assert sim.ask(keeper, "kept") is None


def test_the_world_outside_takes_part_by_call_after():
    sim = SimSystemBase()
    keeper = sim.create(Keeper)
    sim.call_after(3.0, sim.tell, keeper, "from outside")
    sim.advance(2.9)
    assert sim.ask(keeper, "kept") == []
    sim.advance(0.2)
    assert sim.ask(keeper, "kept") == ["from outside"]


def test_losing_the_process_leaves_nothing_but_the_world():
    heard = []
    sim = SimSystemBase()
    clocks, keeper = sim.create(Clocks), sim.create(Keeper, name="keeper")
    sim.tell(clocks, 1)
    sim.tell(keeper, "unsaved")
    sim.call_after(2.0, heard.append, "the world goes on")
    sim.lose()
    sim.advance(5)
    assert (sim.figures(), heard) == ([], ["the world goes on"])
    assert sim.ask(keeper, "kept", timeout=1) is None
    assert sim.ask(sim.create(Keeper, name="keeper"), "kept") == []


def test_the_hook_runs_after_every_step():
    sim = SimSystemBase()
    seen = []
    sim.after_step = lambda: seen.append(sim.deliveries)
    sim.tell(sim.create(Keeper), 1)
    sim.tell(sim.create(Keeper), 2)
    sim.run_until_idle()
    assert seen == [1, 2]


def test_messages_are_copies_unless_strict_is_off():
    for strict in (True, False):
        sim = SimSystemBase(strict=strict)
        keeper, mine = sim.create(Keeper), []
        sim.tell(keeper, mine)
        assert (sim.ask(keeper, "kept")[0] is mine) is not strict


def test_it_serves_thespian_s_actor_system():
    sim = SimSystemBase()
    asys = ActorSystem(systemBase=sim, transientUnique=True, capabilities=sim.capabilities)
    mother = asys.createActor(Mother, globalName="mother")
    child = asys.ask(mother, "child")
    asys.tell(child, ActorExitRequest())
    sim.run_until_idle()
    assert asys.ask(mother, "news") == [child]
    with asys.private() as other:
        assert other.ask(mother, "news") == [child]
    asys.shutdown()
    assert sim.figures() == []


def test_ports_and_figures_are_the_loop_s():
    sim = SimSystemBase()
    heard = []
    port = sim.open_port(lambda msg, _: heard.append(msg))
    keeper = sim.create(Keeper, name="keeper")
    port.send(keeper, "kept")
    sim.run_until_idle()
    assert heard == [[]]
    assert [(f.label, f.handled, f.depth) for f in sim.figures()] == [("keeper", 1, 0)]


def test_asyncio_code_runs_on_virtual_time():
    sim = SimSystemBase()
    clocks = sim.create(Clocks)

    async def scene():
        sim.tell(clocks, 50)
        await asyncio.sleep(100)
        async with asyncio.timeout(10_000):
            await asyncio.sleep(1000)

    sim.run(scene())
    assert sim.monotonic() == 1100.0
    assert sim.ask(clocks, "rung") == [(50, 50.0)]


def test_asyncio_code_that_waits_for_nothing_is_noticed():
    async def scene():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingLeftError):
        SimSystemBase().run(scene())


def test_every_decision_is_asked_of_the_chooser():
    class Recorder(ScriptedChooser):
        asked = Counter()

        def choose(self, n, what):
            self.asked[what] += 1
            return super().choose(n, what)

    crowd(SimSystemBase(Recorder([])))
    assert set(Recorder.asked) == {"turn", "burst"}
