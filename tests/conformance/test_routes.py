"""Protocol 1's HTTP routes, one by one, by raw HTTP: shapes, statuses, who may."""

import asyncio
import hashlib

import msgspec
import pytest

from agentcom.core.routes import ROUTES


@pytest.fixture(scope="module")
def settings():
    return {"limits__max_bad_frames": "100000"}  # one agent tries all that is bad


@pytest.fixture(scope="module")
def token(place):
    return place.register("r-agent")


def keys(body):
    return set(body)


# --- public ----------------------------------------------------------------------------------------


def test_health_needs_no_token(place):
    status, body = place.http("GET", "/health")
    assert (status, body["status"], body["service"]) == (200, "ok", "agent_com")
    assert isinstance(body["agents_connected"], int)


def test_schemas_tell_what_frames_and_bodies_need(place):
    status, body = place.http("GET", "/api/schemas")
    assert (status, body["version"]) == (200, "1.0")
    assert keys(body["schemas"]) == {"websocket", "http", "version"}
    identify = body["schemas"]["websocket"]["identify"]
    assert identify["required"] == {"agent_id": "string", "token": "string"}
    assert identify["optional"]["capabilities"] == "array"
    complete = body["schemas"]["websocket"]["task_complete"]
    assert complete["required"] == {"task_id": "string", "generation": "integer"}
    assert complete["optional"]["result"] == "object"
    assert body["schemas"]["http"]["post_task"]["required"] == {"description": "string"}
    assert body["schemas"]["http"]["post_mailbox_ack"]["required"] == {"seq": "integer"}
    assert keys(body["schemas"]["http"]) >= {
        "post_message", "post_channel", "post_channel_publish", "post_onboard_register",
    }  # fmt: skip


def test_registering_gives_a_token_and_addresses_and_a_name_only_once(place):
    status, body = place.http("POST", "/api/onboard/register", {"agent_id": "r-new"})
    assert status == 201
    assert keys(body) == {"agent_id", "token", "hub_ws_url", "hub_api_url", "default_repo"}
    assert body["hub_ws_url"] == f"ws://127.0.0.1:{place.port}/ws"
    assert body["hub_api_url"] == f"http://127.0.0.1:{place.port}"
    status, body = place.http("POST", "/api/onboard/register", {"agent_id": "r-new"})
    assert (status, body["error"]) == (409, "conflict")
    for bad in ({}, {"agent_id": ""}, {"agent_id": 5}):
        status, body = place.http("POST", "/api/onboard/register", bad)
        assert (status, body["errors"][0]["field"]) == (422, "agent_id")


def test_push_routes_are_not_there(place, token):
    for method, path in (
        ("GET", "/api/dashboard/vapid-key"),
        ("POST", "/api/dashboard/push-subscribe"),
    ):
        status, body = place.http(method, path, {} if method == "POST" else None, token)
        assert (status, body["error"]) == (404, "not_found")


# --- agents ----------------------------------------------------------------------------------------


def test_agents_and_their_states(place, play, token):
    async def scene():
        async with await place.agent("r-shown", capabilities=["c-shown"], name="Shown", status="s") as old:
            status, body = place.http("GET", "/api/agents", token=token)
            [me] = [a for a in body["agents"] if a["agent_id"] == "r-shown"]
            assert status == 200
            assert me["connected_at"] > 1_600_000_000_000
            shown = {k: me[k] for k in ("agent_id", "name", "status", "capabilities", "fsm_state")}
            assert shown == {
                "agent_id": "r-shown", "name": "Shown", "status": "s", "capabilities": ["c-shown"], "fsm_state": "idle",
            }  # fmt: skip

            task_id = place.submit(needed_capabilities=["c-shown"])
            await old.hear("task_assign")
            await old.ask("task_accepted", task_id=task_id)
            async with asyncio.timeout(10):
                while True:
                    status, state = place.http("GET", "/api/agents/r-shown/state", token=token)
                    if state["fsm_state"] == "working":
                        break
                    await asyncio.sleep(0.02)
            assert (status, state["current_task_id"], state["flags"]) == (200, task_id, [])
            assert state["capabilities"] == [{"name": "c-shown"}]
            assert state["last_state_change"] >= state["connected_at"]
            _, states = place.http("GET", "/api/agents/states", token=token)
            assert "r-shown" in [a["agent_id"] for a in states["agents"]]
        async with asyncio.timeout(10):
            while place.http("GET", "/api/agents/r-shown/state", token=token)[0] != 404:
                await asyncio.sleep(0.02)
        _, body = place.http("GET", "/api/agents", token=token)
        assert "r-shown" not in [a["agent_id"] for a in body["agents"]]

    play(scene())


