"""Tokens that end, logins of browsers, proxies, origins, and the record of who did what."""

import asyncio

import pytest
import websockets

from agentcom.config import Config, Hub, Limits
from agentcom.web.proxies import Proxies
from agentcom.web.reading import COOKIE
from tests.web.test_limits import seq
from tests.web.test_sockets import HELLO, connect, session


async def admin(hub, method, path, **body):
    return await hub.request(method, path, token="admin-token", json=body or None)


async def token_of(hub, subject, **fields):
    """A new token: (its id, its secret)."""
    made = (await admin(hub, "POST", "/api/tokens", subject=subject, **fields)).json()
    return made["token_id"], made["token"]


async def status(hub, token):
    return (await hub.request("GET", "/api/repos", token=token)).status_code


# --- rotation and expiry -----------------------------------------------------------------------------


def test_a_rotated_token_ends_its_sessions_at_once_and_the_new_one_speaks_for_the_same(play):
    async def scene(hub):
        token_id, old = await token_of(hub, "ada", role="agent")
        client = await session(hub, token=old)
        made = (await admin(hub, "POST", f"/api/tokens/{token_id}/rotate")).json()
        assert (await client.end())[0] == 4403
        assert (made["subject"], made["role"]) == ("ada", "agent")
        assert [await status(hub, token) for token in (old, made["token"])] == [401, 200]
        await session(hub, token=made["token"])
        again = await admin(hub, "POST", f"/api/tokens/{token_id}/rotate")
        assert (again.status_code, again.json()["error"]) == (409, "invalid_state")
        assert (await admin(hub, "POST", "/api/tokens/0123456789abcdef/rotate")).status_code == 404

    play(scene)


def test_a_rotated_token_may_stay_good_for_a_while(play):
    async def scene(hub):
        token_id, old = await token_of(hub, "olga", role="operator")
        new = (await admin(hub, "POST", f"/api/tokens/{token_id}/rotate", keep_s=600)).json()["token"]
        assert [await status(hub, token) for token in (old, new)] == [200, 200]
        [kept] = [
            t for t in (await admin(hub, "GET", "/api/tokens")).json()["tokens"] if t["token_id"] == token_id
        ]
        assert kept["revoked_at"] is None
        assert 0 < kept["expires_at"] - kept["created_at"] <= 601_000

    play(scene)


def test_what_was_logged_in_with_a_rotated_token_ends_when_that_does(play):
    async def scene(hub):
        token_id, old = await token_of(hub, "olga", role="operator")
        await login(hub, old)
        cookie = hub.http.cookies[COOKIE]
        hub.http.cookies.clear()
        await admin(hub, "POST", f"/api/tokens/{token_id}/rotate", keep_s=1)
        async with asyncio.timeout(20):
            while await status(hub, old) == 200:
                await asyncio.sleep(0.05)
        assert await status(hub, cookie) == 401

    play(scene)


@pytest.mark.parametrize(("field", "value"), [("expires_s", -1), ("expires_s", "soon"), ("role", "king")])
def test_a_token_that_makes_no_sense_is_refused_by_its_field(play, field, value):
    async def scene(hub):
        before = await seq(hub)
        answer = await admin(
            hub, "POST", "/api/tokens", **({"subject": "x", "role": "operator"} | {field: value})
        )
        assert (answer.status_code, answer.json()["path"]) == (422, field)
        assert await seq(hub) == before

    play(scene)


# --- logins ------------------------------------------------------------------------------------------


async def login(hub, token="operator-token"):
    return await hub.request("POST", "/api/login", token="", json={"token": token})


def test_a_browser_logs_in_reads_and_writes_with_its_csrf_token_and_logs_out(play):
    async def scene(hub):
        done = await login(hub)
        set_cookie = done.headers["set-cookie"]
        assert all(part in set_cookie for part in (COOKIE, "HttpOnly", "SameSite=Strict", "Path=/"))
        assert "Secure" not in set_cookie
        csrf, secret = done.json()["csrf"], hub.http.cookies[COOKIE]
        assert secret not in done.text
        assert secret != "operator-token"
        who = (await hub.request("GET", "/api/login", token="")).json()
        assert (who["subject"], who["role"], who["csrf"]) == ("olga", "operator", csrf)
        task = {"description": "x"}
        for headers in ({}, {"x-csrf-token": "wrong"}):
            refused = await hub.request("POST", "/api/tasks", token="", json=task, headers=headers)
            assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
        right = {"x-csrf-token": csrf}
        assert (
            await hub.request("POST", "/api/tasks", token="", json=task, headers=right)
        ).status_code == 201
        ended = await hub.request("POST", "/api/logout", token="", headers=right)
        assert "Max-Age=0" in ended.headers["set-cookie"]
        hub.http.cookies.clear()
        assert await status(hub, secret) == 401

    play(scene)


def test_logging_out_with_a_token_that_is_no_login_ends_nothing(play):
    async def scene(hub):
        client = await session(hub)
        assert (await hub.request("POST", "/api/logout", token="agent-token")).status_code == 200
        await client.say(type="heartbeat", id="2")
        assert (await client.hear())["type"] == "heartbeat_ack"
        assert await status(hub, "agent-token") == 200

    play(scene)


