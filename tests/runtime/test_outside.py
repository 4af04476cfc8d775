"""Callers from other threads, ports, and a base that lives in a loop it was given."""

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
from thespian.actors import Actor, ActorExitRequest, ActorSystem, ChildActorExited, WakeupMessage

from agentcom.runtime import LoopSystemBase, LoopWatchdog, ManualClock
from tests.runtime.local import importable


class Echo(Actor):
    def receiveMessage(self, msg, sender):
        if isinstance(msg, (str, int)):
            self.send(sender, msg)


class Late(Actor):
    """Answers the first question only when it hears the second."""

    first = None

    def receiveMessage(self, msg, sender):
        if msg == "first":
            self.first = sender
        elif msg == "second":
            self.send(self.first, "answer to the first")
            self.send(sender, "answer to the second")


class WhoAsks(Actor):
    """Answers how many senders it has seen."""

    def __init__(self):
        self.seen = set()

    def receiveMessage(self, msg, sender):
        if isinstance(msg, str):
            self.seen.add(sender)
        if msg == "asked":
            self.send(sender, len(self.seen))


class Parent(Actor):
    def receiveMessage(self, msg, sender):
        if msg == "child":
            self.send(sender, self.createActor(Echo))


def test_a_late_answer_goes_to_its_thread_s_next_question(system):
    """Thespian's documented rule: an ask is answered by the next message, from any actor."""
    late = system.create(Late)
    assert system.asys.ask(late, "first", 0.01) is None
    assert system.ask(late, "second") == "answer to the first"
    assert system.asys.listen(5) == "answer to the second"


def test_a_late_answer_is_never_taken_for_another_thread_s_question(system):
    late = system.create(Late)
    assert system.asys.ask(late, "first", 0.01) is None
    with ThreadPoolExecutor(1) as other:
        assert other.submit(system.ask, late, "second").result() == "answer to the second"
    assert system.asys.listen(5) == "answer to the first"


def test_a_thread_is_one_sender_whether_it_tells_or_asks(system):
    keeper = system.create(WhoAsks)
    system.tell(keeper, "told")
    assert system.ask(keeper, "asked") == 1
    with system.asys.private() as other:
        assert other.ask(keeper, "asked", 10) == 2


