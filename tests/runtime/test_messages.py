"""Order, copies, failures, dead letters."""

import pickle
from copy import deepcopy
from pickle import PicklingError
from threading import Thread

import msgspec
import pytest
from thespian.actors import (
    Actor,
    ActorAddress,
    ActorExitRequest,
    ActorSystemMessage,
    DeadEnvelope,
    PoisonMessage,
    Thespian_StatusReq,
)

from agentcom.runtime import LoopSystemBase
from tests.runtime.local import importable


class Note(msgspec.Struct, frozen=True):
    text: str
    items: list[int]

    def __str__(self) -> str:
        return "Note"


class Recorder(Actor):
    def __init__(self):
        self.seen = []

    def receiveMessage(self, msg, sender):
        if msg == "log":
            self.send(sender, self.seen)
        elif msg == "dead letters":
            self.handleDeadLetters()
            self.send(sender, "ok")
        elif msg == "no dead letters":
            self.handleDeadLetters(False)
            self.send(sender, "ok")
        elif isinstance(msg, DeadEnvelope):
            self.seen.append((msg.deadAddress, msg.deadMessage, sender))
        elif not isinstance(msg, ActorSystemMessage):
            self.seen.append(msg)


class Sender(Actor):
    """Sends what it is told to whom it is told, and keeps what comes back."""

    def __init__(self):
        self.poisons = []

    def receiveMessage(self, msg, sender):
        if isinstance(msg, PoisonMessage):
            self.poisons.append((msg.poisonMessage, "boom" in msg.details))
        elif msg == "poisons":
            self.send(sender, self.poisons)
        elif isinstance(msg, tuple):
            target, messages = msg
            for each in messages:
                self.send(target, each)


class Fails(Actor):
    def __init__(self):
        self.calls = []

    def receiveMessage(self, msg, sender):
        if msg == "calls":
            self.send(sender, self.calls)
        elif isinstance(msg, list):
            msg.append(len(self.calls))
            self.calls.append(list(msg))
            raise ValueError("boom")


class FailsOnce(Actor):
    calls = 0

    def receiveMessage(self, msg, sender):
        self.calls += 1
        if self.calls == 1:
            raise ValueError("boom")
        self.send(sender, self.calls)


class Sharer(Actor):
    """Sends a list and then changes it."""

    def receiveMessage(self, msg, sender):
        if isinstance(msg, ActorAddress):
            shared = [1]
            self.send(msg, shared)
            shared.append(2)
            self.send(sender, "done")


class Unpicklable(Actor):
    def receiveMessage(self, msg, sender):
        if msg == "try":
            try:
                self.send(self.myAddress, lambda: None)
            except (AttributeError, TypeError, PicklingError) as exc:
                self.send(sender, type(exc).__name__)
            else:
                self.send(sender, "sent")


def test_messages_of_a_pair_arrive_in_order(system):
    recorder, sender = system.create(Recorder), system.create(Sender)
    system.tell(sender, (recorder, list(range(1000))))
    assert system.eventually(lambda: (log := system.ask(recorder, "log")) and len(log) == 1000)
    assert system.ask(recorder, "log") == list(range(1000))


def test_a_failed_message_is_tried_again_at_once_with_a_copy_and_then_returned(system):
    fails, sender = system.create(Fails), system.create(Sender)
    system.tell(sender, (fails, [[7]]))
    poisons = system.eventually(lambda: system.ask(sender, "poisons"))
    assert system.ask(fails, "calls") == [[7, 0], [7, 0, 1]]
    assert poisons == [([7, 0], True)]


def test_a_message_that_fails_once_is_handled(system):
    assert system.ask(system.create(FailsOnce), "go") == 2


def test_an_outside_caller_gets_the_poison_as_its_answer(system):
    answer = system.ask(system.create(Fails), [1])
    assert isinstance(answer, PoisonMessage)
    assert "boom" in answer.details


def test_strict_delivers_a_copy_and_plain_the_object(system):
    recorder = system.create(Recorder)
    system.ask(system.create(Sharer), recorder)
    expected = [[1]] if system.base.dispatcher.strict else [[1, 2]]
    assert system.ask(recorder, "log") == expected


