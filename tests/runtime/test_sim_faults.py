"""Faults in a simulation: each kind does what it says, is counted, and is reported as the real one is."""

import pytest
from thespian.actors import Actor, ActorExitRequest, ChildActorExited, WakeupMessage

from agentcom.runtime import Faults, Planned, SimSystemBase, monotonic_of
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.supervisors.troupe import Leave, Player, Say, Script


class Family(Actor):
    """A parent that keeps its news; its children echo."""

    def __init__(self):
        self.news = []

    def receiveMessage(self, msg, sender):
        if msg == "child":
            self.send(sender, self.createActor(Echo))
        elif msg == "news":
            self.send(sender, self.news)
        elif isinstance(msg, ChildActorExited):
            self.news.append(monotonic_of(self))


class Echo(Actor):
    def receiveMessage(self, msg, sender):
        if isinstance(msg, str):
            self.send(sender, msg)


class Bell(Actor):
    rung = 0.0

    def receiveMessage(self, msg, sender):
        if isinstance(msg, WakeupMessage):
            self.rung = monotonic_of(self)
        elif msg == "rung":
            self.send(sender, self.rung)
        elif isinstance(msg, float):
            self.wakeupAfter(msg)


class LastWords(Player):
    def on_crash(self):
        self.tell_tale("last words")


def on_stage(sim, actor="tests.supervisors.troupe:Player"):
    """A supervised player; what it tells."""
    told = []
    port = sim.open_port(lambda msg, _: told.append((msg.name, msg.what, msg.detail)))
    child = ChildSpec(name="player", actor=actor, args=Script(tale=port.address))
    root = sim.run(Root.start(sim, SupervisorSpec(children=(child,), intensity=20)))
    return root, told


def say(sim, root, text):
    sim.tell(sim.run(root.where("player")), Say(text))
    sim.run_until_idle()


def last_crash(sim, root):
    return next(node.last_crash for node in sim.run(root.tree()) if node.name == "player")


CRASHES = {
    "crash_before": ([], "InjectedCrash: before the message"),
    "crash_during": ([("player", "said", "one")], "InjectedCrash: when the handler had run"),
    "crash_after": ([("player", "said", "one")], "InjectedCrash: before the message"),
}


@pytest.mark.parametrize("kind", CRASHES)
def test_a_supervised_actor_reports_an_injected_crash(kind):
    sim = SimSystemBase()
    root, told = on_stage(sim)
    sim.faults = Faults(plan=(Planned(kind=kind, label="player", message="Say"),))
    say(sim, root, "one")
    handled, reason = CRASHES[kind]
    assert told[1:] == [*handled, ("player", "started", 2)]
    assert last_crash(sim, root) == reason
    assert sim.fault_counts == {kind: 1}


def test_a_crash_at_a_send_keeps_that_send_back():
    sim = SimSystemBase()
    root, told = on_stage(sim)
    sim.faults = Faults(plan=(Planned(kind="crash_during", label="player", message="Say", send=1),))
    say(sim, root, "one")
    assert told[1:] == [("player", "started", 2)]
    assert last_crash(sim, root) == "InjectedCrash: before send number 1"


@pytest.mark.parametrize("send", [1, 2, 0])
def test_an_end_that_a_crash_cuts_short_is_an_end(send):
    sim = SimSystemBase()
    root, told = on_stage(sim)
    sim.faults = Faults(plan=(Planned(kind="crash_during", label="player", message="Leave", send=send),))
    sim.tell(sim.run(root.where("player")), Leave("boom"))
    sim.run_until_idle()
    assert told[1:] == [("player", "started", 2)]


@pytest.mark.parametrize("message", ["Enrolled", "Say"])
def test_only_one_who_began_has_last_words(message):
    sim = SimSystemBase(faults=Faults(plan=(Planned(kind="crash_before", label="player", message=message),)))
    root, told = on_stage(sim, f"{__name__}:LastWords")
    say(sim, root, "one")
    tale = {"Enrolled": ["started", "said"], "Say": ["started", "last words", "started"]}
    assert [what for _, what, _ in told] == tale[message]


def test_a_planned_fault_waits_for_its_delivery():
    sim = SimSystemBase()
    root, told = on_stage(sim)
    sim.faults = Faults(plan=(Planned(kind="crash_before", label="player", message="Say", nth=2),))
    for text in ("one", "two", "three"):
        say(sim, root, text)
    assert [detail for _, what, detail in told if what == "said"] == ["one", "three"]


