"""HTTP through real uvicorn, gateway and supervisors."""

import asyncio
import json
import socket

import msgspec
import pytest

from agentcom.config import Config, Limits
from agentcom.core.messages import HubStopping
from agentcom.protocol.live_views import AgentView
from agentcom.protocol.schema import frames_schema
from agentcom.web import reading
from agentcom.web.server import PortInUse, listen
from tests.web.troupe import task_puts


def test_a_submit_is_answered_by_its_lane_and_a_repeat_by_200(play):
    async def scene(hub):
        task = {"description": "x", "priority": "high", "idempotency_key": "k"}
        first = await hub.request("POST", "/api/tasks", json=task)
        assert (first.status_code, first.json()["task_id"], first.json()["priority"]) == (
            201,
            "lane.high-1",
            1,
        )
        again = await hub.request("POST", "/api/tasks", json=task)
        assert (again.status_code, again.json()["task_id"]) == (200, "lane.high-1")
        header = await hub.request(
            "POST",
            "/api/tasks",
            json={"description": "x", "priority": "high"},
            headers={"Idempotency-Key": "k"},
        )
        assert (header.status_code, header.json()["task_id"]) == (200, "lane.high-1")

    play(scene)


def test_a_batch_is_answered_item_by_item_in_its_own_order(play):
    async def scene(hub):
        tasks = [
            {"description": "a", "priority": "low"},
            {"description": ""},
            {"description": "b", "priority": "urgent"},
            {"description": "full", "priority": "low"},
            {"description": "c", "repo": "nowhere"},
        ]
        answer = await hub.request("POST", "/api/tasks/batch", json={"tasks": tasks})
        entries = answer.json()["tasks"]
        assert answer.status_code == 200
        assert [entry.get("task_id") or entry["error"] for entry in entries] == [
            "lane.low-1",
            "bad_frame",
            "lane.urgent-1",
            "overloaded",
            "bad_frame",
        ]
        assert (entries[1]["path"], entries[4]["path"]) == ("description", "repo")

    play(scene)


WIDE = "\U0001f600" * 61  #: 244 bytes
BAD = [
    (b"{", 400, "bad_json", ""),
    (b"[]", 422, "bad_frame", ""),
    (b"{}", 422, "bad_frame", "description"),
    (b'{"description":""}', 422, "bad_frame", "description"),
    (json.dumps({"description": "x" * 10_001}).encode(), 422, "bad_frame", "description"),
    (b'{"description":" \\n\\t"}', 422, "bad_frame", "description"),
    (b'{"description":5}', 422, "bad_frame", "description"),
    (b'{"description":"x","priority":"asap"}', 422, "bad_frame", "priority"),
    (b'{"description":"x","priority":1}', 422, "bad_frame", "priority"),
    (b'{"description":"x","needed_capabilities":["a",7]}', 422, "bad_frame", "needed_capabilities[1]"),
    (b'{"description":"x","needed_capabilities":["a\\u0000b"]}', 422, "bad_frame", "needed_capabilities[0]"),
    (b'{"description":"x","complete_by":1000}', 422, "bad_frame", "complete_by"),
    (b'{"description":"x","complete_by":99999999999999999999999}', 422, "bad_frame", "complete_by"),
    (b'{"description":"x","complete_by":1700000000000000}', 422, "bad_frame", "complete_by"),
    (b'{"description":"x","not_before":-1}', 422, "bad_frame", "not_before"),
    (b'{"description":"x","not_before":253402300800000}', 422, "bad_frame", "not_before"),
    (b'{"description":"x","base_branch":"--force"}', 422, "bad_frame", "base_branch"),
    (b'{"description":"x","base_branch":"a\\u0000b"}', 422, "bad_frame", "base_branch"),
    (b'{"description":"x","repo":"nowhere"}', 422, "bad_frame", "repo"),
    (b'{"description":"x","repo":"a\\u0000b"}', 422, "bad_frame", "repo"),
    (b'{"description":"x","max_attempts":0}', 422, "bad_frame", "max_attempts"),
    (b'{"description":"x","target":"Not An Id"}', 422, "bad_frame", "target"),
    (b'{"description":"x","target":"ada\\n"}', 422, "bad_frame", "target"),
    (b'{"description":"x","idempotency_key":"a\\u0000"}', 422, "bad_frame", "idempotency_key"),
    (json.dumps({"description": "x", "idempotency_key": WIDE}).encode(), 422, "bad_frame", "idempotency_key"),
    (b'{"description":"x","metadata":{"n":' + b"1" * 40 + b"}}", 422, "bad_frame", "metadata.n"),
    (b'{"description":"x","metadata":{"a":' + b"[" * 40 + b"]" * 40 + b"}}", 422, "bad_frame", "metadata.a"),
    (b'{"description":"x","metadata":{"a":' + b"[" * 9000 + b"]" * 9000 + b"}}", 422, "bad_frame", ""),
    (b'{"description":"\xff"}', 400, "bad_json", ""),
]


