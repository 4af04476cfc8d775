"""Pauses and drains over HTTP: who may, what is answered, and where it shows."""

import asyncio

import pytest

from tests.web.troupe import DEADLINE_S

PAUSES = [
    "/api/lanes/high/pause",
    "/api/lanes/high/resume",
    "/api/agents/eve/pause",
    "/api/agents/eve/resume",
    "/api/agents/eve/drain",
    "/api/drain",
    "/api/resume",
]


async def post(hub, path, token="operator-token"):
    return await hub.request("POST", path, token=token)


@pytest.mark.parametrize("path", PAUSES)
def test_operators_may_and_nobody_else_and_the_same_again_is_fine(play, path):
    async def scene(hub):
        made = await hub.request("POST", "/api/onboard/register", token="", json={"agent_id": "eve"})
        assert (await post(hub, path, token="")).status_code == 401
        assert (await post(hub, path, token=made.json()["token"])).status_code == 403
        answers = [await post(hub, path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()

    play(scene)


@pytest.mark.parametrize("path", ["/api/lanes/{}/pause", "/api/lanes/{}/resume"])
@pytest.mark.parametrize("lane", ["middle", "HIGH", "1", "hub", "%00", "a%2Fb", "x" * 600])
def test_a_lane_that_does_not_exist_is_not_found(play, path, lane):
    async def scene(hub):
        refused = await post(hub, path.format(lane))
        assert (refused.status_code, refused.json()["error"]) == (404, "not_found")

    play(scene)


@pytest.mark.parametrize("verb", ["pause", "resume", "drain"])
@pytest.mark.parametrize("agent_id", ["nobody", "%00", "a%2Fb", "%2E%2E", "x" * 600, "%F0%9F%98%80"])
def test_an_agent_that_is_not_known_is_not_found(play, verb, agent_id):
    async def scene(hub):
        refused = await post(hub, f"/api/agents/{agent_id}/{verb}")
        assert (refused.status_code, refused.json()["error"]) == (404, "not_found")

    play(scene)


def test_a_pause_shows_in_health_in_the_figures_at_the_task_and_in_the_audit(play):
    async def scene(hub):
        await post(hub, "/api/lanes/normal/pause")
        health = (await hub.request("GET", "/health")).json()
        assert (health["status"], health["parts"]["pauses"]["lanes"]) == ("degraded", ["normal"])
        assert "lane normal hands out no task: agentcom-admin resume lane normal" in health["alerts"]
        stats = (await hub.request("GET", "/api/tasks/stats")).json()
        assert (stats["paused"], stats["drained"]) == (["normal"], False)
        assert (await hub.request("GET", "/api/tasks/t-1")).json()["waiting"] == "lane normal is paused"
        await post(hub, "/api/drain")
        stats = (await hub.request("GET", "/api/tasks/stats")).json()
        assert (stats["paused"], stats["drained"]) == (["urgent", "high", "normal", "low"], True)
        for path in ("/api/resume", "/api/lanes/normal/resume"):
            await post(hub, path)
        health = (await hub.request("GET", "/health")).json()
        assert "pauses" not in health["parts"]
        assert not any("hands out no task" in alert for alert in health["alerts"])
        assert (await hub.request("GET", "/api/tasks/t-1")).json()["waiting"] == ""
        audit = (await hub.request("GET", "/api/audit", token="admin-token")).json()["records"]
        acts = [(line["act"], line["target"], line["by"]) for line in audit]
        assert ("lane.pause", "normal", "olga") in acts
        assert ("hub.drain", "", "olga") in acts

    play(scene)


async def shows_a_drained_hub(hub):
    health = await hub.request("GET", "/health")
    parts = health.json()["parts"] if health.status_code == 200 else {}
    return bool(parts.get("pauses", {}).get("hub"))


def test_a_gateway_that_starts_again_knows_what_is_paused(play):
    async def scene(hub):
        await post(hub, "/api/drain")
        await hub.root.crash("gateway")
        async with asyncio.timeout(DEADLINE_S):
            while not await shows_a_drained_hub(hub):
                await asyncio.sleep(0.01)

    play(scene)
