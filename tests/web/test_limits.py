"""Limits over real sockets: what is refused, with which code, and that nothing else changed."""

import asyncio

import pytest

from agentcom.config import Config, Limits
from tests.web.test_sockets import HELLO, connect, session

FEW = Limits(
    light_per_min=600, light_burst=30, normal_per_min=60, normal_burst=10, heavy_per_min=60, heavy_burst=5,
    operator_factor=1, max_bad_frames=3,
)  # fmt: skip


async def seq(hub) -> int:
    """Rises with every commit."""
    return (await hub.http.get("/health")).json()["store"]["seq"]


async def admin(hub, method, path, **body):
    return await hub.request(method, f"/api/admin/rate-limits{path}", token="admin-token", json=body or None)


async def submits(hub, count, token="agent-token"):
    return [
        await hub.request("POST", "/api/tasks", token=token, json={"description": "x"}) for _ in range(count)
    ]


def test_a_submit_over_the_rate_is_429_with_the_time_to_wait_and_a_header_before(play):
    async def scene(hub):
        answers = await submits(hub, 7)
        assert [a.status_code for a in answers] == [201] * 5 + [429] * 2
        assert "x-ratelimit-near" not in answers[0].headers
        assert answers[4].headers["x-ratelimit-near"] == "heavy; remaining=0"
        refused = answers[5].json()
        assert refused["error"] == "rate_limited"
        assert 0 < refused["retry_after_ms"] <= 1_000
        assert answers[5].headers["retry-after"] == "1"
        assert (await submits(hub, 1, "operator-token"))[0].status_code == 201

    play(scene, Config(limits=FEW))


def test_frames_over_the_rate_are_refused_by_name_after_one_warning(play):
    async def scene(hub):
        client = await session(hub)
        for n in range(11):
            await client.say(type="task_accept", id=str(n), task_id="t", generation=1)
        said = [await client.hear() for _ in range(12)]
        [warning] = [f for f in said if f["type"] == "rate_limit_warning"]
        assert (warning["tier"], warning["capacity"]) == ("normal", 10)
        assert sorted(f["re"] for f in said if f["type"] == "task_ack") == sorted(str(n) for n in range(10))
        [refused] = [f for f in said if f["type"] == "error"]
        assert (refused["code"], refused["re"], refused["task_id"]) == ("rate_limited", "10", "t")
        await client.say(type="heartbeat", id="beat")
        assert (await client.hear())["re"] == "beat"

    play(scene, Config(limits=FEW))


def test_who_floods_on_is_closed_with_4429_and_has_to_stay_away(play):
    async def scene(hub):
        client = await session(hub)
        for _ in range(400):
            await client.ws.send('{"type":"status","status":"x"}')
        code, frames = await client.end()
        assert code == 4429
        assert frames[-1]["code"] == "rate_limited"
        assert frames[-1]["retry_after_ms"] == 30_000
        again = await connect(hub)
        await again.say(**HELLO)
        code, [told] = await again.end()
        assert (code, told["code"]) == (4429, "rate_limited")
        assert 25_000 < told["retry_after_ms"] <= 30_000

    play(scene, Config(limits=FEW))


def test_a_cool_down_after_bad_frames_is_told_and_only_to_who_has_the_token(play):
    async def scene(hub):
        client = await session(hub)
        for _ in range(4):
            await client.ws.send("{")
        code, frames = await client.end()
        assert (code, frames[-1]["retry_after_ms"]) == (4400, 30_000)
        for token, said in (("agent-token", "rate_limited"), ("wrong", "invalid_token")):
            again = await connect(hub)
            await again.say(**(HELLO | {"token": token}))
            assert (await again.hear())["code"] == said

    play(scene, Config(limits=FEW))