def test_every_bad_task_is_refused_with_its_code_and_field_and_changes_nothing(play):
    async def scene(hub):
        for body, status, code, path in BAD:
            answer = await hub.request("POST", "/api/tasks", content=body)
            said = answer.json()
            assert (answer.status_code, said["error"]) == (status, code), body[:80]
            assert said.get("path", "").startswith(path), (body[:80], said)
            assert bool(said.get("path")) == bool(path), (body[:80], said)
        good = await hub.request("POST", "/api/tasks", json={"description": "x"})
        assert good.json()["task_id"] == "lane.normal-1"

    play(scene)


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "code"),
    [
        ("GET", "/api/tasks/t-1", "", 401, "invalid_token"),
        ("GET", "/api/tasks/t-1", "wrong", 401, "invalid_token"),
        ("GET", "/api/tasks/nothing", "operator-token", 404, "not_found"),
        ("GET", "/api/tasks/%00", "operator-token", 404, "not_found"),
        ("GET", "/api/tasks/" + "x" * 600, "operator-token", 404, "not_found"),
        ("GET", "/api/tasks/t-1/events", "agent-token", 403, "forbidden"),
        ("POST", "/api/tasks/t-1/cancel", "agent-token", 403, "forbidden"),
        ("POST", "/api/tasks/nothing/cancel", "operator-token", 404, "not_found"),
        ("GET", "/api/tokens", "operator-token", 403, "forbidden"),
        ("GET", "/api/tasks?limit=x", "operator-token", 422, "bad_frame"),
        ("GET", "/api/tasks?limit=1001", "operator-token", 422, "bad_frame"),
        ("GET", "/api/tasks?status=lost", "operator-token", 422, "bad_frame"),
        ("GET", "/api/tasks?cursor=xxx", "operator-token", 422, "bad_frame"),
        ("GET", "/api/tasks?cursor=%ff", "operator-token", 422, "bad_frame"),
        ("GET", "/api/tasks?submitter=%00", "operator-token", 422, "bad_frame"),
        ("GET", "/api/nothing", "operator-token", 404, "not_found"),
        ("PATCH", "/api/tasks", "operator-token", 405, "not_found"),
        ("GET", "/api/agents/eve/state", "operator-token", 404, "not_found"),
        ("POST", "/api/actors/gateway/crash", "admin-token", 404, "not_found"),
        ("POST", "/api/actors/broken/restart", "admin-token", 503, "unavailable"),
    ],
)
def test_a_request_that_may_not_or_cannot_is_refused_in_one_shape(play, method, path, token, status, code):
    async def scene(hub):
        answer = await hub.request(method, path, token=token)
        assert (answer.status_code, answer.json()["error"]) == (status, code)
        assert answer.json()["message"]
        assert "Traceback" not in answer.text

    play(scene)