def test_a_killed_actor_says_nothing_and_is_restarted():
    sim = SimSystemBase()
    root, told = on_stage(sim)
    sim.faults = Faults(plan=(Planned(kind="kill", label="player", message="Say"),))
    say(sim, root, "one")
    assert told[1:] == [("player", "started", 2)]
    assert last_crash(sim, root) == ""


def test_an_actor_crashes_by_hand_between_messages():
    sim = SimSystemBase()
    root, told = on_stage(sim)
    sim.crash("player")
    sim.run_until_idle()
    assert told[-1] == ("player", "started", 2)
    assert last_crash(sim, root).startswith("InjectedCrash")


def test_a_plain_actor_that_crashes_is_asked_again():
    sim = SimSystemBase(faults=Faults(plan=(Planned(kind="crash_before", label="Echo"),)))
    assert sim.ask(sim.create(Echo), "hello") == "hello"
    assert sim.fault_counts == {"crash_before": 1}


def test_a_stalled_actor_handles_nothing_for_a_while():
    sim = SimSystemBase(faults=Faults(stall=1.0, delays_s=(2.0,), at_most=1))
    echo = sim.create(Echo)
    assert sim.ask(echo, "hello", timeout=1.0) is None
    assert sim.listen(timeout=5.0) == "hello"
    assert sim.monotonic() == 2.0


@pytest.mark.parametrize(
    ("kind", "came"), [("notice_late", [3.0]), ("notice_twice", [0.0, 3.0]), ("notice_lost", [])]
)
def test_exit_notices_come_late_twice_or_never(kind, came):
    sim = SimSystemBase(faults=Faults(**{kind: 1.0}, delays_s=(3.0,)))
    family = sim.create(Family)
    sim.tell(sim.ask(family, "child"), ActorExitRequest())
    sim.run_until_idle()
    assert sim.ask(family, "news") == came
    assert sim.fault_counts == {kind: 1}


def test_a_parent_exits_though_a_notice_was_lost():
    sim = SimSystemBase(faults=Faults(notice_lost=1.0))
    family = sim.create(Family)
    sim.ask(family, "child")
    sim.tell(family, ActorExitRequest())
    sim.run_until_idle()
    assert sim.figures() == []


def test_late_timers_come_late_and_never_early():
    sim = SimSystemBase(faults=Faults(timer_late=1.0, delays_s=(0.5,)))
    bell = sim.create(Bell)
    sim.tell(bell, 1.0)
    sim.advance(10)
    assert sim.ask(bell, "rung") == 1.5


def test_faults_hit_only_whom_they_may_and_stop_at_their_number():
    sim = SimSystemBase(faults=Faults(kill=1.0, labels=("Ec*",), spared=("Echo2",), at_most=2))
    names = ("Echo1", "Echo2", "other", "Echo3", "Echo4")
    answers = {name: sim.ask(sim.create(Echo, name=name), "hello") for name in names}
    assert [name for name, answer in answers.items() if answer is None] == ["Echo1", "Echo3"]
    assert sim.fault_counts == {"kill": 2}
    assert [figures.label for figures in sim.figures()] == ["Echo2", "other", "Echo4"]


def test_without_faults_none_are_drawn():
    sim = SimSystemBase(3)
    root, _ = on_stage(sim)
    say(sim, root, "one")
    assert not sim.fault_counts


@pytest.mark.parametrize("seed", range(5))
def test_a_supervised_tree_comes_to_rest_when_faults_stop(seed):
    rate = 0.03
    faults = Faults(
        crash_before=rate, crash_during=rate, crash_after=rate, kill=rate, stall=rate, notice_late=0.3,
        notice_twice=0.3, notice_lost=0.1, timer_late=0.1, labels=("player",), at_most=15,
    )  # fmt: skip
    sim = SimSystemBase(seed)
    root, told = on_stage(sim)
    sim.faults = faults
    for n in range(40):
        address = sim.run(root.where("player"))
        if address is not None:
            sim.tell(address, Say(str(n)))
        sim.advance(1.0)
    sim.faults = Faults()
    sim.advance(60.0)
    say(sim, root, "at last")
    assert told[-1] == ("player", "said", "at last")
    assert sim.fault_counts


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Faults(kill=1.5),
        lambda: Faults(delays_s=()),
        lambda: Planned(kind="notice_late", label="x"),
        lambda: Planned(kind="kill", label="x", nth=0),
    ],
)
def test_faults_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match=r"expected|are one or more|is one of"):
        bad()