def test_strict_refuses_at_the_sender_what_cannot_cross_a_process(system):
    refused = system.ask(system.create(Unpicklable), "try") != "sent"
    assert refused is system.base.dispatcher.strict


def test_structs_with_addresses_cross(system):
    recorder = system.create(Recorder)
    system.tell(recorder, Note("a", [1]))
    system.tell(recorder, {"to": recorder})
    assert system.ask(recorder, "log") == [Note("a", [1]), {"to": recorder}]


def test_dead_letters_go_to_the_newest_handler_with_their_sender(system):
    old, new, sender = system.create(Recorder), system.create(Recorder), system.create(Sender)
    gone = system.create(Recorder)
    system.ask(old, "dead letters")
    system.ask(new, "dead letters")
    system.tell(gone, ActorExitRequest())
    system.eventually(lambda: system.alive() == 3)
    system.tell(sender, (gone, ["hello"]))
    log = system.eventually(lambda: system.ask(new, "log"))
    assert log == [(gone, "hello", sender)]
    assert system.ask(old, "log") == []
    assert system.base.dispatcher.dead_letters == 1


def test_mail_in_the_box_of_a_dying_actor_is_dead_letters(system):
    @importable
    class Dies(Actor):
        def receiveMessage(self, msg, sender):
            if msg == "first":
                for each in ("second", "third"):
                    self.send(self.myAddress, each)
                raise SystemExit

    handler = system.create(Recorder)
    system.ask(handler, "dead letters")
    dies = system.create(Dies)
    system.tell(dies, "first")
    log = system.eventually(lambda: (log := system.ask(handler, "log")) and len(log) == 2 and log)
    assert [message for _, message, _ in log] == ["second", "third"]


def test_without_a_handler_dead_letters_are_counted(system):
    handler, gone = system.create(Recorder), system.create(Recorder)
    system.ask(handler, "dead letters")
    system.ask(handler, "no dead letters")
    system.tell(gone, ActorExitRequest())
    system.tell(gone, "hello")
    system.eventually(lambda: system.base.dispatcher.dead_letters == 1)
    assert system.ask(handler, "log") == []


def test_an_address_of_another_kind_is_a_dead_one(system):
    sender = system.create(Sender)
    system.tell(sender, (ActorAddress("elsewhere"), ["hello"]))
    system.eventually(lambda: system.base.dispatcher.dead_letters == 1)


def test_an_address_pickled_while_alive_is_dead_after_its_actor(system):
    address = system.create(Recorder)
    raw = pickle.dumps(address)
    assert pickle.loads(raw) is address
    assert deepcopy(address) is address
    system.tell(address, ActorExitRequest())
    system.eventually(lambda: system.alive() == 0)
    name = str(address)
    del address
    again = pickle.loads(raw)
    assert again.sink is None
    assert str(again) == name
    assert len({again, pickle.loads(raw)}) == 1


def test_a_thread_of_an_actor_may_send(system):
    @importable
    class Threaded(Actor):
        def receiveMessage(self, msg, sender):
            if msg == "go":
                Thread(target=self.send, args=(sender, "from a thread")).start()

    assert system.ask(system.create(Threaded), "go") == "from a thread"


def test_addresses_work_across_two_systems_of_one_process(system):
    other = LoopSystemBase({}, strict=system.base.dispatcher.strict)
    try:
        recorder, sender = other.newPrimaryActor(Recorder), system.create(Sender)
        system.tell(sender, (recorder, ["hello"]))
        system.eventually(lambda: other.ask(recorder, "log", 5) == ["hello"])
    finally:
        other.shutdown()


def test_a_status_request_is_answered_by_the_system(system):
    status = system.ask(system.create(Recorder), Thespian_StatusReq())
    assert status.actorClass == "Recorder"
    assert status.childActors == []


@pytest.mark.parametrize("count", [1, 5000])
def test_no_actor_waits_for_another_s_whole_mailbox(system, count):
    @importable
    class Spinner(Actor):
        """Sends itself a message for each it gets."""

        def receiveMessage(self, msg, sender):
            if msg == "spin":
                self.send(self.myAddress, "spin")

    spinner, recorder = system.create(Spinner), system.create(Recorder)
    for _ in range(count):
        system.tell(spinner, "spin")
    system.tell(recorder, "hello")
    assert system.ask(recorder, "log") == ["hello"]