def test_an_agent_that_is_not_there_has_no_state(place, token):
    status, body = place.http("GET", "/api/agents/r-nobody/state", token=token)
    assert (status, body["error"]) == (404, "not_found")


# --- tasks -----------------------------------------------------------------------------------------

OLD_FIELDS = {
    "id", "description", "priority", "status", "assigned_to", "assigned_at", "generation", "retry_count", "max_retries",
    "complete_by", "needed_capabilities", "metadata", "result", "tokens_used", "last_error", "submitted_by",
    "created_at", "updated_at", "history",
}  # fmt: skip


def test_a_task_is_submitted_and_shown_with_the_old_fields(place, token):
    given = {"description": "d", "priority": "urgent", "metadata": {"a": 1}, "max_retries": 0,
             "needed_capabilities": ["r-nobody-has-this"]}  # fmt: skip
    status, body = place.http("POST", "/api/tasks", given, token)
    assert status == 201
    assert keys(body) >= {"status", "task_id", "priority", "created_at"}
    assert (body["status"], body["priority"]) == ("queued", 0)
    status, task = place.http("GET", f"/api/tasks/{body['task_id']}", token=token)
    assert status == 200
    assert keys(task) >= OLD_FIELDS
    expected = {"id": body["task_id"], "status": "queued", "priority": 0, "assigned_to": None, "assigned_at": None,
                "generation": 0, "retry_count": 0, "max_retries": 1, "complete_by": None, "result": None,
                "last_error": None, "submitted_by": "r-agent", "metadata": {"a": 1}}  # fmt: skip
    assert {k: task[k] for k in expected} == expected
    [first] = task["history"]
    assert first["ts"] == task["created_at"]
    assert keys(first) >= {"event", "ts", "details"}


@pytest.mark.parametrize(
    ("body", "field", "kind"),
    [
        ({}, "description", "required"),
        ({"description": 5}, "description", "wrong_type"),
        ({"description": "x" * 10_001}, "description", "too_long"),
        ({"description": "x", "max_retries": "3"}, "max_retries", "wrong_type"),
        ({"description": "x", "needed_capabilities": [5]}, "needed_capabilities[0]", "wrong_type"),
        ({"description": "x", "metadata": []}, "metadata", "wrong_type"),
        ({"description": "x", "complete_by": 5}, "complete_by", "wrong_type"),
        ({"description": "x", "priority": "whenever"}, "priority", "wrong_type"),
    ],
)
def test_a_bad_task_is_refused_and_its_field_named(place, token, body, field, kind):
    before = place.http("GET", "/api/tasks/stats", token=token)
    status, answer = place.http("POST", "/api/tasks", body, token)
    assert (status, answer["path"]) == (422, field)
    [error] = answer["errors"]
    assert (error["field"], error["error"]) == (field, kind)
    assert error["detail"]
    assert place.http("GET", "/api/tasks/stats", token=token) == before


def test_a_body_that_is_no_json_is_refused(place, token):
    status, body = place.http("POST", "/api/tasks", b"{nope", token)
    assert (status, body["error"]) == (400, "bad_json")


