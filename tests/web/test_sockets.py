"""WebSockets through real uvicorn, gateway and supervisors, with the real websockets client."""

import asyncio
import json

import msgspec
import pytest
import websockets
from websockets.frames import Frame, Opcode

from agentcom.config import Compat, Config, Limits
from agentcom.core.messages import FrameIn, Several
from agentcom.web import sockets
from agentcom.web.wire import WebSocketProtocol, frame_head

HELLO = {"type": "hello", "agent_id": "ada", "instance": "i1", "token": "agent-token", "id": "1"}


class Client:
    def __init__(self, ws, codec):
        self.ws, self.codec = ws, codec

    async def say(self, **frame):
        data = json.dumps(frame) if self.codec == "json" else msgspec.msgpack.encode(frame)
        await self.ws.send(data)

    async def hear(self):
        data = await self.ws.recv()
        assert isinstance(data, str if self.codec == "json" else bytes)
        return json.loads(data) if self.codec == "json" else msgspec.msgpack.decode(data)

    async def end(self):
        """The close code, after whatever still comes."""
        frames = []
        try:
            while True:
                frames.append(await self.hear())
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006, frames


async def connect(hub, codec="json", **options):
    options.setdefault("subprotocols", [f"agentcom.v2.{codec}"])
    return Client(await websockets.connect(hub.ws_url, ping_interval=None, **options), codec)


async def session(hub, codec="json", **hello):
    client = await connect(hub, codec)
    await client.say(**(HELLO | hello))
    welcome = await client.hear()
    assert (welcome["type"], welcome["re"]) == ("welcome", "1")
    return client


@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_a_session_says_hello_and_its_frames_reach_its_agent(play, codec):
    async def scene(hub):
        client = await session(hub, codec)
        await client.say(type="heartbeat", id="2", tasks=[{"task_id": "t", "generation": 1}])
        assert await client.hear() == {"type": "heartbeat_ack", "re": "2", "abort": []}
        await client.say(type="task_accept", id="3", task_id="t", generation=1)
        ack = await client.hear()
        assert (ack["type"], ack["re"], ack["status"]) == ("task_ack", "3", "accepted")
        health = (await hub.http.get("/health")).json()
        assert health["agents_connected"] == 1
        await client.say(type="task_submit", id="4", task={"description": "x", "priority": "low"})
        done = await client.hear()
        assert (done["type"], done["re"], done["task_id"]) == ("task_submitted", "4", "lane.low-1")

    play(scene)


def test_the_token_may_come_with_the_upgrade(play):
    async def scene(hub):
        client = await connect(hub, additional_headers={"Authorization": "Bearer agent-token"})
        await client.say(type="hello", agent_id="ada", instance="i1")
        assert (await client.hear())["type"] == "welcome"

    play(scene)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "wrong"}, "invalid_token"),
        ({"token": ""}, "invalid_token"),
        ({"agent_id": "eve"}, "token_agent_mismatch"),
        ({"token": "admin-token"}, "token_agent_mismatch"),
    ],
)
def test_a_hello_that_may_not_is_told_why_and_closed(play, change, code):
    async def scene(hub):
        client = await connect(hub)
        await client.say(**(HELLO | change))
        closed, frames = await client.end()
        assert (closed, [f["code"] for f in frames], frames[0]["re"]) == (4401, [code], "1")

    play(scene)


