"""Too much at once: refused early, told when to come back, and the rest goes on."""

import asyncio

import pytest
import websockets

from agentcom.config import Config, Limits
from agentcom.web.sockets import CROWDED, READ_AT_ONCE, Sockets
from tests.web.test_sockets import connect, session


def test_one_client_with_too_many_waiting_requests_is_refused_and_others_are_not(play):
    async def scene(hub):
        silent = {"description": "silence"}
        waiting = [
            asyncio.ensure_future(hub.request("POST", "/api/tasks", token="agent-token", json=silent))
            for _ in range(3)
        ]
        async with asyncio.timeout(10):
            while len(hub.edge._waiting) < 3:
                await asyncio.sleep(0.001)
        refused = await hub.request("GET", "/api/repos", token="agent-token")
        assert (refused.status_code, refused.json()["error"]) == (503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await hub.request("GET", "/api/repos")).status_code == 200
        await hub.root.crash("gateway")
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {503}
        assert hub.edge._in_work == {}

    play(scene, Config(limits=Limits(max_waiting_per_client=3)))


def test_sessions_over_the_bound_are_refused_before_they_open(play):
    async def scene(hub):
        for _ in range(2):
            await connect(hub)
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(hub)
        assert (refused.value.response.status_code, refused.value.response.headers["retry-after"]) == (
            503,
            "5",
        )

    play(scene, Config(limits=Limits(max_sessions=2)))


def test_sockets_that_wait_for_a_crowded_gateway_are_read_again_some_at_a_time_the_longest_paused_first():
    async def scene():
        depth, read, looks = [CROWDED + 1], [], []

        def mail():
            looks.append(len(read))
            return depth[0]

        sockets = Sockets(None, 1, lambda message: None, mail)
        for n in range(READ_AT_ONCE + 2):
            sockets.once_quiet(lambda n=n: read.append(n))
        async with asyncio.timeout(10):
            while len(looks) < 3:
                await asyncio.sleep(0)
        assert read == []
        depth[0] = 0
        async with asyncio.timeout(10):
            while len(read) < READ_AT_ONCE + 2:
                assert len(read) in (0, READ_AT_ONCE)
                await asyncio.sleep(0)
        assert read == list(range(READ_AT_ONCE + 2))
        sockets.once_quiet(lambda: read.append("again"))
        async with asyncio.timeout(10):
            while read[-1] != "again":
                await asyncio.sleep(0)

    asyncio.run(scene())


def test_a_burst_of_connections_is_served(play):
    async def scene(hub):
        clients = await asyncio.gather(*(connect(hub) for _ in range(60)))
        first = await session(hub)
        await first.say(type="heartbeat", id="2")
        assert (await first.hear())["re"] == "2"
        assert (await hub.http.get("/ready")).status_code == 200
        for client in clients:
            client.ws.transport.abort()

    play(scene)


def test_each_is_told_another_time_to_come_back_when_the_hub_stops(play, monkeypatch):
    async def scene(hub):
        clients = [await connect(hub) for _ in range(20)]
        ending = [asyncio.ensure_future(client.end()) for client in clients]
        await hub.edge.drain(4.0)
        ends = [await each for each in ending]
        assert {code for code, _ in ends} == {1001}
        times = [frames[0]["retry_after_ms"] for _, frames in ends]
        assert len(set(times)) > 10
        assert all(1_000 <= each <= 3_000 for each in times)

    monkeypatch.setattr("agentcom.web.edge.RECONNECTS_PER_S", 10)
    play(scene)
