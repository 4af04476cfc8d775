"""Registration, tokens, invites, repos and pull request records over HTTP."""

import pytest

from agentcom.config import Config
from agentcom.protocol.rows import Token
from tests.web.troupe import task_puts

COMMIT = "a" * 40


async def register(hub, agent_id, **kw):
    body = {"agent_id": agent_id} | kw.pop("body", {})
    return await hub.request("POST", "/api/onboard/register", token=kw.pop("token", ""), json=body, **kw)


def test_a_local_client_registers_and_its_token_works(play):
    async def scene(hub):
        done = await register(hub, "eve", body={"capabilities": ["python"]})
        assert done.status_code == 201
        said = done.json()
        assert said["hub_ws_url"] == hub.ws_url
        submitted = await hub.request("POST", "/api/tasks", token=said["token"], json={"description": "x"})
        assert submitted.status_code == 201
        again = await register(hub, "eve")
        assert (again.status_code, again.json()["error"], again.json()["path"]) == (
            409,
            "conflict",
            "agent_id",
        )

    play(scene)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Origin"])
def test_a_client_behind_a_proxy_or_a_page_is_not_local(play, header):
    async def scene(hub):
        refused = await register(hub, "eve", headers={header: "127.0.0.1"})
        assert (refused.status_code, refused.json()["error"], refused.json()["path"]) == (
            403,
            "forbidden",
            "invite",
        )

    play(scene)


def test_an_invite_lets_one_agent_in_and_only_once(play):
    async def scene(hub):
        assert (await register(hub, "eve")).status_code == 403
        made = await hub.request("POST", "/api/invites", token="admin-token", json={"capabilities": ["rust"]})
        invite = made.json()["invite"]
        assert (await register(hub, "eve", body={"invite": "wrong"})).status_code == 403
        assert (await register(hub, "eve", body={"invite": invite})).status_code == 201
        again = await register(hub, "bob", body={"invite": invite})
        assert (again.status_code, again.json()["message"]) == (403, "this invite was used")
        assert (await register(hub, "bob", token="admin-token")).status_code == 201

    play(scene, Config(registration="invite"))


def test_a_token_is_shown_once_and_its_row_holds_no_secret(play):
    async def scene(hub):
        made = await hub.request(
            "POST", "/api/tokens", token="admin-token", json={"subject": "bob", "role": "operator"}
        )
        secret = made.json()["token"]
        assert made.status_code == 201
        assert len(secret) >= 43
        listed = await hub.request("GET", "/api/tokens", token="admin-token")
        assert secret not in listed.text
        assert not {"secret", "token"} & set(Token.__struct_fields__)
        assert (await hub.request("GET", "/api/tasks", token=secret)).status_code == 200
        token_id = made.json()["token_id"]
        for _ in range(2):
            gone = await hub.request("DELETE", f"/api/tokens/{token_id}", token="admin-token")
            assert gone.status_code == 200
        assert (await hub.request("GET", "/api/tasks", token=secret)).status_code == 401

    play(scene)


@pytest.mark.parametrize(
    "body",
    [
        {"subject": "Not An Agent", "role": "agent"},
        {"subject": "bob", "role": "king"},
        {"subject": "", "role": "admin"},
    ],
)
def test_a_token_for_nobody_is_refused(play, body):
    async def scene(hub):
        refused = await hub.request("POST", "/api/tokens", token="admin-token", json=body)
        assert (refused.status_code, refused.json()["error"]) == (422, "bad_frame")

    play(scene)


def test_repos_are_made_changed_chosen_as_default_and_removed(play):
    async def scene(hub):
        async def admin(method, path, **body):
            return await hub.request(method, path, token="admin-token", json=body)

        repo = {"name": "team/tools", "url": "https://example.org/team/tools.git"}
        assert (await admin("POST", "/api/repos", **repo)).status_code == 201
        assert (await admin("POST", "/api/repos", **repo)).status_code == 409
        changed = await admin("PUT", "/api/repos/team/tools", **repo, base_branch="dev")
        assert (changed.status_code, changed.json()["base_branch"]) == (200, "dev")
        assert (await admin("PUT", "/api/repos/other", **repo)).json()["path"] == "name"
        assert (await admin("PUT", "/api/repos/default", name="nowhere")).status_code == 404
        assert (await admin("PUT", "/api/repos/default", name="team/tools")).status_code == 200
        listed = (await hub.request("GET", "/api/repos")).json()["repos"]
        assert {r["name"]: r["default"] for r in listed} == {"demo": False, "team/tools": True}
        by_url = {"description": "x", "repo": "https://example.org/team/tools/"}
        assert (await hub.request("POST", "/api/tasks", json=by_url)).status_code == 201
        assert (await admin("DELETE", "/api/repos/team/tools")).status_code == 200
        assert (await admin("DELETE", "/api/repos/team/tools")).status_code == 404
        assert (await hub.request("POST", "/api/tasks", json=by_url)).json()["path"] == "repo"

    play(scene)


def test_one_pull_request_record_a_branch_by_the_agent_that_holds_the_task(play):
    async def scene(hub):
        await hub.put(*task_puts("t-9", holder="ada"))
        pull = {
            "repo": "demo",
            "task_id": "t-9",
            "branch": "ada/t-9",
            "base_branch": "main",
            "commit": COMMIT,
            "title": "T",
        }
        first = await hub.request("POST", "/api/pulls", token="agent-token", json=pull)
        again = await hub.request("POST", "/api/pulls", token="agent-token", json=pull | {"commit": "b" * 40})
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["pr_id"] == again.json()["pr_id"]
        [shown] = (await hub.request("GET", "/api/pulls?task_id=t-9")).json()["pulls"]
        assert (shown["commit"], shown["author"]) == ("b" * 40, "ada")
        assert (await hub.request("GET", shown["url"])).json() == shown
        foreign = await hub.request("POST", "/api/pulls", token="agent-token", json=pull | {"task_id": "t-1"})
        assert (foreign.status_code, foreign.json()["error"]) == (409, "not_owner")

    play(scene)


def test_a_new_default_repo_is_in_force_for_the_next_submit(play):
    async def scene(hub):
        await hub.request("POST", "/api/tasks", json={"description": "x"})
        for name in ("demo", ""):
            await hub.request("PUT", "/api/repos/default", token="admin-token", json={"name": name})
            done = await hub.request("POST", "/api/tasks", json={"description": "which repo?"})
            assert done.json()["task_id"].endswith(f"repo-{name}")

    play(scene)
