"""Alerts over HTTP, by a hub that looks often: they fire, are acknowledged, outlive the hub's death, and are over."""

import asyncio

import pytest

from agentcom.client import AgentSession
from agentcom.session_state import Accepted, Assigned
from tests.conformance.client import DEADLINE_S

RULE = "no_agents_online"
ACKNOWLEDGE = f"/api/alerts/{RULE}/acknowledge"


@pytest.fixture(scope="module")
def settings():
    return {"alerts__check_s": "0.2"}


def found(place):
    status, body = place.http("GET", "/api/alerts", token=place.admin)
    assert status == 200
    return {alert["rule_id"]: alert for alert in body["alerts"]}


async def until(met):
    async with asyncio.timeout(DEADLINE_S):
        while not await asyncio.to_thread(met):
            await asyncio.sleep(0.02)


@pytest.mark.slow
def test_an_alert_fires_is_acknowledged_outlives_the_hub_and_is_over(place, process, play):
    assert (
        place.http("POST", ACKNOWLEDGE, {}, place.admin)[0] == 404
    )  # nobody is missed where nobody could be
    token = place.register("a-gone")

    async def fires_and_outlives():
        await until(lambda: RULE in found(place))
        alert = found(place)[RULE]
        assert set(alert) == {"rule_id", "severity", "message", "details", "fired_at", "acknowledged"}
        assert (alert["severity"], alert["acknowledged"], alert["details"]) == (
            "critical",
            False,
            {"known": 1},
        )
        assert place.http("POST", ACKNOWLEDGE, {}, token)[0] == 403
        for _ in range(2):
            status, body = place.http("POST", ACKNOWLEDGE, {}, place.admin)
            assert (status, body) == (200, {"status": "acknowledged", "rule_id": RULE})
        process.kill()
        process.start()
        await process.serving()
        again = found(place)[RULE]
        assert (again["acknowledged"], again["fired_at"]) == (True, alert["fired_at"])

    async def is_over():
        async with await place.agent("a-gone", token):
            await until(lambda: RULE not in found(place))
            await until(lambda: place.http("GET", "/health")[1]["status"] == "ok")
        await until(lambda: RULE in found(place))
        assert not found(place)[RULE]["acknowledged"]

    play(fires_and_outlives())
    play(is_over())


def test_thresholds_hold_from_the_next_check_on(place, play):
    path = "/api/config/alert-thresholds"

    async def scene():
        strict = {"queue_growing": {"increases": 1, "stable_checks": 1_000, "cooldown_ms": 0}}
        assert place.http("PUT", path, strict, place.admin)[0] == 200
        place.submit(needed_capabilities=["nobody"])
        await until(lambda: place.submit(needed_capabilities=["nobody"]) and "queue_growing" in found(place))
        assert place.http("PUT", path, {"queue_growing": {"stable_checks": 1}}, place.admin)[0] == 200
        await until(lambda: "queue_growing" not in found(place))

    play(scene())


async def asks(session, question):
    """Until its first task is blocked."""
    async for event in session:
        if isinstance(event, Assigned):
            await session.accept(event.assign.task_id, event.assign.generation)
        elif isinstance(event, Accepted):
            await session.block(event.task_id, event.generation, question)
            return


def test_a_question_that_nobody_answers_is_an_alert_from_a_threshold_on_and_until_it_is_answered(place, play):
    rule, path = "unanswered_questions", "/api/config/alert-thresholds"

    async def scene():
        token = await asyncio.to_thread(place.register, "a-asks")
        task_id = place.submit(needed_capabilities=["asking"])
        url = f"http://{place.host}:{place.port}"
        async with AgentSession(url, agent_id="a-asks", token=token, capabilities=["asking"]) as session:
            await asks(session, "which colour?")
            await place.until(task_id, "blocked")
            assert rule not in found(place)
            assert place.http("PUT", path, {rule: {"blocked_ms": 1}}, place.admin)[0] == 200
            await until(lambda: rule in found(place))
            alert = found(place)[rule]
            assert alert["message"] == f"tasks wait for an answer: {task_id}"
            assert alert["message"] in place.http("GET", "/health")[1]["alerts"]
            place.http("POST", f"/api/tasks/{task_id}/answer", {"answer": "blue"}, place.admin)
            await until(lambda: rule not in found(place))
        assert place.http("PUT", path, {}, place.admin)[1][rule]["blocked_ms"] == 900_000

    play(scene())
