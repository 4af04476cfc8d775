"""Births, deaths, names, and who is told."""

import gc

import pytest
from thespian.actors import (
    Actor,
    ActorExitRequest,
    ActorSystemException,
    ChildActorExited,
    NoCompatibleSystemForActor,
    requireCapability,
)

from agentcom.runtime import kill_actor
from tests.runtime.local import importable


class Echo(Actor):
    def receiveMessage(self, msg, sender):
        if msg == "exit":
            raise SystemExit(3)
        if msg == "interrupt":
            raise KeyboardInterrupt
        if isinstance(msg, str):
            self.send(sender, msg)


class Parent(Actor):
    """Answers with the log of what it saw."""

    def __init__(self):
        self.seen = []

    def receiveMessage(self, msg, sender):
        if isinstance(msg, ChildActorExited):
            self.seen.append(("exited", msg.childAddress))
        elif isinstance(msg, ActorExitRequest):
            self.seen.append("asked to exit")
        elif isinstance(msg, tuple) and msg[0] == "child":
            self.send(sender, self.createActor(msg[1]))
        elif msg == "log":
            self.send(sender, self.seen)


class Witness(Parent):
    """A parent that sends its log away before it exits."""

    def receiveMessage(self, msg, sender):
        if isinstance(msg, tuple) and msg[0] == "report to":
            self.to = msg[1]
        super().receiveMessage(msg, sender)
        if isinstance(msg, ChildActorExited):
            self.send(self.to, "child gone")
        if isinstance(msg, ActorExitRequest):
            self.send(self.to, "I exit")


class Last(Actor):
    def receiveMessage(self, msg, sender):
        if isinstance(msg, tuple):
            self.to = msg[1]
        if isinstance(msg, ActorExitRequest):
            self.send(self.to, "child exits")


class Recorder(Actor):
    def __init__(self):
        self.seen = []

    def receiveMessage(self, msg, sender):
        if msg == "log":
            self.send(sender, self.seen)
        else:
            self.seen.append(msg)


class Broken(Actor):
    def __init__(self):
        raise ValueError("cannot be made")


class Quits(Actor):
    def __init__(self):
        raise SystemExit


class Wants(Actor):
    def __init__(self, capabilities, requirements):
        self.given = (capabilities["colour"], requirements)

    def receiveMessage(self, msg, sender):
        self.send(sender, self.given)


@requireCapability("colour", "green")
class OnlyGreen(Echo):
    pass


def test_a_parent_is_told_once_of_its_child_s_exit(system):
    parent = system.create(Parent)
    child = system.ask(parent, ("child", Echo))
    system.tell(child, ActorExitRequest())
    log = system.eventually(lambda: system.ask(parent, "log"))
    assert log == [("exited", child)]


@pytest.mark.parametrize("how", ["exit", "interrupt"])
def test_sys_exit_ends_the_actor_and_not_the_system(system, how):
    parent = system.create(Parent)
    child = system.ask(parent, ("child", Echo))
    system.tell(child, how)
    system.eventually(lambda: system.ask(parent, "log") == [("exited", child)])
    assert system.alive() == 1


@pytest.mark.parametrize("stillborn", [Broken, Quits])
def test_a_child_that_cannot_be_made_has_exited(system, stillborn):
    parent = system.create(Parent)
    child = system.ask(parent, ("child", stillborn))
    assert system.eventually(lambda: system.ask(parent, "log")) == [("exited", child)]


def test_a_child_whose_class_cannot_be_found_has_exited(system):
    parent = system.create(Parent)
    child = system.ask(parent, ("child", "no.such.Actor"))
    assert system.eventually(lambda: system.ask(parent, "log")) == [("exited", child)]


def test_the_creator_of_a_primary_gets_the_exception(system):
    with pytest.raises(ValueError, match="cannot be made"):
        system.create(Broken)


def test_children_exit_before_their_parent(system):
    recorder = system.create(Recorder)
    parent = system.create(Witness)
    child = system.ask(parent, ("child", Last))
    system.tell(parent, ("report to", recorder))
    system.tell(child, ("report to", recorder))
    system.tell(parent, ActorExitRequest())
    system.eventually(lambda: system.alive() == 1)
    assert system.ask(recorder, "log") == ["I exit", "child exits", "child gone"]


def test_a_request_that_is_not_recursive_leaves_the_children(system):
    parent = system.create(Parent)
    child = system.ask(parent, ("child", Echo))
    system.tell(parent, ActorExitRequest(recursive=False))
    system.eventually(lambda: system.alive() == 1)
    assert system.ask(child, "still here") == "still here"


