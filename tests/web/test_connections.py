"""HTTP connections are not held open, nor filled, for nothing: who asks too slowly, or too much, is told so."""

import asyncio
import json

import pytest

from agentcom.config import Config, Limits
from agentcom.web.connections import HEAD_S, SETTLED_S, TAKE_S, Connections
from agentcom.web.http import HEAD_BYTES

HELLO = b"GET /api/repos HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin-token\r\n"


class Peer:
    def __init__(self):
        self.end = None

    def refuse(self, status, fault):
        self.end = (status, fault.code)

    def abort(self):
        self.end = "aborted"


class Door:
    """Connections under a clock that stands still until told."""

    def __init__(self, room=100):
        self.now, self.room = 0.0, room
        self.connections = Connections(lambda: self.room, lambda: self.now)

    def peer(self):
        made = Peer()
        assert self.connections.opened(made)
        return made

    def after(self, seconds):
        self.now += seconds
        self.connections.sweep()


@pytest.fixture
def door():
    return Door()


def test_a_connection_that_asks_nothing_is_ended_and_one_whose_head_came_is_not(door):
    silent, asked = door.peer(), door.peer()
    door.connections.asked(asked)
    door.after(HEAD_S - 0.1)
    assert silent.end is None
    door.after(0.2)
    assert (silent.end, asked.end) == ((408, "bad_frame"), None)
    assert len(door.connections) == 1


def test_each_request_has_its_own_time_and_rest_between_two_counts_for_none(door):
    peer = door.peer()
    for _ in range(3):
        door.connections.asked(peer)
        door.connections.rests(peer)
        door.after(HEAD_S * 2)
        door.connections.asks(peer)
        door.after(HEAD_S / 2)
        assert peer.end is None
    door.after(HEAD_S)
    assert peer.end == (408, "bad_frame")


def test_a_peer_that_does_not_take_its_answers_is_cut_off_unless_it_makes_room_in_time(door):
    deaf, slow = door.peer(), door.peer()
    for peer in (deaf, slow):
        door.connections.asked(peer)
        door.connections.full(peer)
    door.after(TAKE_S - 1)
    door.connections.full(deaf)
    door.connections.takes(slow)
    door.connections.full(slow)
    door.after(2)
    assert (deaf.end, slow.end) == ("aborted", None)


def test_without_room_the_longest_silent_goes_then_the_longest_at_rest_and_never_one_in_work():
    door = Door(room=3)
    resting, silent, working = door.peer(), door.peer(), door.peer()
    door.connections.asked(resting)
    door.connections.rests(resting)
    door.connections.asked(working)
    door.now = SETTLED_S
    first = door.peer()
    assert (silent.end, resting.end) == ((503, "overloaded"), None)
    door.connections.asked(first)
    second = door.peer()
    assert resting.end == (503, "overloaded")
    door.connections.asked(second)
    door.now += HEAD_S / 2
    assert not door.connections.opened(Peer())
    assert [peer.end for peer in (working, first, second)] == [None, None, None]
    door.connections.gone(working)
    door.peer()


def test_one_whose_next_request_began_before_its_last_answer_was_given_is_in_work_all_the_same():
    door = Door(room=1)
    peer = door.peer()
    door.connections.asked(peer)
    door.connections.asks(peer)
    door.connections.rests(peer)
    door.connections.asked(peer)
    door.now = HEAD_S
    assert not door.connections.opened(Peer())
    assert peer.end is None


def test_a_burst_makes_no_room_of_those_who_have_only_just_come():
    door = Door(room=2)
    door.peer(), door.peer()
    assert not door.connections.opened(Peer())


# --- on real sockets ------------------------------------------------------------------------------------


async def answer(reader):
    """(status, JSON, whether the connection ended behind it)."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    return int(head.split()[1]), body, "connection: close" in head


async def say(hub, data):
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(data)
    return reader, writer


async def flood(writer, reader, data):
    """Send until the other side ends it."""
    try:
        while not reader.at_eof():
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return


ENDLESS = {
    "headers": (HELLO, b"X-More: and more\r\n" * 200),
    "one header": (HELLO + b"X-More: ", b"and more " * 400),
    "a path": (b"GET /", b"and/more" * 400),
}


@pytest.mark.parametrize("head", ENDLESS)
def test_a_head_that_does_not_end_is_refused_once_it_is_too_long(play, head):
    begun, more = ENDLESS[head]

    async def scene(hub):
        reader, writer = await say(hub, begun)
        flooding = asyncio.create_task(flood(writer, reader, more))
        status, body, ended = await answer(reader)
        assert (status, body["error"], ended) == (431, "too_large", True)
        assert str(HEAD_BYTES) in body["message"]
        await flooding
        assert (await hub.request("GET", "/api/repos")).status_code == 200

    play(scene)


def test_trailers_without_end_behind_a_body_end_the_connection(play):
    async def scene(hub):
        chunked = HELLO.replace(b"GET /api/repos", b"POST /api/tasks") + b"Transfer-Encoding: chunked\r\n\r\n"
        reader, writer = await say(hub, chunked + b"2\r\n{}\r\n0\r\n")
        await flood(writer, reader, b"X-More: and more\r\n" * 200)
        assert (await hub.request("GET", "/api/repos")).status_code == 200

    play(scene)


def test_a_body_in_the_smallest_chunks_is_read_whole(play):
    async def scene(hub):
        body = b'{"description": "' + b"x" * 4_000 + b'"}'
        chunked = HELLO.replace(b"GET /api/repos", b"POST /api/tasks") + b"Transfer-Encoding: chunked\r\n\r\n"
        reader, writer = await say(hub, chunked)
        for byte in body:
            writer.write(b"1\r\n%c\r\n" % byte)
        writer.write(b"0\r\n\r\n")
        assert (await answer(reader))[0] == 201

    play(scene)


def test_many_requests_at_once_on_one_connection_are_all_answered(play):
    async def scene(hub):
        reader, _writer = await say(hub, (HELLO + b"\r\n") * 2_000)
        for _ in range(2_000):
            assert (await answer(reader))[0] == 200

    play(scene)


def test_over_the_bound_a_connection_is_told_when_to_come_back_and_sessions_room_is_used_meanwhile(play):
    async def scene(hub):
        there = len(hub.edge.connections)  # of the test's own client
        holders = [await say(hub, HELLO + b"\r\n") for _ in range(5 - there)]
        for reader, _ in holders:
            assert (await answer(reader))[0] == 200
        reader, _writer = await say(hub, b"")
        status, body, ended = await answer(reader)
        assert (status, body["error"], body["retry_after_ms"], ended) == (503, "overloaded", 1_000, True)
        holders[0][1].close()
        async with asyncio.timeout(10):
            while len(hub.edge.connections) == 5:
                await asyncio.sleep(0.001)
        reader, _writer = await say(hub, HELLO + b"\r\n")
        assert (await answer(reader))[0] == 200

    play(scene, Config(limits=Limits(max_http_connections=4, max_sessions=1)))


def test_a_silent_connection_is_told_and_ended_by_the_edge_itself(play):
    async def scene(hub):
        there = len(hub.edge.connections)
        reader, _writer = await say(hub, b"")
        async with asyncio.timeout(10):
            while len(hub.edge.connections) == there:
                await asyncio.sleep(0.001)
        began = hub.edge.connections._now()
        hub.edge.connections._now = lambda: began + HEAD_S + 1
        status, body, ended = await answer(reader)
        assert (status, body["error"], ended) == (408, "bad_frame", True)
        assert await reader.read() == b""

    play(scene)