def test_each_thread_gets_its_own_answers(system):
    echo = system.create(Echo)
    wrong = []

    def caller(which):
        with system.asys.private() as mine:
            wrong.extend(n for n in range(which, 2000, 8) if mine.ask(echo, n, 10) != n)

    threads = [Thread(target=caller, args=(which,)) for which in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_that_share_one_system_get_their_own_answers_too(system):
    echo = system.create(Echo)
    wrong = []

    def caller(which):
        wrong.extend(n for n in range(which, 1000, 4) if system.ask(echo, n) != n)

    threads = [Thread(target=caller, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_answer_to_a_tell_waits_for_listen(system):
    system.tell(system.create(Echo), "told")
    assert system.asys.listen(5) == "told"
    assert system.asys.listen(0) is None


def test_an_ask_to_a_dead_actor_ends_without_its_deadline(system):
    echo = system.create(Echo)
    system.tell(echo, ActorExitRequest())
    assert system.asys.ask(echo, "hello", None) is None


def test_strict_refuses_an_unpicklable_message_at_the_caller(system):
    echo = system.create(Echo)
    if system.base.dispatcher.strict:
        with pytest.raises(Exception, match="pickle"):
            system.tell(echo, lambda: None)
    assert system.ask(echo, "alive") == "alive"


def test_a_base_lives_in_a_loop_it_was_given_without_blocking_it():
    async def main():
        base = LoopSystemBase({}, strict=True, loop=asyncio.get_running_loop())
        asys = ActorSystem(systemBase=base, transientUnique=True, capabilities=base.capabilities)
        got = asyncio.Queue()
        port = base.open_port(lambda message, sender: got.put_nowait((message, sender)))
        echo = asys.createActor(Echo)
        asys.tell(echo, "nobody listens")
        port.send(echo, "hello")
        assert await asyncio.wait_for(got.get(), 5) == ("hello", echo)
        with pytest.raises(RuntimeError, match="block"):
            asys.ask(echo, "hello", 1)
        with pytest.raises(RuntimeError, match="block"):
            asys.listen(1)
        other = await asyncio.to_thread(asys.ask, echo, "from a thread", 5)
        assert other == "from a thread"
        await base.aclose()
        assert base.figures() == []

    asyncio.run(main())


def test_a_loop_of_another_thread_is_refused(system):
    with pytest.raises(ValueError, match="another thread"):
        LoopSystemBase({}, loop=system.base.loop)


def test_a_named_actor_is_made_once_on_the_loop():
    async def main():
        base = LoopSystemBase({}, strict=True, loop=asyncio.get_running_loop())
        one = base.create(Echo, name="one")
        assert base.create(Echo, name="one") is one
        child = base.create(Echo, parent=one)
        assert [f.parent for f in base.figures()] == ["", str(one)]
        port = base.open_port(lambda message, sender: None)
        port.send(one, ActorExitRequest())
        await base.aclose()
        assert child.sink is None

    asyncio.run(main())


def test_a_port_hears_system_messages_and_survives_its_owner_s_mistakes():
    async def main():
        base = LoopSystemBase({}, strict=True, loop=asyncio.get_running_loop())
        got = asyncio.Queue()

        def receive(message, sender):
            got.put_nowait(message)
            raise ValueError("the owner's mistake")

        port = base.open_port(receive)
        other = base.open_port(lambda message, sender: None)
        other.send(port.address, ActorExitRequest())
        other.send(port.address, ChildActorExited(other.address))
        other.send(port.address, "hello")
        got_all = [await asyncio.wait_for(got.get(), 5) for _ in range(3)]
        assert got_all == [ActorExitRequest(), ChildActorExited(other.address), "hello"]
        port.close()
        other.send(port.address, "too late")
        assert base.dispatcher.dead_letters == 1
        await base.aclose()

    asyncio.run(main())


def test_closing_ends_what_does_not_exit_by_itself():
    @importable
    class Orphan(Actor):
        def receiveMessage(self, msg, sender):
            if isinstance(msg, ActorExitRequest):
                msg.notRecursive()

    @importable
    class Maker(Orphan):
        def receiveMessage(self, msg, sender):
            if msg == "child":
                self.createActor(Orphan)
            super().receiveMessage(msg, sender)

    async def main():
        base = LoopSystemBase({}, strict=True, loop=asyncio.get_running_loop())
        maker = base.create(Maker)
        base.tell(maker, "child")
        base.tell(maker, ActorExitRequest(recursive=False))
        base.tell(base.create(Echo), "hello")
        await base.aclose(timeout_s=0.05)
        assert len(base.dispatcher) == 0

    asyncio.run(main())


def test_the_sockets_of_the_loop_are_served_while_actors_spin():
    @importable
    class Spinner(Actor):
        def receiveMessage(self, msg, sender):
            if not isinstance(msg, ActorExitRequest):
                self.send(self.myAddress, msg)

    async def main():
        base = LoopSystemBase({}, loop=asyncio.get_running_loop())
        for _ in range(50):
            base.tell(base.create(Spinner), "spin")
        here, there = await asyncio.open_connection(*(await _echo_server()))
        for _ in range(20):
            there.write(b"x")
            assert await asyncio.wait_for(here.readexactly(1), 5) == b"x"
        there.close()
        await base.aclose()

    asyncio.run(main())


def test_a_turn_ends_by_time_though_the_mailbox_is_full(monkeypatch):
    """Every look at the clock finds that a second has passed, as if each message took that long."""
    seconds = itertools.count()
    monkeypatch.setattr("agentcom.runtime.loop.monotonic", lambda: float(next(seconds)))

    async def main():
        base = LoopSystemBase({}, loop=asyncio.get_running_loop(), clock=ManualClock())
        handled = []
        port = base.open_port(lambda msg, _: handled.append(msg))
        echo = base.create(Echo)
        for n in range(16):
            port.send(echo, n)
        await asyncio.sleep(0)
        assert base.figures()[0].depth == 15
        while len(handled) < 16:
            await asyncio.sleep(0)
        await base.aclose()

    asyncio.run(main())


async def _echo_server():
    async def serve(reader, writer):
        while data := await reader.read(1):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server.sockets[0].getsockname()[:2]


def test_the_watchdog_shows_what_blocks_the_loop_and_calls_for_help(system, caplog):
    from threading import Event

    release, hung = Event(), Event()
    watchdog = LoopWatchdog(system.base.loop, warn_s=0.02, hang_s=0.05, on_hang=hung.set)
    watchdog.start()

    @importable
    class Blocks(Actor):
        def receiveMessage(self, msg, sender):
            if msg == "block":
                release.wait(10)

    system.tell(system.create(Blocks), "block")
    assert hung.wait(10)
    release.set()
    system.eventually(lambda: "runs again" in caplog.text)
    watchdog.stop()
    assert watchdog.lag_s > 0
    assert "release.wait(10)" in caplog.text


def test_wakeups_still_come_while_outside_callers_ask(system):
    @importable
    class Alarm(Actor):
        woken = 0

        def receiveMessage(self, msg, sender):
            if isinstance(msg, WakeupMessage):
                self.woken += 1
            elif msg == "set":
                self.wakeupAfter(0.001)
            elif msg == "count":
                self.send(sender, self.woken)

    alarm = system.create(Alarm)
    system.tell(alarm, "set")
    system.eventually(lambda: system.ask(alarm, "count") == 1)
