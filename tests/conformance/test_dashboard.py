"""The older hub's dashboard: its state, its socket and its page, behind a login."""

import asyncio
import json
import re
import urllib.request

import pytest
import websockets

from tests.conformance.client import DEADLINE_S

PAGES = {
    "/dashboard": "text/html",
    "/dashboard.js": "text/javascript",
    "/dashboard.css": "text/css",
    "/sw.js": "text/javascript",
}


class Watcher:
    """A dashboard's socket."""

    def __init__(self, ws):
        self.ws = ws

    async def hear(self, fits):
        """The first frame, or event of one, that fits."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                frame = json.loads(await self.ws.recv())
                for one in frame["data"] if frame["type"] == "events" else [frame]:
                    if fits(one):
                        return one

    async def ask(self, answer, **request):
        await self.ws.send(json.dumps(request))
        return await self.hear(lambda one: one["type"] == answer)

    async def closed(self):
        async with asyncio.timeout(DEADLINE_S):
            await self.ws.wait_closed()
        return self.ws.close_code

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.ws.close()


def login(place):
    """As a browser does it: the cookie."""
    status, headers, _ = place.raw("POST", "/api/login", {"token": place.admin})
    assert status == 200
    return headers["set-cookie"].partition(";")[0]


async def watch(place, cookie=None, **headers):
    given = {**headers, "Cookie": cookie} if cookie else headers
    url = f"ws://{place.host}:{place.port}/ws/dashboard"
    return Watcher(await websockets.connect(url, additional_headers=given))


def is_type(kind, **fields):
    return lambda one: one["type"] == kind and all(one.get(name) == value for name, value in fields.items())


# --- the state -------------------------------------------------------------------------------------


def test_the_state_shows_lanes_tasks_agents_and_alerts(place):
    task_id = place.submit(priority="low", needed_capabilities=["d-nobody"])
    status, state = place.http("GET", "/api/dashboard/state", token=place.admin)
    assert (status, state["status"]) == (200, "degraded" if state["alerts"] else "ok")
    assert state["by_lane"]["low"]["queued"] == state["by_status"]["queued"] == 1
    [line] = state["queued"]
    assert (line["task_id"], line["status"], line["lane"]) == (task_id, "queued", "low")
    place.http("POST", f"/api/tasks/{task_id}/cancel", {}, place.admin)


def test_since_when_it_is_up_does_not_change_when_its_gateway_crashes(place, play):
    def since():
        status, state = place.http("GET", "/api/dashboard/state", token=place.admin)
        return state["timestamp"] - state["uptime_ms"] if status == 200 else None

    async def scene():
        before = since()
        assert place.http("POST", "/api/actors/gateway/crash", {}, place.admin)[0] == 200
        async with asyncio.timeout(DEADLINE_S):
            while (after := await asyncio.to_thread(since)) is None:
                await asyncio.sleep(0.02)
        assert after == before > 0

    play(scene())


def test_only_operators_see_it(place):
    agent = place.register("d-curious")
    for path in ("/api/dashboard/state", "/api/dashboard/events"):
        assert [place.http("GET", path)[0], place.http("GET", path, token=agent)[0]] == [401, 403]


def test_events_go_on_where_the_state_ended(place):
    _, state = place.http("GET", "/api/dashboard/state", token=place.admin)
    task_id = place.submit(needed_capabilities=["d-nobody"])
    path = f"/api/dashboard/events?after={state['seq']}"
    _, told = place.http("GET", path, token=place.admin)
    mine = [event for event in told["events"] if event["task_id"] == task_id]
    assert [(event["type"], event["event"], event["status"]) for event in mine] == [
        ("task_event", "submitted", "queued")
    ]
    assert told["seq"] > state["seq"]
    assert not told["gap"]
    _, again = place.http("GET", f"/api/dashboard/events?after={told['seq']}", token=place.admin)
    assert [event for event in again["events"] if event["task_id"] == task_id] == []


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "99999999999999999999"])
def test_a_place_that_is_none_is_refused(place, after):
    status, body = place.http("GET", f"/api/dashboard/events?after={after}", token=place.admin)
    assert (status, body["errors"][0]["field"]) == (422, "after")


def test_who_comes_from_a_later_time_is_told_of_a_gap(place):
    """Of a hub that was restored, say."""
    _, told = place.http("GET", "/api/dashboard/events?after=9000000000", token=place.admin)
    assert (told["gap"], told["events"]) == (True, [])


# --- the socket ------------------------------------------------------------------------------------


def test_a_snapshot_comes_first_then_what_happens(place, play):
    async def scene():
        async with await watch(place, login(place)) as seen:
            first = await seen.hear(lambda one: True)
            assert (first["type"], first["alerts"]) == ("snapshot", first["data"]["alerts"])
            task_id = await asyncio.to_thread(place.submit, needed_capabilities=["d-work"])
            await seen.hear(is_type("task_event", task_id=task_id, event="submitted"))
            async with await place.agent("d-worker", capabilities=["d-work"]) as agent:
                await seen.hear(is_type("task_event", task_id=task_id, event="assigned", agent_id="d-worker"))
                joined = await seen.hear(is_type("agent_joined"))
                assert joined["agent"]["agent_id"] == "d-worker"
                given = await agent.hear("task_assign")
                await agent.say("task_accepted", task_id=task_id)
                await agent.say("task_complete", task_id=task_id, generation=given["generation"], result={})
                await seen.hear(is_type("task_event", task_id=task_id, event="completed"))
            assert (await seen.hear(is_type("agent_left")))["agent_id"] == "d-worker"
            again = await seen.ask("snapshot", type="request_snapshot")
            assert task_id in [line["task_id"] for line in again["data"]["recent"]]

    play(scene())


def test_a_task_is_retried_and_what_is_not_there_is_told_so(place, play):
    async def scene():
        task_id = await asyncio.to_thread(place.submit, needed_capabilities=["d-fail"], max_attempts=1)
        async with await place.agent("d-failing", capabilities=["d-fail"]) as agent:
            given = await agent.hear("task_assign")
            await agent.say("task_accepted", task_id=task_id)
            await agent.say("task_failed", task_id=task_id, generation=given["generation"], error="no")
            await place.until(task_id, "dead_letter")
        async with await watch(place, login(place)) as seen:
            done = await seen.ask("retry_result", type="retry_task", task_id=task_id)
            assert done["status"] == "requeued"
            done = await seen.ask("retry_result", type="retry_task", task_id="task-none")
            assert done["status"] == "not_found"
            done = await seen.ask("alert_ack_result", type="acknowledge_alert", rule_id="none")
            assert done["status"] == "not_found"

    play(scene())


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ("nonsense", "bad_frame"),
        ("[]", "bad_frame"),
        ('{"type": 5}', "bad_frame"),
        ('{"type": "x"}', "unknown_type"),
    ],
)
def test_a_request_that_is_none_is_answered_and_changes_nothing(place, play, sent, error):
    async def scene():
        async with await watch(place, login(place)) as seen:
            await seen.ws.send(sent)
            assert (await seen.hear(is_type("error")))["error"] == error
            assert (await seen.ask("snapshot", type="request_snapshot"))["data"]

    play(scene())


def test_without_a_login_it_is_closed_and_nothing_is_told(place, play):
    async def scene():
        for cookie in (None, "agentcom_login=stolen"):
            seen = await watch(place, cookie)
            assert await seen.closed() == 4401

    play(scene())


def test_the_end_of_a_login_ends_what_it_opened(place, play):
    async def scene():
        cookie = login(place)
        async with await watch(place, cookie) as seen:
            await seen.hear(is_type("snapshot"))
            csrf = place.http("GET", "/api/login", Cookie=cookie)[1]["csrf"]
            headers = {"Cookie": cookie, "X-CSRF-Token": csrf}
            assert place.http("POST", "/api/logout", {}, **headers)[0] == 200
            assert await seen.closed() == 4401

    play(scene())


def test_a_page_of_another_host_cannot_connect(place, play):
    async def scene():
        with pytest.raises(websockets.InvalidStatus, match="403"):
            await watch(place, login(place), Origin="https://evil.example")
        async with await watch(place, login(place), Origin=f"http://{place.host}:{place.port}") as seen:
            await seen.hear(is_type("snapshot"))

    play(scene())


def test_a_frame_that_is_too_big_ends_it(place, play):
    async def scene():
        async with await watch(place, login(place)) as seen:
            await seen.ws.send("x" * 5_000)
            assert await seen.closed() == 1008

    play(scene())


# --- the page --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "kind"), PAGES.items())
def test_a_page_loads_nothing_from_elsewhere(place, path, kind):
    with urllib.request.urlopen(f"http://{place.host}:{place.port}{path}") as answer:
        text = answer.read().decode()
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert re.findall(r"https?://", text) == []
    assert not re.search(r"innerHTML|<script>|onclick=| style=", text)
