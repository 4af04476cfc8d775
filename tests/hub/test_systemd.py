"""What systemd hears of the hub, by a socket of our own in its place."""

import asyncio
import contextlib
import socket

import pytest

from agentcom.systemd import Notifier

DEADLINE_S = 10.0


@pytest.fixture
def notify_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        bound.settimeout(DEADLINE_S)
        yield bound


def notifier(notify_socket, **environ):
    return Notifier.of({"NOTIFY_SOCKET": notify_socket.getsockname(), **environ}, pid=7)


def test_systemd_hears_when_the_hub_serves_and_when_it_stops(notify_socket):
    ours = notifier(notify_socket)
    ours.ready("http://127.0.0.1:4000")
    ours.stopping()
    assert notify_socket.recv(100) == b"READY=1\nSTATUS=serving on http://127.0.0.1:4000"
    assert notify_socket.recv(100) == b"STOPPING=1\nSTATUS=stopping"


def test_an_abstract_socket_is_reached_as_well():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind("")  # Linux chooses a free abstract name
        bound.settimeout(DEADLINE_S)
        Notifier("@" + bound.getsockname()[1:].decode()).stopping()
        assert bound.recv(100).startswith(b"STOPPING=1")


def test_systemds_watchdog_hears_twice_in_the_time_it_allows(notify_socket):
    assert notifier(notify_socket, WATCHDOG_USEC="30000000").ping_s == 15.0
    assert notifier(notify_socket, WATCHDOG_USEC="30000000", WATCHDOG_PID="7").ping_s == 15.0


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}]
)
def test_a_watchdog_that_is_not_for_this_process_hears_nothing(notify_socket, environ):
    assert notifier(notify_socket, **environ).ping_s == 0


def test_pings_come_only_while_the_loop_answers(notify_socket):
    """Blocked is a loop that is not run: the datagrams are counted before, between and after."""
    loop = asyncio.new_event_loop()
    notifier(notify_socket, WATCHDOG_USEC="2000").ping_from(loop)

    def heard_by_a_running_loop():
        loop.run_until_complete(asyncio.to_thread(notify_socket.recv, 100))

    heard_by_a_running_loop()
    heard_by_a_running_loop()
    heard_by_a_running_loop()
    notify_socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            notify_socket.recv(100)
    notify_socket.settimeout(0.05)
    with pytest.raises(TimeoutError):
        notify_socket.recv(100)
    notify_socket.settimeout(DEADLINE_S)
    heard_by_a_running_loop()
    loop.close()


def test_a_systemd_that_is_gone_ends_nothing(tmp_path):
    Notifier(str(tmp_path / "nobody")).ready("http://127.0.0.1:4000")


def test_without_systemd_nothing_is_sent_and_no_timer_is_set():
    loop = asyncio.new_event_loop()
    Notifier.of({"WATCHDOG_USEC": "2000"}, pid=7).ping_from(loop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert not loop._scheduled
    loop.close()