def test_lists_filter_by_status_priority_and_holder(place, play, token):
    async def scene():
        async with await place.agent("r-list", capabilities=["c-list"]) as old:
            held = place.submit(needed_capabilities=["c-list"], priority="high")
            await old.hear("task_assign")
            await old.ask("task_accepted", task_id=held)
            waiting = place.submit(needed_capabilities=["c-list"], priority="low")

            def ids(query):
                status, body = place.http("GET", f"/api/tasks?{query}", token=token)
                assert status == 200
                assert body["count"] == len(body["tasks"])
                return [t["id"] for t in body["tasks"]]

            assert held in ids("status=assigned")
            assert waiting in ids("status=queued")
            assert held not in ids("status=queued")
            assert ids("assigned_to=r-list") == [held]
            for high, low in (("high", "low"), ("1", "3")):
                assert held in ids(f"priority={high}")
                assert waiting in ids(f"priority={low}")
                assert waiting not in ids(f"priority={high}")
            [task] = place.http("GET", "/api/tasks?assigned_to=r-list", token=token)[1]["tasks"]
            assert (task["status"], task["phase"], task["assigned_to"]) == ("assigned", "working", "r-list")
            assert task["assigned_at"] >= task["created_at"]

    play(scene())


@pytest.mark.parametrize(
    "query",
    ["status=nonsense", "priority=9", "limit=x", "limit=0", "cursor=%00", "assigned_to=%01", "status=%ff"],
)
def test_a_bad_query_is_422_and_never_500(place, token, query):
    status, body = place.http("GET", f"/api/tasks?{query}", token=token)
    assert (status, body["error"]) == (422, "bad_frame")


def test_a_dead_letter_is_listed_counted_and_retried(place, play, token):
    async def scene():
        async with await place.agent("r-dead", capabilities=["c-dead"]) as old:
            task_id = place.submit(needed_capabilities=["c-dead"], max_retries=1)
            frame = await old.hear("task_assign")
            report = {"task_id": task_id, "generation": frame["generation"], "reason": "no"}
            assert (await old.ask("task_failed", **report))["status"] == "dead_letter"
        status, body = place.http("GET", "/api/tasks/dead-letter", token=token)
        assert status == 200
        assert task_id in [t["id"] for t in body["tasks"]]
        assert body["count"] == len(body["tasks"])
        _, stats = place.http("GET", "/api/tasks/stats", token=token)
        assert keys(stats) == {"by_status", "by_priority", "dead_letter", "queued_index_size"}
        assert keys(stats["by_status"]) == {"queued", "assigned", "completed", "dead_letter"}
        assert stats["dead_letter"] >= 1
        assert place.http("POST", "/api/tasks/task-unknown/retry", {}, place.admin)[0] == 404
        status, body = place.http("POST", f"/api/tasks/{task_id}/retry", {}, place.admin)
        assert (status, body["status"]) == (200, "queued")
        task = place.task(task_id, token)
        assert (task["status"], task["retry_count"]) == ("queued", 0)

    play(scene())


def test_an_unknown_task_is_404(place, token):
    assert place.http("GET", "/api/tasks/task-unknown", token=token)[0] == 404


def test_a_pushed_task_reaches_its_agent_and_its_completion_counts(place, play):
    async def scene():
        push = {"agent_id": "r-pushed", "description": "now", "metadata": {"m": 1}}
        status, body = place.http("POST", "/api/admin/push-task", push, place.admin)
        assert (status, body["error"]) == (404, "not_found")
        async with await place.agent("r-pushed") as old:
            status, body = place.http("POST", "/api/admin/push-task", push, place.admin)
            assert (status, body["status"]) == (200, "pushed")
            frame = await old.hear("task_assign")
            assert (frame["task_id"], frame["metadata"]) == (body["task_id"], {"m": 1})
            done = {"task_id": frame["task_id"], "generation": frame["generation"]}
            assert (await old.ask("task_complete", **done))["status"] == "complete"

    play(scene())
    assert place.http("POST", "/api/admin/push-task", {"agent_id": "a"}, place.admin)[0] == 422


# --- tokens ----------------------------------------------------------------------------------------


def test_tokens_are_made_listed_and_revoked_by_agent(place, play):
    async def scene():
        status, made = place.http("POST", "/admin/tokens", {"agent_id": "r-token"}, place.admin)
        assert status == 201
        assert keys(made) == {"agent_id", "token"}
        _, second = place.http("POST", "/admin/tokens", {"agent_id": "r-token"}, place.admin)
        assert second["token"] != made["token"]
        status, body = place.http("GET", "/admin/tokens", token=place.admin)
        mine = [t for t in body if t["agent_id"] == "r-token"]
        assert [len(t["token_prefix"]) for t in mine] == [8, 8]
        assert made["token"] not in str(body)
        old = await place.agent("r-token", made["token"])
        status, body = place.http("DELETE", "/admin/tokens/r-token", token=place.admin)
        assert (status, body["status"], body["count"]) == (200, "revoked", 2)
        code, _, _ = await old.closed()
        assert code == 1008
        for secret in (made["token"], second["token"]):
            assert place.http("GET", "/api/agents", token=secret)[0] == 401

    play(scene())