@pytest.mark.parametrize(
    ("method", "path", "what", "at"),
    [
        ("GET", "/api/tasks/nope", "task nope", "task_id"),
        ("GET", "/api/tasks/%01", r"task '\x01'", "task_id"),
        ("GET", f"/api/tasks/{'x' * 201}", f"task {'x' * 200}…", "task_id"),
        ("POST", "/api/tasks/nope/cancel", "task nope", "task_id"),
        ("GET", "/api/agents/nope/state", "agent nope", "agent_id"),
        ("POST", "/api/agents/nope/pause", "agent nope", "agent_id"),
        ("POST", "/api/lanes/nope/pause", "lane nope", "lane"),
        ("GET", "/api/channels/nope", "channel nope", "channel"),
        ("POST", "/api/channels/!!/publish", "channel !!", "channel"),
        ("GET", "/api/threads/nope", "message nope", "message_id"),
        ("GET", "/api/pulls/nope", "pull request nope", "pr_id"),
        ("DELETE", "/api/tokens/nope", "token nope", "token_id"),
        ("DELETE", "/api/repos/no/pe", "repo no/pe", "name"),
        ("POST", "/api/alerts/nope/acknowledge", "alert nope", "rule_id"),
        ("GET", "/api/nope", "route /api/nope", None),
    ],
)
def test_what_is_not_there_is_said_in_one_way_with_its_name(play, method, path, what, at):
    async def scene(hub):
        body = {"type": "note", "payload": {}} if path.endswith("publish") else None
        answer = await hub.request(method, path, token="admin-token", json=body)
        told = answer.json()
        assert (answer.status_code, told["error"], told["message"]) == (
            404,
            "not_found",
            f"there is no {what}",
        )
        assert told.get("path") == at

    play(scene)


def test_reads_show_what_rows_say(play):
    async def scene(hub):
        task = (await hub.request("GET", "/api/tasks/t-1", token="agent-token")).json()
        assert (task["task_id"], task["status"], task["priority"], task["lane"]) == (
            "t-1",
            "queued",
            2,
            "normal",
        )
        listed = (await hub.request("GET", "/api/tasks")).json()
        assert (listed["count"], listed["tasks"][0]["description"]) == (1, "do t-1")
        assert (await hub.request("GET", "/api/repos")).json()["repos"][0]["name"] == "demo"
        assert (await hub.request("GET", "/api/tasks/stats")).json()["dead_letter"] == 0
        [ada] = (await hub.request("GET", "/api/agents")).json()["agents"]
        assert (ada["agent_id"], ada["state"], set(ada)) == ("ada", "idle", set(AgentView.__struct_fields__))
        assert (await hub.request("GET", "/api/agents/ada/state")).json()["state"] == "idle"
        health = (await hub.request("GET", "/health", token="")).json()
        assert (health["service"], health["agents_connected"]) == ("agent_com", 0)
        assert health["store"]["sync"] == "interval"
        assert health["status"] == "degraded"
        assert "may lose the last second of acknowledged work" in health["alerts"][0]

    play(scene)


def test_pages_follow_each_other_by_cursor_and_lose_nothing(play):
    async def scene(hub):
        for n in range(7):
            await hub.put(*task_puts(f"t-2{n}"))
        seen, cursor = [], ""
        for _ in range(10):
            page = (await hub.request("GET", f"/api/tasks?limit=3&cursor={cursor}")).json()
            seen += [task["id"] for task in page["tasks"]]
            cursor = page["next_cursor"]
            if not cursor:
                break
        assert seen == ["t-1", *(f"t-2{n}" for n in range(7))]

    play(scene)


def test_an_operators_request_goes_to_the_lane_of_the_row(play):
    async def scene(hub):
        answer = await hub.request("POST", "/api/tasks/t-1/cancel", json={"reason": "no"})
        assert answer.json()["task_id"] == "cancel t-1 by olga"
        assert (await hub.request("POST", "/api/tasks/t-1/retry")).status_code == 200

    play(scene)


def test_the_composition_root_answers_what_was_delegated(play):
    async def scene(hub):
        answer = await hub.request("POST", "/api/actors/lane.high/restart", token="admin-token")
        assert answer.json() == {"status": "actor.restart", "name": "lane.high"}

    play(scene)


def test_a_lane_that_crashes_answers_unavailable_and_the_next_one_serves(play):
    async def scene(hub):
        crashed = await hub.request("POST", "/api/tasks/batch", json={"tasks": [{"description": "crash"}]})
        assert crashed.json()["tasks"][0]["error"] == "unavailable"
        async with asyncio.timeout(10):
            while (await hub.request("POST", "/api/tasks", json={"description": "x"})).status_code != 201:
                await asyncio.sleep(0.01)

    play(scene)


