"""GET /api/events by the real edge: who may, how it ends, and who reads slowly."""

import asyncio
import contextlib
import json
import socket

import pytest

from agentcom.protocol.ops import Put
from agentcom.protocol.rows import Event
from agentcom.protocol.tokens import token_hash
from agentcom.web import streams
from agentcom.web.streams import Streams

DEADLINE_S = 10.0
LARGE = 400
"""Events of 20 kB: more than the kernel keeps for a connection that nobody reads."""


class Reader:
    """One stream over a plain socket; reads only when it is told to."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.head = self.rest = b""
        self.whole = False  #: the answer ended as HTTP wants it

    async def line(self):
        """None at the end."""
        async with asyncio.timeout(DEADLINE_S):
            while b"\n" not in self.rest:
                size = int((await self.reader.readline()) or b"0", 16)
                self.rest += await self.reader.readexactly(size)
                await self.reader.readline()
                if not size:
                    self.whole = True
                    return None
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode()

    async def event(self):
        """The next one that has a name: its fields, with `data` as an object. None at the end."""
        fields = {}
        while (line := await self.line()) is not None:
            if not line and "event" in fields:
                return fields | {"data": json.loads(fields["data"])}
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
        return None

    async def ended(self):
        async with asyncio.timeout(DEADLINE_S):
            with contextlib.suppress(ConnectionError):
                await self.reader.read()


async def connect(hub, query="", *, token="operator-token", window=None, **headers):
    raw = socket.socket()
    if window:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", hub.port))
    given = {"Host": "hub", "Authorization": f"Bearer {token}", **headers}
    lines = [f"GET /api/events{query} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    made = Reader(*await asyncio.open_connection(sock=raw, limit=1 << 16))
    made.writer.write("\r\n".join([*lines, "", ""]).encode())
    return made


async def opened(hub, query="", **more):
    """One that was accepted, and whose head was read."""
    made = await connect(hub, query, **more)
    async with asyncio.timeout(DEADLINE_S):
        made.head = await made.reader.readuntil(b"\r\n\r\n")
    assert made.head.startswith(b"HTTP/1.1 200 ")
    return made


async def until(holds):
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.005)


def told(n, text="why"):
    return Put("history", ("t-1", n), Event(n, "lost", "queued", 1, reason=text))


async def stuck(hub):
    """A stream whose reader stopped reading in the middle of it."""
    for n in range(0, LARGE, 50):
        await hub.put(*(told(m, "x" * 20_000) for m in range(n, n + 50)))
    reader = await opened(hub, "?after=0", window=4096)
    await until(lambda: len(hub.edge.streams) == 1)
    return reader


# --- who may ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "status"), [("agent-token", 403), ("", 401), ("stolen", 401)])
def test_only_operators_and_administrators_may_listen(play, token, status):
    async def scene(hub):
        answer = await hub.request("GET", "/api/events", token=token)
        assert answer.status_code == status
        assert answer.json()["error"] in ("forbidden", "invalid_token")

    play(scene)


@pytest.mark.parametrize("after", ["-1", "x", "", "1.", "1.0", "0.1", "1.2.3", "01", "99999999999999999999"])
def test_a_place_that_is_none_is_refused(play, after):
    async def scene(hub):
        for query, headers in ((f"?after={after}", {}), ("", {"Last-Event-ID": after or "x"})):
            answer = await hub.request("GET", f"/api/events{query}", headers=headers)
            assert (answer.status_code, answer.json()["path"]) == (422, "after")

    play(scene)


def test_other_methods_are_told_which_one_there_is(play):
    async def scene(hub):
        for path in ("/api/events", "/metrics"):
            answer = await hub.request("OPTIONS", path)
            assert (answer.status_code, answer.headers["allow"]) == (204, "GET, OPTIONS")
        schema = (await hub.request("GET", "/schema")).json()
        assert not {"/api/events", "/metrics", "/dashboard"} & set(schema["paths"])

    play(scene)


# --- what is told ----------------------------------------------------------------------------------


def test_what_changes_is_told_as_it_changes(play):
    async def scene(hub):
        reader = await opened(hub)
        assert b"\r\ncontent-type: text/event-stream\r\n" in reader.head
        await until(lambda: len(hub.edge.streams) == 1)
        await hub.put(told(0), told(1))
        first, second = await reader.event(), await reader.event()
        assert (first["event"], first["data"]["task_id"], first["data"]["event"]) == (
            "task_event",
            "t-1",
            "lost",
        )
        assert first["id"] == f"{second['id']}.1"
        assert first["retry"] == "1000"

    play(scene)


def test_a_reader_goes_on_behind_the_last_id_it_had_whatever_the_url_says(play):
    async def scene(hub):
        await hub.put(told(0), told(1), told(2))
        whole = await opened(hub, "?after=0")
        ids = [(await whole.event())["id"] for _ in range(5)]
        for query, headers in ((f"?after={ids[2]}", {}), ("?after=0", {"Last-Event-ID": ids[2]})):
            again = await opened(hub, query, **headers)
            assert [(await again.event())["id"] for _ in range(2)] == ids[3:]

    play(scene)


def test_a_gap_is_told_in_its_place(play):
    async def scene(hub):
        reader = await opened(hub, "?after=9000")
        event = await reader.event()
        assert (event["event"], event["data"]["after"]) == ("gap", "9000")
        await hub.put(told(0))
        assert (await reader.event())["data"]["type"] == "task_event"

    play(scene)


def test_a_silent_stream_says_that_it_is_there_and_where_it_is(play):
    async def scene(hub):
        hub.edge.streams = Streams(keep_alive_s=0.01)
        reader = await opened(hub)
        assert await reader.line() == "retry: 1000"
        place = await reader.line()
        assert place.startswith("id: ")
        assert [await reader.line() for _ in range(3)] == ["", ": here", place]

    play(scene)


def test_a_stream_outlives_a_gateway_that_crashes(play, monkeypatch):
    monkeypatch.setattr(streams, "AWAY_S", 0.01)

    async def scene(hub):
        reader = await opened(hub)
        await hub.root.crash("gateway")
        await hub.put(told(0))
        assert (await reader.event())["data"]["task_id"] == "t-1"

    play(scene)


# --- how it ends -----------------------------------------------------------------------------------


def test_a_revoked_token_ends_its_stream_with_an_error_and_no_other(play):
    async def scene(hub):
        mine, other = await opened(hub), await opened(hub, token="admin-token")
        token_id = token_hash("operator-token")[:16]
        done = await hub.request("DELETE", f"/api/tokens/{token_id}", token="admin-token")
        assert done.status_code == 200
        event = await mine.event()
        while event["event"] == "token_event":  # it may have been told of its own end
            event = await mine.event()
        assert (event["event"], event["data"]["error"]) == ("error", "invalid_token")
        assert await mine.event() is None
        assert mine.whole
        assert (await other.event())["data"]["status"] == "revoked"

    play(scene)


def test_one_that_goes_away_is_forgotten(play):
    async def scene(hub):
        reader = await opened(hub)
        await until(lambda: len(hub.edge.streams) == 1)
        reader.writer.close()
        await until(lambda: len(hub.edge.streams) == 0)

    play(scene)


def test_more_streams_than_the_bound_are_refused(play, monkeypatch):
    monkeypatch.setattr(streams, "MOST", 1)

    async def scene(hub):
        first = await opened(hub)
        await until(lambda: len(hub.edge.streams) == 1)
        refused = await hub.request("GET", "/api/events")
        assert (refused.status_code, refused.json()["error"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        first.writer.close()

    play(scene)


def test_who_does_not_read_holds_nobody_up_and_is_cut_off(play):
    async def scene(hub):
        hub.edge.streams = Streams(slow_s=1.0)
        slow = await stuck(hub)
        other = await opened(hub, "?after=0")
        ids = [(await other.event())["id"] for _ in range(LARGE)]
        assert len(set(ids)) == LARGE
        other.writer.close()
        await until(lambda: len(hub.edge.streams) == 0)
        await slow.ended()
        assert (await hub.request("GET", "/health")).status_code == 200

    play(scene)


def test_a_hub_that_stops_ends_its_streams_also_those_that_nobody_reads(play):
    async def scene(hub):
        reads_not, reads = await stuck(hub), await opened(hub)
        await until(lambda: len(hub.edge.streams) == 2)
        server = hub.edge._server
        await hub.edge.drain()
        assert len(hub.edge.streams) == 0
        assert not server.server_state.connections
        assert not server.server_state.tasks
        await reads.ended()
        await reads_not.ended()

    play(scene)


def test_a_hub_that_stops_opens_no_more(play):
    async def scene(hub):
        await hub.edge.streams.end()
        refused = await hub.request("GET", "/api/events")
        assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")

    play(scene)


def test_a_login_may_listen_by_its_cookie(play):
    async def scene(hub):
        done = await hub.request("POST", "/api/login", token="", json={"token": "operator-token"})
        cookie = done.headers["set-cookie"].partition(";")[0]
        answer = await opened(hub, token="", Authorization="", Cookie=cookie)
        assert answer.head.startswith(b"HTTP/1.1 200 ")

    play(scene)