@pytest.mark.parametrize("path", ["/schema", "/schema/openapi.json", "/schema/frames.json", "/dashboard.js"])
def test_what_anybody_may_read_costs_its_reader_too(play, path):
    async def scene(hub):
        stranger = {"x-forwarded-for": "203.0.113.9"}
        answers = [await hub.request("GET", path, token="", headers=stranger) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert answers[0].status_code == 200

    limits = Limits(light_per_min=1, light_burst=30, address_factor=0.1)
    play(scene, Config(limits=limits))


def test_failed_logins_are_limited_by_address_and_a_good_token_still_gets_in(play):
    async def scene(hub):
        before = await seq(hub)
        said = [(await hub.request("GET", "/api/repos", token="wrong")).json()["error"] for _ in range(6)]
        assert said == ["invalid_token"] * 3 + ["rate_limited"] * 3
        client = await connect(hub)
        await client.say(**(HELLO | {"token": "wrong"}))
        assert (await client.hear())["code"] == "rate_limited"
        assert (await hub.request("GET", "/api/repos")).status_code == 200
        await session(hub)
        assert await seq(hub) == before

    play(scene, Config(limits=FEW))


def test_bad_bodies_count_and_lead_to_a_cool_down_of_that_token_only(play):
    async def scene(hub):
        async def post(token):
            answer = await hub.request("POST", "/api/tasks/batch", token=token, json={"tasks": 1})
            return answer.json()["error"]

        before = await seq(hub)
        assert [await post("agent-token") for _ in range(5)] == ["bad_frame"] * 4 + ["rate_limited"]
        assert await post("operator-token") == "bad_frame"
        assert await seq(hub) == before

    play(scene, Config(limits=FEW))


def test_a_rate_set_at_run_time_holds_at_once_and_after_the_gateway_restarts(play):
    async def scene(hub):
        rate = {"capacity": 8, "refill_rate_per_min": 1}
        assert (await admin(hub, "PUT", "/ada", heavy=rate)).status_code == 200
        assert [a.status_code for a in await submits(hub, 9)] == [201] * 8 + [429]
        await hub.root.crash("gateway")
        async with asyncio.timeout(10):
            while (await hub.http.get("/ready")).status_code != 200:
                await asyncio.sleep(0.01)
        shown = (await admin(hub, "GET", "")).json()
        assert shown["overrides"] == {"ada": {"heavy": {"capacity": 8, "refill_rate_per_min": 1.0}}}
        assert shown["defaults"]["agent"]["heavy"]["capacity"] == 5
        assert [a.status_code for a in await submits(hub, 9)] == [201] * 8 + [429]
        assert (await admin(hub, "POST", "/whitelist", agent_id="ada")).status_code == 200
        assert {a.status_code for a in await submits(hub, 12)} == {201}
        assert (await admin(hub, "DELETE", "/whitelist/ada")).status_code == 200
        assert (await admin(hub, "DELETE", "/ada")).status_code == 200
        assert [a.status_code for a in await submits(hub, 6)] == [201] * 5 + [429]
        refused = (await admin(hub, "GET", "")).json()["refused"]
        assert [(one["kind"], one["name"], list(one["retry_after_ms"])) for one in refused] == [
            ("agent", "ada", ["heavy"])
        ]

    play(scene, Config(limits=Limits(heavy_per_min=60, heavy_burst=5)))


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/ada", {"light": {"capacity": 0, "refill_rate_per_min": 1}}, "light.capacity"),
        ("/ada", {"light": {"capacity": 1, "refill_rate_per_min": 0}}, "light.refill_rate_per_min"),
        ("/ada", {"heavy": 5}, "heavy"),
        ("/ada", {"other": {"capacity": 1, "refill_rate_per_min": 1}}, "light"),
        ("/whitelist", {"agent_ids": ["a\nb"]}, "agent_ids[0]"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_by_its_field_and_nothing_is_written(play, path, body, field):
    async def scene(hub):
        before = await seq(hub)
        answer = await admin(hub, "PUT", path, **body)
        assert (answer.status_code, answer.json()["path"]) == (422, field)
        assert await seq(hub) == before

    play(scene)