@pytest.mark.parametrize(
    ("raw", "code", "path"),
    [
        ("{", "bad_json", ""),
        ("[]", "bad_frame", ""),
        ("{}", "bad_frame", "type"),
        ('{"type":"nonsense"}', "unknown_type", "type"),
        ('{"type":"heartbeat","tasks":[{"task_id":5,"generation":1}]}', "bad_frame", "tasks[0].task_id"),
        ('{"type":"task_accept","task_id":"t"}', "bad_frame", "generation"),
        ('{"type":"task_accept","task_id":"a\\u0000b","generation":1}', "bad_frame", "task_id"),
        ('{"type":"task_complete","task_id":"t","generation":1,"result":{"data":{"a":' + "9" * 30 + "}}}",
         "bad_frame", "result.data.a"),
        ('{"type":"task_submit","task":{"description":""}}', "bad_frame", "task.description"),
        ('{"type":"task_submit","task":{"description":"x","complete_by":5}}', "bad_frame", "task.complete_by"),
        ('{"type":"hello","agent_id":"ada","instance":"i"}', "invalid_state", ""),
    ],
)  # fmt: skip
def test_a_bad_frame_is_answered_with_code_and_path_and_the_session_goes_on(play, raw, code, path):
    async def scene(hub):
        client = await session(hub)
        await client.ws.send(raw)
        error = await client.hear()
        assert (error["type"], error["code"], error.get("path", "")) == ("error", code, path)
        await client.say(type="heartbeat", id="9")
        assert (await client.hear())["re"] == "9"

    play(scene)


def test_a_frame_before_hello_is_not_identified(play):
    async def scene(hub):
        client = await connect(hub)
        await client.say(type="heartbeat", id="7")
        error = await client.hear()
        assert (error["code"], error["re"]) == ("not_identified", "7")

    play(scene)


def test_too_many_bad_frames_close_the_session(play):
    async def scene(hub):
        client = await session(hub)
        for _ in range(4):
            await client.ws.send("{")
        assert (await client.end())[0] == 4400

    play(scene, Config(limits=Limits(max_bad_frames=3)))


def test_a_message_in_fragments_without_end_closes_with_1009_however_small_they_are(play):
    async def scene(hub):
        client = await session(hub)
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await client.ws.send("" for _ in range(1_000_000))
        assert closed.value.rcvd.code == 1009
        await session(hub)

    play(scene)


def test_a_frame_over_the_bound_closes_with_1009(play):
    async def scene(hub):
        client = await session(hub)
        await client.ws.send("x" * 5000)
        assert (await client.end())[0] == 1009

    play(scene, Config(limits=Limits(max_frame_bytes=4096)))


def test_a_peer_that_reads_nothing_is_cut_off_and_forgotten(play, monkeypatch):
    async def scene(hub):
        client = await session(hub)
        client.ws.transport.pause_reading()
        for _ in range(40):
            await client.say(type="heartbeat", id="flood")
        connections = hub.edge._server.server_state.connections
        async with asyncio.timeout(20):
            while hub.edge.sockets._all or any(isinstance(c, WebSocketProtocol) for c in connections):
                await asyncio.sleep(0.01)
        assert (await hub.http.get("/health")).json()["agents_connected"] == 0

    monkeypatch.setattr(sockets, "ABORT_S", 0.1)
    play(scene, Config(limits=Limits(max_outbox_bytes=1 << 20)))


def test_a_revoked_token_closes_its_sessions_at_once(play):
    async def scene(hub):
        client = await session(hub)
        tokens = (await hub.request("GET", "/api/tokens", token="admin-token")).json()["tokens"]
        [mine] = [token["token_id"] for token in tokens if token["subject"] == "ada"]
        assert (await hub.request("DELETE", f"/api/tokens/{mine}", token="admin-token")).status_code == 200
        assert (await client.end())[0] == 4403
        again = await connect(hub)
        await again.say(**HELLO)
        assert (await again.end())[0] == 4401

    play(scene)


def test_a_client_without_our_subprotocol_is_told_what_to_offer(play):
    async def scene(hub):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(hub, subprotocols=["agentcom.v3"])
        assert refused.value.response.status_code == 400
        assert b"agentcom.v2.json" in refused.value.response.body
        assert refused.value.response.headers["content-type"] == "application/json"

    play(scene)


def test_without_a_subprotocol_a_client_speaks_protocol_1_unless_that_is_off(play):
    async def served(hub):
        old = await connect(hub, subprotocols=None)
        await old.say(type="identify", agent_id="ada", token="agent-token")
        assert await old.hear() == {"type": "identified", "agent_id": "ada"}

    async def refused(hub):
        with pytest.raises(websockets.InvalidStatus) as error:
            await connect(hub, subprotocols=None)
        assert error.value.response.status_code == 400

    play(served)
    play(refused, Config(compat=Compat(v1=False)))