def test_revoking_a_token_ends_its_logins(play):
    async def scene(hub):
        token_id, secret = await token_of(hub, "olga", role="operator")
        await login(hub, secret)
        cookie = hub.http.cookies[COOKIE]
        hub.http.cookies.clear()
        assert await status(hub, cookie) == 200
        await admin(hub, "DELETE", f"/api/tokens/{token_id}")
        assert await status(hub, cookie) == 401

    play(scene)


def test_agents_and_logins_do_not_log_in_and_wrong_tokens_count(play):
    async def scene(hub):
        await login(hub)
        cookie = hub.http.cookies[COOKIE]
        hub.http.cookies.clear()
        for token in ("agent-token", cookie):
            assert (await login(hub, token)).json()["error"] == "forbidden"
        before = await seq(hub)
        said = [(await login(hub, "wrong")).json()["error"] for _ in range(4)]
        assert said == ["invalid_token"] * 2 + ["rate_limited"] * 2
        assert (await login(hub)).status_code == 200
        assert await seq(hub) > before

    play(scene, Config(limits=Limits(max_bad_frames=2)))


# --- proxies and pages -------------------------------------------------------------------------------


def test_only_a_trusted_proxy_is_believed_about_others():
    proxies = Proxies("10.0.0.0/8, ::1")
    assert proxies.via("10.1.1.1", "http", "203.0.113.7, 10.2.2.2", "https") == ("203.0.113.7", "https")
    assert proxies.via("10.1.1.1", "http", "1.2.3.4, 203.0.113.7", "") == ("203.0.113.7", "http")
    assert proxies.via("203.0.113.9", "http", "1.2.3.4", "https") == ("203.0.113.9", "http")
    assert proxies.via("10.1.1.1", "http", "", "gopher") == ("10.1.1.1", "http")
    assert Proxies("").via("127.0.0.1", "http", "1.2.3.4", "https") == ("127.0.0.1", "http")
    assert proxies.via("::1", "http", "nonsense", "") == ("nonsense", "http")


def test_with_a_trusted_proxy_nobody_is_local_and_failed_logins_count_for_who_is_behind_it(play):
    async def scene(hub):
        async def ask(behind):
            headers = {"x-forwarded-for": behind, "x-forwarded-proto": "https"}
            answer = await hub.request("GET", "/api/repos", token="wrong", headers=headers)
            return answer.json()["error"]

        assert [await ask("192.0.2.1") for _ in range(3)] == ["invalid_token"] * 2 + ["rate_limited"]
        assert await ask("192.0.2.2") == "invalid_token"
        register = await hub.request("POST", "/api/onboard/register", token="", json={"agent_id": "eve"})
        assert register.status_code == 403
        secure = await hub.request(
            "POST",
            "/api/login",
            token="",
            json={"token": "admin-token"},
            headers={"x-forwarded-proto": "https"},
        )
        assert "; Secure" in secure.headers["set-cookie"]

    play(scene, Config(trusted_proxies="127.0.0.1", limits=Limits(max_bad_frames=2)))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://evil.example", False),
        ("null", False),
        ("", True),
        ("https://ok.example", True),
        ("same", True),
    ],
)
def test_a_page_of_another_host_may_not_open_a_socket(play, origin, allowed):
    async def scene(hub):
        given = f"http://127.0.0.1:{hub.port}" if origin == "same" else origin
        headers = {"Origin": given} if given else {}
        if allowed:
            client = await connect(hub, additional_headers=headers)
            await client.say(**HELLO)
            assert (await client.hear())["type"] == "welcome"
        else:
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connect(hub, additional_headers=headers)
            assert refused.value.response.status_code == 403

    play(scene, Config(hub=Hub(allowed_origins="https://ok.example/")))


# --- who did what ------------------------------------------------------------------------------------


def test_every_act_is_recorded_with_who_what_and_from_where(play):
    async def scene(hub):
        token_id, _ = await token_of(hub, "bob", role="operator")
        await admin(hub, "DELETE", f"/api/tokens/{token_id}")
        await admin(hub, "DELETE", "/api/tokens/0123456789abcdef")
        await admin(hub, "POST", "/api/actors/presence/restart")
        await hub.request("POST", "/api/tasks/t-1/cancel", json={})
        await hub.request("POST", "/api/onboard/register", token="", json={"agent_id": "eve"})
        await hub.request("POST", "/api/tasks", json={"description": "x"})
        first = (await admin(hub, "GET", "/api/audit?limit=3")).json()
        rest = (await admin(hub, "GET", f"/api/audit?limit=3&cursor={first['next_cursor']}")).json()
        assert [(r["by"], r["act"], r["target"]) for r in first["records"] + rest["records"]] == [
            ("", "agent.register", "eve"),
            ("olga", "task.cancel", "t-1"),
            ("ann", "actor.restart", "presence"),
            ("ann", "token.delete", token_id),
            ("ann", "token.create", "bob"),
        ]
        assert {r["peer"] for r in first["records"]} == {"127.0.0.1"}
        assert (await hub.request("GET", "/api/audit")).status_code == 403
        assert (await admin(hub, "GET", "/api/audit?cursor=nonsense")).json()["path"] == "cursor"
        assert (await admin(hub, "GET", "/api/audit?limit=many")).json()["path"] == "limit"

    play(scene)
