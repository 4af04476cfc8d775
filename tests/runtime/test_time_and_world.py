"""Wakeups, watched files, blocking work."""

import asyncio
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from thespian.actors import (
    Actor,
    ActorExitRequest,
    ActorSystemMessage,
    ThespianWatch,
    WakeupMessage,
    WatchMessage,
)

from agentcom.runtime import BlockingDone, BlockingFailed, LoopSystemBase, ManualClock, TimedOut, run_blocking
from agentcom.runtime.timers import TimerHeap
from tests.runtime.local import importable


class Alarm(Actor):
    """Keeps (payload, period, early) of each wakeup."""

    def __init__(self):
        self.rung = []
        self.due = {}

    def receiveMessage(self, msg, sender):
        if isinstance(msg, WakeupMessage):
            self.rung.append((msg.payload, msg.delayPeriod, time.monotonic() < self.due[msg.payload]))
        elif msg == "rung":
            self.send(sender, self.rung)
        elif isinstance(msg, list):
            for payload, period in msg:
                seconds = period.total_seconds() if isinstance(period, timedelta) else period
                self.due[payload] = time.monotonic() + seconds
                self.wakeupAfter(period, payload)


class Works(Actor):
    """Runs module-level functions elsewhere and keeps the outcomes."""

    def __init__(self):
        self.outcomes = []

    def receiveMessage(self, msg, sender):
        if isinstance(msg, (BlockingDone, BlockingFailed, TimedOut)):
            self.outcomes.append((msg, sender == self.myAddress))
        elif msg == "outcomes":
            self.send(sender, self.outcomes)
        elif isinstance(msg, tuple):
            fn, args, token, deadline_s = msg
            run_blocking(self, fn, *args, token=token, deadline_s=deadline_s)


class Watcher(Actor):
    """Watches a file until it is told to stop; keeps what it read."""

    def __init__(self):
        self.fileno = None
        self.read = []

    def receiveMessage(self, msg, sender):
        if isinstance(msg, int):
            self.fileno = msg
        elif isinstance(msg, WatchMessage):
            self.read += [os.read(fileno, 100) for fileno in msg.ready]
        elif msg == "read":
            self.send(sender, self.read)
        elif msg == "stop":
            self.send(sender, "stopped")
            return None
        if isinstance(msg, ActorSystemMessage) and not isinstance(msg, WatchMessage):
            return None
        return ThespianWatch([self.fileno])


gate = Event()


def wait_for_the_gate(value):
    gate.wait(10)
    return value


def fail(text):
    raise OSError(text)


@pytest.fixture
def closed_gate():
    gate.clear()
    yield gate
    gate.set()


def test_wakeups_carry_period_and_payload_and_are_never_early(system):
    alarm = system.create(Alarm)
    system.tell(alarm, [("a", timedelta(milliseconds=20)), ("b", 0.01), ("c", 0)])
    rung = system.eventually(lambda: len(r := system.ask(alarm, "rung")) == 3 and r)
    assert rung == [("c", 0, False), ("b", 0.01, False), ("a", timedelta(milliseconds=20), False)]


def test_many_wakeups_are_never_early(system):
    alarm = system.create(Alarm)
    system.tell(alarm, [(n, (n * 7 % 40) / 1000) for n in range(400)])
    rung = system.eventually(lambda: len(r := system.ask(alarm, "rung")) == 400 and r)
    assert not any(early for _, _, early in rung)


def test_equal_deadlines_fire_in_the_order_they_were_set():
    heap = TimerHeap(lambda owner: False)
    for n in range(100):
        heap.add(5.0, "owner", print, n)
    assert heap.pop_due(4.999) is None
    assert [heap.pop_due(5.0)[4] for _ in range(100)] == list(range(100))


def test_a_dead_actor_s_timers_are_swept():
    dead = set()
    heap = TimerHeap(lambda owner: owner in dead)
    for n in range(1000):
        heap.add(1e9, "dying", print, n)
    dead.add("dying")
    for n in range(100):
        heap.add(1.0, "living", print, n)
    assert len(heap) < 200
    assert heap.next_due() == 1.0


def test_a_dead_actor_s_wakeups_do_not_become_dead_letters(system):
    alarm = system.create(Alarm)
    system.tell(alarm, [("a", 0.005)])
    system.tell(alarm, ActorExitRequest())
    other = system.create(Alarm)
    system.tell(other, [("b", 0.02)])
    system.eventually(lambda: system.ask(other, "rung"))
    assert system.base.dispatcher.dead_letters == 0


def test_a_manual_clock_moves_only_when_told():
    clock = ManualClock(at=100.0)
    clock.advance(5)
    clock.jump(-50)
    assert (clock.now(), clock.monotonic()) == (55.0, 5.0)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_blocking_work_comes_back_as_a_message_from_oneself(system):
    works = system.create(Works)
    system.tell(works, (max, (3, 5), "t1", None))
    assert system.eventually(lambda: system.ask(works, "outcomes")) == [(BlockingDone("t1", 5), True)]


def test_failed_work_comes_back_with_its_reason(system):
    works = system.create(Works)
    system.tell(works, (fail, ("disk on fire",), 2, 10.0))
    [(failed, own)] = system.eventually(lambda: system.ask(works, "outcomes"))
    assert own
    assert (failed.token, failed.error_type, failed.text) == (2, "OSError", "disk on fire")
    assert "in fail" in failed.traceback