def test_an_upgrade_that_is_refused_is_no_error_in_the_log(play, caplog):
    async def scene(hub):
        hub.edge.sockets.refuse()
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(hub)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["retry-after"] == "1"

    play(scene)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_crowded_gateway_stops_the_reading_and_loses_nothing(play, monkeypatch):
    async def scene(hub):
        client = await session(hub)
        monkeypatch.setattr(sockets, "CROWDED", -1)
        for n in range(20):
            await client.say(type="heartbeat", id=str(n))
        protocols = [c for c in hub.edge._server.server_state.connections if isinstance(c, WebSocketProtocol)]
        async with asyncio.timeout(10):
            while not protocols[0].read_paused:
                await asyncio.sleep(0.001)
        monkeypatch.setattr(sockets, "CROWDED", 2_000)
        assert [(await client.hear())["re"] for _ in range(20)] == [str(n) for n in range(20)]

    play(scene)


def test_a_message_in_several_frames_arrives_whole(play):
    async def scene(hub):
        client = await session(hub)
        await client.ws.send(['{"type":"heart', 'beat","id":', '"5"}'])
        assert (await client.hear())["re"] == "5"

    play(scene)


def test_text_that_is_no_utf_8_is_answered_as_bad_json(play):
    async def scene(hub):
        client = await session(hub)
        await client.ws.send(b'{"type":"heartbeat","id":"\xff"}', text=True)
        assert (await client.hear())["code"] == "bad_json"

    play(scene)


def test_when_the_gateway_restarts_sessions_get_goodbye_and_1012_and_may_come_again(play):
    async def scene(hub):
        client = await session(hub)
        await hub.root.crash("gateway")
        code, frames = await client.end()
        assert (code, [f["type"] for f in frames]) == (1012, ["goodbye"])
        assert frames[0]["retry_after_ms"] > 0
        async with asyncio.timeout(10):
            while (await hub.http.get("/ready")).status_code != 200:
                await asyncio.sleep(0.01)
        again = await session(hub)
        await again.say(type="heartbeat", id="2")
        assert (await again.hear())["re"] == "2"

    play(scene)


def test_a_draining_edge_says_goodbye_and_closes_with_1001(play):
    async def scene(hub):
        client = await session(hub)
        ending = asyncio.ensure_future(client.end())
        await hub.edge.drain(4.0)
        code, frames = await ending
        assert (code, [f["type"] for f in frames]) == (1001, ["goodbye"])
        assert hub.edge.ended.done()

    play(scene)


class Peer(sockets.Wire):
    """A connection that nobody looks at."""


def test_what_came_in_one_read_is_told_as_one_message_but_for_long_ones():
    told = []
    socket = sockets.Socket("1.1", "json", Peer(), told.append)
    frames = [FrameIn("1.1", str(n).encode()) for n in range(sockets.MOST_AT_ONCE + 3)]
    socket.received(frames[0].data)
    socket.pass_on()
    for frame in frames[1:]:
        socket.received(frame.data)
    socket.pass_on()
    socket.pass_on()
    full = sockets.MOST_AT_ONCE + 1
    assert told == [frames[0], Several(tuple(frames[1:full])), Several(tuple(frames[full:]))]


def test_frames_that_arrive_together_are_answered_in_their_order(play):
    async def scene(hub):
        client = await session(hub)
        for n in range(20):
            client.ws.protocol.send_text(json.dumps({"type": "heartbeat", "id": str(n)}).encode())
        client.ws.transport.write(b"".join(client.ws.protocol.data_to_send()))
        assert [(await client.hear())["re"] for _ in range(20)] == [str(n) for n in range(20)]

    play(scene)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536, 100_000])
@pytest.mark.parametrize("text", [True, False])
def test_a_frame_begins_as_the_protocol_library_would_begin_it(length, text):
    whole = Frame(Opcode.TEXT if text else Opcode.BINARY, b"x" * length).serialize(mask=False)
    assert frame_head(length, text=text) + b"x" * length == whole
