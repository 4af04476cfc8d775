"""What of this package works on the bases that Thespian ships."""

import os
import socket

import pytest
from thespian.actors import Actor, ActorSystem, WakeupMessage

from agentcom.runtime import BlockingDone, BlockingFailed, TimedOut, monotonic_of, run_blocking

DEADLINE_S = 20
QUIET = {"version": 1, "disable_existing_loggers": False, "root": {"level": "CRITICAL", "handlers": []}}


class Works(Actor):
    """Answers who asked when the work has an outcome; keeps what else arrives."""

    def __init__(self):
        self.asker = None
        self.other = []

    def receiveMessage(self, msg, sender):
        if isinstance(msg, tuple):
            self.asker = sender
            fn, args, deadline_s = msg
            run_blocking(self, fn, *args, token="t", deadline_s=deadline_s)
        elif isinstance(msg, (BlockingDone, BlockingFailed, TimedOut)):
            self.send(self.asker, (msg, sender == self.myAddress))
        elif msg == "other":
            self.send(sender, self.other)
        elif msg == "time":
            self.send(sender, monotonic_of(self))
        elif isinstance(msg, WakeupMessage):
            self.other.append(msg.payload)


def where_am_i():
    return os.getpid()


def not_for_the_post():
    return lambda: None


def wait_for_ever(port):
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.recv(1)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


BASES = ["simpleSystemBase", pytest.param("multiprocTCPBase", marks=pytest.mark.slow)]


@pytest.fixture(params=BASES)
def asys(request):
    other_process = request.param == "multiprocTCPBase"
    capabilities = {"Admin Port": free_port()} if other_process else {}
    log_defs = QUIET if other_process else False  # in this process, logging is pytest's
    asys = ActorSystem(request.param, capabilities, logDefs=log_defs, transientUnique=True)
    yield asys
    asys.shutdown()


def test_blocking_work_comes_back_as_a_message_from_oneself(asys):
    works = asys.createActor(Works)
    (done, from_itself) = asys.ask(works, (where_am_i, (), None), DEADLINE_S)
    assert (done.token, from_itself) == ("t", True)
    assert done.value > 0


def test_work_that_fails_says_how(asys):
    (failed, _) = asys.ask(asys.createActor(Works), (int, ("nine",), None), DEADLINE_S)
    assert (failed.error_type, "nine" in failed.text) == ("ValueError", True)


def test_a_result_that_cannot_be_sent_is_a_failure(asys):
    (failed, _) = asys.ask(asys.createActor(Works), (not_for_the_post, (), None), DEADLINE_S)
    assert "its result cannot be pickled" in failed.text


def test_work_past_its_deadline_is_timed_out(asys):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        work = (wait_for_ever, (silent.getsockname()[1],), 0.01)
        assert asys.ask(asys.createActor(Works), work, DEADLINE_S) == (TimedOut("t"), True)


def test_the_actor_never_sees_how_it_is_done(asys):
    works = asys.createActor(Works)
    asys.ask(works, (where_am_i, (), None), DEADLINE_S)
    assert asys.ask(works, "other", DEADLINE_S) == []


def test_an_actor_s_clock_is_the_machine_s(asys):
    assert asys.ask(asys.createActor(Works), "time", DEADLINE_S) > 0
