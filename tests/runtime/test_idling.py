"""Who waits for the others to have nothing more to say: told after them, and in any case."""

from thespian.actors import Actor, ActorSystem

from agentcom.runtime import SimSystemBase, when_idle
from tests.runtime.test_on_thespians_bases import DEADLINE_S


class Gatherer(Actor):
    """Asks for idleness at the first word, and tells what it had gathered when it came."""

    def __init__(self):
        self.gathered = []
        self.asker = None
        self.reply = None

    def receiveMessage(self, msg, sender):
        if msg == "idle":
            self.reply = list(self.gathered)
            if self.asker is not None:
                self.send(self.asker, self.reply)
        elif msg == "what?":
            self.asker = sender
            if self.reply is not None:
                self.send(sender, self.reply)
        elif isinstance(msg, str):
            if not self.gathered:
                when_idle(self, "idle")
            self.gathered.append(msg)


class Relay(Actor):
    """Passes a word on to itself so many times, and then to its target: work that takes several turns."""

    def receiveMessage(self, msg, sender):
        if isinstance(msg, tuple):
            target, word, hops = msg
            self.send(self.myAddress if hops else target, (target, word, hops - 1) if hops else word)


class Spinner(Actor):
    """Never has nothing to do, until it is told to stop."""

    spinning = False

    def receiveMessage(self, msg, sender):
        if msg == "spin":
            if not self.spinning:
                self.spinning = True
            self.send(self.myAddress, "on")
        elif msg == "on" and self.spinning:
            self.send(self.myAddress, "on")
        elif msg == "stop":
            self.spinning = False
            self.send(sender, "stopped")


def test_it_is_told_after_everything_that_was_on_its_way(system):
    gatherer = system.create(Gatherer)
    relays = [system.create(Relay) for _ in range(3)]

    def all_at_once():
        for hops, relay in enumerate(relays):
            system.base.dispatcher.deliver(relay, (gatherer, f"after {hops}", hops), relay)

    system.base.post(all_at_once)
    assert sorted(system.ask(gatherer, "what?")) == ["after 0", "after 1", "after 2"]


def test_actors_that_are_never_idle_do_not_keep_it_waiting_for_ever(system):
    gatherer, spinner = system.create(Gatherer), system.create(Spinner)
    system.tell(spinner, "spin")
    system.tell(gatherer, "word")
    assert system.ask(gatherer, "what?") == ["word"]
    assert system.ask(spinner, "stop") == "stopped"


def test_one_that_is_gone_by_then_is_not_told(system):
    gatherer = system.create(Gatherer)

    def ask_and_end():
        cell = gatherer.sink
        system.base.when_idle(cell, "idle")
        system.base.dispatcher.kill(cell)

    before = system.alive()
    system.base.post(ask_and_end)
    system.eventually(lambda: system.alive() == before - 1)
    system.eventually(lambda: not system.base._idle)
    assert system.base.dispatcher.dead_letters == 0


def test_in_a_simulation_it_comes_as_mail():
    sim = SimSystemBase(7)
    asys = ActorSystem(systemBase=sim, transientUnique=True, capabilities=sim.capabilities)
    gatherer = asys.createActor(Gatherer)
    asys.tell(gatherer, "word")
    assert asys.ask(gatherer, "what?", DEADLINE_S) == ["word"]


def test_on_a_base_without_idleness_it_comes_behind_the_mail_that_waits():
    asys = ActorSystem("simpleSystemBase", logDefs=False, transientUnique=True)
    try:
        gatherer = asys.createActor(Gatherer)
        asys.tell(gatherer, "word")
        assert asys.ask(gatherer, "what?", DEADLINE_S) == ["word"]
    finally:
        asys.shutdown()