def test_when_the_gateway_goes_every_waiting_request_is_told_and_the_next_gateway_serves(play):
    async def scene(hub):
        waiting = asyncio.ensure_future(hub.request("POST", "/api/tasks", json={"description": "silence"}))
        async with asyncio.timeout(10):
            while not hub.edge._waiting:
                await asyncio.sleep(0.001)
        await hub.root.crash("gateway")
        answer = await waiting
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
        assert answer.json()["retry_after_ms"] > 0
        assert int(answer.headers["retry-after"]) > 0
        async with asyncio.timeout(10):
            while (await hub.http.get("/ready")).status_code != 200:
                await asyncio.sleep(0.01)
        assert (await hub.request("POST", "/api/tasks", json={"description": "x"})).status_code == 201

    play(scene)


def test_a_body_over_the_bound_gets_413(play):
    async def scene(hub):
        for content in (b"x" * 3000, chunks()):
            answer = await hub.request("POST", "/api/tasks", content=content)
            assert (answer.status_code, answer.json()["error"]) == (413, "too_large")

    async def chunks():
        for _ in range(3):
            yield b"x" * 1000

    play(scene, Config(limits=Limits(max_frame_bytes=2048)))


def test_too_many_waiting_requests_get_overloaded(play):
    async def scene(hub):
        waiting = asyncio.ensure_future(hub.request("POST", "/api/tasks", json={"description": "silence"}))
        async with asyncio.timeout(10):
            while not hub.edge._waiting:
                await asyncio.sleep(0.001)
        answer = await hub.request("POST", "/api/tasks", json={"description": "x"})
        assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
        hub.edge.gateway_down()
        assert (await waiting).status_code == 503

    play(scene, Config(limits=Limits(max_waiting_requests=1)))


def test_a_stopping_hub_refuses_submits_and_says_it_is_not_ready(play):
    async def scene(hub):
        hub.edge._tell(HubStopping())
        assert (await hub.http.get("/ready")).status_code == 503
        answer = await hub.request("POST", "/api/tasks", json={"description": "x"})
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
        assert (await hub.request("GET", "/api/tasks/t-1")).status_code == 200

    play(scene)


def test_the_schema_lists_every_route_with_its_body(play):
    async def scene(hub):
        document = (await hub.http.get("/schema")).json()
        submit = document["paths"]["/api/tasks"]["post"]
        assert submit["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("NewTask")
        assert "NewTask" in document["components"]["schemas"]
        assert document["paths"]["/api/tasks/{task_id}/cancel"]["post"]["security"]

    play(scene)


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"127.0.0.1:{port}"):
            listen("127.0.0.1", port)


def test_a_body_that_never_arrives_is_given_up(play, monkeypatch):
    async def scene(hub):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(b"POST /api/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()

    monkeypatch.setattr(reading, "BODY_S", 0.05)
    play(scene)


def test_half_a_body_is_not_taken_for_a_whole_one(play):
    async def scene(hub):
        body = b'{"description":"x"}'
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        head = b"POST /api/tasks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer operator-token\r\n"
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%s\r\n" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(10):
            while len(hub.edge._server.server_state.connections) > 1:
                await asyncio.sleep(0.01)
        whole = await hub.request("POST", "/api/tasks", json={"description": "x"})
        assert whole.json()["task_id"] == "lane.normal-1"

    play(scene)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/tasks", "GET, OPTIONS, POST"),
        ("/api/tasks/batch", "OPTIONS, POST"),
        ("/api/repos/a/b", "DELETE, OPTIONS, PUT"),
        ("/health", "GET, OPTIONS"),
        ("/api/tasks/", "GET, OPTIONS, POST"),
        ("/api/events", "GET, OPTIONS"),
        ("/dashboard", "GET, OPTIONS"),
        ("/schema", "GET, OPTIONS"),
    ],
)
def test_who_asks_for_a_method_that_is_not_there_is_told_which_are(play, path, methods):
    async def scene(hub):
        refused = await hub.request("PATCH", path)
        asked = await hub.request("OPTIONS", path)
        assert (refused.status_code, refused.headers["allow"]) == (405, methods)
        assert refused.json()["message"] == f"this method is not allowed here; allowed are {methods}"
        assert (asked.status_code, asked.headers["allow"]) == (204, methods)

    play(scene)


def test_the_schema_of_the_frames_is_served(play):
    async def scene(hub):
        answer = await hub.request("GET", "/schema/frames.json", token="")
        assert answer.content == msgspec.json.encode(frames_schema())

    play(scene)