def test_identities_of_an_older_hub_are_taken_over_by_their_hashes(place, play):
    async def scene():
        secret = "0123456789abcdef" * 4
        entry = {"agent_id": "GCU-Old", "token_hash": hashlib.sha256(secret.encode()).hexdigest()}
        other = {**entry, "agent_id": "r-thief"}
        body = {"tokens": [entry, entry, other]}
        status, answer = place.http("POST", "/api/tokens/import", body, place.admin)
        assert (status, answer["results"]) == (200, ["imported", "known", "conflict"])
        status, answer = place.http("POST", "/api/tokens/import", body, place.admin)
        assert (status, answer["results"]) == (200, ["known", "known", "conflict"])
        async with await place.agent("GCU-Old", secret, capabilities=["c-old"]) as old:
            task_id = place.submit(target="GCU-Old")
            assert (await old.hear("task_assign"))["task_id"] == task_id
            status, body = place.http("GET", "/api/agents/GCU-Old/state", token=secret)
            assert status == 200
        assert place.http("DELETE", "/admin/tokens/GCU-Old", token=place.admin)[0] == 200
        answer = place.http("POST", "/api/tokens/import", {"tokens": [entry]}, place.admin)[1]
        assert answer["results"] == ["revoked"]
        assert place.http("GET", "/api/agents", token=secret)[0] == 401

    play(scene())


# --- settings --------------------------------------------------------------------------------------


def test_the_default_repo_is_set_by_its_url(place):
    assert place.http("GET", "/api/config/default-repo") == (200, {"default_repo": None, "configured": False})
    url = "https://example.org/team/project.git"
    status, _body = place.http("PUT", "/api/config/default-repo", {"url": url}, place.admin)
    assert status == 200
    assert place.http("GET", "/api/config/default-repo") == (200, {"default_repo": url, "configured": True})
    assert (
        place.http("PUT", "/api/config/default-repo", {"url": url.removesuffix(".git")}, place.admin)[0]
        == 200
    )
    other = "https://example.org/other/project"
    assert place.http("PUT", "/api/config/default-repo", {"url": other}, place.admin)[0] == 409
    for bad in (
        {},
        {"url": 5},
        {"url": ""},
        {"url": "/"},
        {"url": "https://example.org/a b"},
        {"url": "0" * 512},
    ):
        assert place.http("PUT", "/api/config/default-repo", bad, place.admin)[0] == 422
    place.http("PUT", "/api/repos/default", {"name": ""}, place.admin)


@pytest.mark.parametrize(
    ("path", "field", "default"),
    [
        ("/api/config/heartbeat-interval", "heartbeat_interval_ms", 900_000),
        ("/api/config/mailbox-retention", "mailbox_ttl_ms", 604_800_000),
    ],
)
def test_a_number_is_shown_and_changed(place, token, path, field, default):
    assert place.http("GET", path, token=token) == (200, {field: default})
    assert place.http("GET", f"{path}?token={token}") == (200, {field: default})
    assert place.http("GET", path)[0] == 401
    assert place.http("PUT", path, {field: 5_000}, place.admin)[0] == 200
    assert place.http("GET", path, token=token) == (200, {field: 5_000})
    for bad in ({}, {field: 0}, {field: -1}, {field: "5"}):
        assert place.http("PUT", path, bad, place.admin)[0] == 422
    assert place.http("GET", path, token=token) == (200, {field: 5_000})