def test_work_past_its_deadline_is_timed_out_once_and_its_thread_reported(system, closed_gate, caplog):
    works = system.create(Works)
    system.tell(works, (wait_for_the_gate, (1,), "slow", 0.01))
    system.eventually(lambda: system.ask(works, "outcomes") == [(TimedOut("slow"), True)])
    assert "has leaked: wait_for_the_gate" in caplog.text
    closed_gate.set()
    system.eventually(lambda: "leaked thread has returned" in caplog.text)
    system.tell(works, (max, (1, 2), "next", None))
    system.eventually(lambda: len(system.ask(works, "outcomes")) == 2)
    assert [type(o) for o, _ in system.ask(works, "outcomes")] == [TimedOut, BlockingDone]


def test_stuck_threads_do_not_keep_others_from_working(system, closed_gate):
    works = system.create(Works)
    for n in range(20):
        system.tell(works, (wait_for_the_gate, (n,), n, 0.01))
    system.eventually(lambda: len(system.ask(works, "outcomes")) == 20)
    system.tell(works, (max, (1, 2), "next", None))
    system.eventually(lambda: system.ask(works, "outcomes")[-1] == (BlockingDone("next", 2), True))


def test_work_that_outlives_its_actor_is_dropped(system, closed_gate):
    works = system.create(Works)
    system.tell(works, (wait_for_the_gate, (1,), "slow", None))
    system.tell(works, ActorExitRequest())
    system.eventually(lambda: system.alive() == 0)
    closed_gate.set()
    after = system.create(Works)
    system.tell(after, (max, (1, 2), "next", None))
    system.eventually(lambda: system.ask(after, "outcomes"))
    assert system.base.dispatcher.dead_letters == 0


def test_blocking_work_may_name_its_executor(system):
    pool = ThreadPoolExecutor(1, thread_name_prefix="mine")

    @importable
    class OnMine(Works):
        def receiveMessage(self, msg, sender):
            if msg == "go":
                run_blocking(self, _thread_name, token=1, executor=pool)
            super().receiveMessage(msg, sender)

    works = system.create(OnMine)
    system.tell(works, "go")
    [(done, _)] = system.eventually(lambda: system.ask(works, "outcomes"))
    assert done.value.startswith("mine")
    pool.shutdown()


def _thread_name():
    from threading import current_thread

    return current_thread().name


def test_a_watched_file_is_read_when_it_is_ready(system):
    ours, theirs = socket.socketpair()
    watcher = system.create(Watcher)
    system.tell(watcher, theirs.fileno())
    for text in (b"one", b"two"):
        before = len(system.ask(watcher, "read"))
        ours.send(text)
        system.eventually(lambda before=before: len(system.ask(watcher, "read")) > before)
    assert system.ask(watcher, "read") == [b"one", b"two"]
    ours.close(), theirs.close()


def test_a_message_handled_without_returning_the_watch_ends_it(system):
    ours, theirs = socket.socketpair()
    watcher = system.create(Watcher)
    system.tell(watcher, theirs.fileno())
    assert system.ask(watcher, "stop") == "stopped"
    ours.send(b"unheard")
    system.ask(system.create(Alarm), "rung")
    theirs.setblocking(False)
    assert theirs.recv(100) == b"unheard"
    ours.close(), theirs.close()


def test_a_dead_actor_s_watch_goes_with_it(system):
    ours, theirs = socket.socketpair()
    watcher = system.create(Watcher)
    system.tell(watcher, theirs.fileno())
    system.ask(watcher, "read")
    system.tell(watcher, ActorExitRequest())
    system.eventually(lambda: system.alive() == 0)
    ours.send(b"unheard")
    system.ask(system.create(Alarm), "rung")
    assert theirs.recv(100) == b"unheard"
    ours.close(), theirs.close()


def test_watching_what_is_no_open_file_is_logged_and_harms_nobody(system, caplog):
    watcher = system.create(Watcher)
    system.tell(watcher, 999_999)
    assert system.ask(watcher, "read") == []
    assert "no open file" in caplog.text
    assert system.ask(system.create(Alarm), "rung") == []


def test_mail_left_after_an_interrupt_on_the_main_thread_is_handled_later():
    @importable
    class Interrupts(Actor):
        def receiveMessage(self, msg, sender):
            if msg == "interrupt":
                raise KeyboardInterrupt
            if not isinstance(msg, ActorSystemMessage):
                got.append(msg)

    got = []
    loop = asyncio.new_event_loop()
    base = LoopSystemBase({}, loop=loop)
    actor = base.create(Interrupts)
    for message in ("before", "interrupt", "after"):
        base.tell(actor, message)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(base.aclose())
    loop.close()
    assert got == ["before", "after"]


def test_closing_a_watched_file_harms_nobody(system):
    @importable
    class Closes(Watcher):
        def receiveMessage(self, msg, sender):
            if msg == "close":
                os.close(self.fileno)
            return super().receiveMessage(msg, sender)

    def watch_and_close():
        here, there = os.pipe()
        os.close(there)
        for message in (here, "close"):  # both in one turn, before the loop polls
            closer.sink.put(message, closer)

    closer = system.create(Closes)
    for _ in range(20):
        system.base.post(watch_and_close)
    assert system.ask(system.create(Alarm), "rung") == []


def test_a_number_used_again_watches_the_new_file(system):
    @importable
    class Reopens(Watcher):
        def receiveMessage(self, msg, sender):
            if msg == "reopen":
                here, there = os.pipe()
                os.dup2(here, self.fileno)
                os.write(there, b"new file")
                os.close(here), os.close(there)
            return super().receiveMessage(msg, sender)

    here, there = os.pipe()
    watcher = system.create(Reopens)
    system.tell(watcher, here)
    system.tell(watcher, "reopen")
    assert system.eventually(lambda: system.ask(watcher, "read"))[0] == b"new file"
    assert system.ask(watcher, "stop") == "stopped"
    os.close(here), os.close(there)