def test_killing_takes_all_below_and_tells_the_parent(system):
    @importable
    class Killer(Parent):
        def receiveMessage(self, msg, sender):
            if isinstance(msg, tuple) and msg[0] == "kill":
                kill_actor(self, msg[1])
            super().receiveMessage(msg, sender)

    killer = system.create(Killer)
    child = system.ask(killer, ("child", Parent))
    system.ask(child, ("child", Echo))
    assert system.alive() == 3
    system.tell(killer, ("kill", child))
    system.eventually(lambda: system.ask(killer, "log") == [("exited", child)])
    assert system.alive() == 1


def test_an_actor_may_kill_itself(system):
    @importable
    class Suicidal(Parent):
        def receiveMessage(self, msg, sender):
            kill_actor(self, self.myAddress)
            self.send(sender, "gone")

    assert system.ask(system.create(Suicidal), "now") == "gone"
    assert system.alive() == 0


def test_shutting_down_twice_at_once_is_one_shutdown(system):
    @importable
    class Closer(Actor):
        def receiveMessage(self, msg, sender):
            self.actorSystemShutdown()

    system.tell(system.create(Closer), "now")
    system.base.shutdown()
    assert system.base.closed


def test_dead_actors_are_forgotten(system):
    parent = system.create(Parent)
    for _ in range(50):
        system.tell(system.ask(parent, ("child", Echo)), ActorExitRequest())
    system.eventually(lambda: system.alive() == 1)
    cell = parent.sink
    system.eventually(lambda: not cell.children)


def test_dead_actors_leave_nothing_for_the_garbage_collector(system):
    @importable
    class Forgetful(Actor):
        def receiveMessage(self, msg, sender):
            if msg == "child":
                self.send(sender, self.createActor(Echo))

    parent = system.create(Forgetful)
    gc.disable()
    try:
        before = len(system.base.dispatcher.space)
        for _ in range(50):
            system.tell(system.ask(parent, "child"), ActorExitRequest())
        system.eventually(lambda: len(system.base.dispatcher.space) <= before)
    finally:
        gc.enable()


def test_a_global_name_is_one_actor_until_it_exits(system):
    one = system.create(Echo, globalName="one")
    assert system.create(Parent, globalName="one") == one
    system.tell(one, ActorExitRequest())
    system.eventually(lambda: system.alive() == 0)
    assert system.create(Echo, globalName="one") != one


def test_an_exiting_actor_makes_no_children(system):
    @importable
    class Heir(Parent):
        def receiveMessage(self, msg, sender):
            if isinstance(msg, ActorExitRequest):
                self.createActor(Echo)
            super().receiveMessage(msg, sender)

    parent = system.create(Heir)
    system.ask(parent, ("child", Echo))
    system.tell(parent, ActorExitRequest())
    system.eventually(lambda: system.alive() == 0)


def test_init_gets_the_arguments_it_names(system):
    system.asys.updateCapability("colour", "blue")
    wants = system.asys.createActor(Wants, targetActorRequirements={"size": 3})
    assert system.ask(wants, "?") == ("blue", {"size": 3})


def test_an_actor_that_no_longer_fits_is_asked_to_exit(system):
    with pytest.raises(NoCompatibleSystemForActor, match="No compatible ActorSystem"):
        system.create(OnlyGreen)
    system.asys.updateCapability("colour", "green")
    assert system.ask(system.create(OnlyGreen), "hi") == "hi"
    system.asys.updateCapability("colour", "red")
    system.eventually(lambda: system.alive() == 0)


def test_a_system_that_was_shut_down_says_so(system):
    outside = system.base.external_clone()
    echo = system.create(Echo)
    system.asys.shutdown()
    system.asys._systemBase = system.base
    with pytest.raises(ActorSystemException, match="shut down"):
        outside.tell(echo, "hello")
    assert system.alive() == 0


def test_an_actor_may_shut_the_system_down(system):
    @importable
    class Closer(Actor):
        def receiveMessage(self, msg, sender):
            self.actorSystemShutdown()

    system.create(Echo)
    system.tell(system.create(Closer), "now")
    system.eventually(lambda: system.base.closed)


def test_figures_name_every_actor_with_its_parent_and_count(system):
    parent = system.create(Parent, globalName="root")
    child = system.ask(parent, ("child", Echo))
    system.ask(child, "hi")
    root, echo = system.base.figures()
    assert (root.class_name, root.label, root.parent) == ("Parent", "root", "")
    assert (echo.class_name, echo.parent, echo.handled) == ("Echo", str(parent), 1)
    assert (echo.depth, echo.state) == (0, "running")
    assert echo.uptime_s >= 0