def test_rate_limits_and_the_whitelist(place):
    assert place.http("GET", "/api/admin/rate-limits/whitelist", token=place.admin) == (
        200,
        {"whitelist": []},
    )
    path = "/api/admin/rate-limits"
    assert place.http("PUT", f"{path}/whitelist", {"agent_ids": ["r-a", "r-b"]}, place.admin)[0] == 200
    assert place.http("POST", f"{path}/whitelist", {"agent_id": "r-c"}, place.admin)[0] == 200
    assert place.http("DELETE", f"{path}/whitelist/r-a", token=place.admin)[0] == 200
    _, body = place.http("GET", f"{path}/whitelist", token=place.admin)
    assert body == {"whitelist": ["r-b", "r-c"]}
    rates = {"light": {"capacity": 7, "refill_rate_per_min": 9}}
    assert place.http("PUT", f"{path}/r-agent2", rates, place.admin)[0] == 200
    _, body = place.http("GET", path, token=place.admin)
    assert keys(body) >= {"defaults", "overrides", "whitelist"}
    assert body["overrides"]["r-agent2"] == rates
    assert place.http("DELETE", f"{path}/r-agent2", token=place.admin)[0] == 200
    for bad in ({}, {"light": {"capacity": 0, "refill_rate_per_min": 1}}, {"light": 5}):
        assert place.http("PUT", f"{path}/r-agent2", bad, place.admin)[0] == 422


# --- the store as a whole --------------------------------------------------------------------------


def test_the_store_is_looked_at_backed_up_and_compacted_as_a_whole(place):
    status, health = place.http("GET", "/api/admin/dets-health", token=place.admin)
    assert status == 200
    assert keys(health) == {"health_status", "stale_backup", "high_fragmentation", "last_backup_at", "tables"}
    status, backup = place.http("POST", "/api/admin/backup", {}, place.admin)
    assert (status, backup["tables"][0]["status"]) == (200, "ok")
    status, health = place.http("GET", "/api/admin/dets-health", token=place.admin)
    assert (status, [t["table"] for t in health["tables"]]) == (200, ["store"])
    assert place.http("POST", "/api/admin/compact", {}, place.admin)[0] == 200
    assert place.http("POST", "/api/admin/compact/task_queue", {}, place.admin)[0] == 200
    status, body = place.http("POST", "/api/admin/compact/nonsense", {}, place.admin)
    assert (status, body["message"]) == (404, "unknown_table")
    assert place.http("POST", "/api/admin/restore/task_queue", {}, place.admin)[0] == 409
    assert place.http("POST", "/api/admin/restore/nonsense", {}, place.admin)[0] == 404
    assert place.http("POST", "/api/mailbox/evict", {}, place.admin)[1] == {"status": "eviction_triggered"}


def test_metrics_and_alerts(place, token):
    status, body = place.http("GET", "/api/metrics", token=token)
    assert status == 200
    assert keys(body) >= {"queue_depth", "agent_utilization", "error_rates", "dets_health", "timestamp"}
    assert keys(body["agent_utilization"]) == {"total", "online", "idle", "working", "percent"}
    status, body = place.http("GET", "/api/alerts", token=token)
    assert status == 200
    assert keys(body) == {"alerts", "timestamp"}
    assert place.http("POST", "/api/alerts/nonsense/acknowledge", {}, place.admin)[0] == 404


def test_alert_thresholds_are_one_map_and_a_bad_one_is_refused_by_name(place, token):
    path = "/api/config/alert-thresholds"
    status, first = place.http("GET", path, token=token)
    assert status == 200
    assert keys(first) == {
        "queue_growing", "high_failure_rate", "stuck_tasks", "no_agents_online", "high_error_rate",
        "unanswered_questions",
    }  # fmt: skip
    assert first["unanswered_questions"] == {"blocked_ms": 900_000, "cooldown_ms": 300_000}
    assert first["queue_growing"] == {"increases": 3, "stable_checks": 3, "cooldown_ms": 300_000}
    changed = {**first, "high_error_rate": {"failures": 99, "cooldown_ms": 1}}
    assert place.http("PUT", path, changed, place.admin) == (200, changed)
    assert place.http("GET", path, token=token) == (200, changed)
    for bad, field in (
        ({"nonsense": {}}, "nonsense"),
        ({"high_error_rate": {"failures": "9"}}, "high_error_rate.failures"),
        ({"high_error_rate": {"failures": -1}}, "high_error_rate.failures"),
        ({"high_error_rate": {"threshold": 9}}, "high_error_rate.threshold"),
    ):
        status, body = place.http("PUT", path, bad, place.admin)
        assert (status, body["errors"][0]["field"]) == (422, field)
    assert place.http("GET", path, token=token) == (200, changed)
    assert place.http("PUT", path, {}, place.admin) == (200, first)
    _, body = place.http("GET", "/api/audit?limit=1", token=place.admin)
    assert body["records"][0]["act"] == "alert.thresholds_put"


def test_the_log_level_changes_at_once(place, process):
    path = "/api/admin/log-level"
    for level in ("debug", "notice", "warning", "error", "info"):
        assert place.http("PUT", path, {"level": level}, place.admin)[0] == 200
    for bad in ({}, {"level": "loud"}, {"level": 5}):
        assert place.http("PUT", path, bad, place.admin)[0] == 422


# --- who may ---------------------------------------------------------------------------------------

MONITORING = [
    "/api/agents",
    "/api/metrics",
    "/api/alerts",
    "/api/tasks",
    "/api/tasks/stats",
    "/api/tasks/dead-letter",
]


@pytest.mark.parametrize("path", MONITORING)
def test_nothing_of_the_hub_is_told_without_a_token(place, token, path):
    status, body = place.http("GET", path)
    assert (status, body["error"]) == (401, "invalid_token")
    assert "Bearer" in body["hint"]
    assert place.http("GET", path, token="wrong")[0] == 401
    assert place.http("GET", path, token=token)[0] == 200


def test_a_token_in_the_url_counts_only_where_it_always_did(place, token):
    taken = {f"{route.method} {route.path}" for route in ROUTES.values() if route.url_token}
    assert "GET /api/config/mailbox-retention" in taken
    for path in MONITORING:
        assert place.http("GET", f"{path}?token={token}")[0] == 401
    _, before = place.http("GET", "/api/metrics", token=token)
    assert place.http("GET", f"/api/config/mailbox-retention?token={token}")[0] == 200
    _, after = place.http("GET", "/api/metrics", token=token)
    assert after["compat"]["tokens_in_urls"] == before["compat"]["tokens_in_urls"] + 1


def test_a_token_in_a_url_is_not_in_the_log(place, process, token):
    place.http("GET", f"/api/config/mailbox-retention?token={token}")
    place.http("GET", f"/api/agents?token={token}")
    assert token not in process.log.read_text()


ADMIN = [
    (route.method, route.path)
    for route in ROUTES.values()
    if route.roles == {"admin"} and route.path.startswith(("/admin", "/api/admin", "/api/config"))
]


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_an_agents_token_administers_nothing(place, token, method, path):
    named = path.replace("{agent_id}", "x").replace("{subject}", "x").replace("{table}", "task_queue")
    status, body = place.http(method, named, {} if method in ("POST", "PUT") else None, token)
    assert (status, body["error"]) == (403, "forbidden")


def said_wholly(given, shown):
    """Whether all that was given has its place in the shape."""
    if isinstance(given, dict):
        return all(name in shown and said_wholly(value, shown[name]) for name, value in given.items())
    if isinstance(given, list):
        return len(given) == len(shown) and all(map(said_wholly, given, shown))
    return given == shown


SHAPED = [
    (route.name, route.path)
    for route in ROUTES.values()
    if route.method == "GET" and route.path.startswith("/api") and "{" not in route.path
    and route.media == "application/json"
]  # fmt: skip
TREE = [("actor.get", "/api/actors/store"), ("actor.get", "/api/actors/hub")]


@pytest.mark.parametrize(("route", "path"), [*SHAPED, *TREE])
def test_an_operator_reads_what_the_document_says_and_nothing_beside_it(place, route, path):
    place.submit()
    status, body = place.http("GET", path, token=place.admin)
    assert status == 200
    assert said_wholly(body, msgspec.to_builtins(msgspec.convert(body, ROUTES[route].answer)))


def test_every_route_of_protocol_1_has_a_tier():
    assert [route.name for route in ROUTES.values() if route.tier is None] == []
