"""`agentcom-admin limits`: what it asks and what it shows."""

from agentcom.cli import exits
from agentcom.cli.admin import main

ROUTE = "/api/admin/rate-limits"
RATE = {"capacity": 50, "refill_rate_per_min": 600.0}
SHOWN = {
    "enabled": True, "defaults": {"agent": {"light": RATE}}, "overrides": {"ada": {"heavy": RATE}},
    "whitelist": ["bob"],
    "refused": [{"kind": "agent", "name": "eve", "retry_after_ms": {"heavy": 1500}, "cool_down_ms": 0}],
}  # fmt: skip


def test_show_tells_rates_exemptions_and_who_is_refused(run, hub):
    hub.answers["GET", ROUTE] = (200, SHOWN)
    shown = run(main, "limits", "show").output
    for words in ("any agent", "ada", "bob", "exempt", "refused now: agent eve: heavy for 1.5 s"):
        assert words in shown


def test_each_change_is_one_request(run, hub):
    for method, path in (
        ("PUT", "/ada"), ("DELETE", "/ada"), ("POST", "/whitelist"), ("DELETE", "/whitelist/ada"),
    ):  # fmt: skip
        hub.answers[method, ROUTE + path] = (200, {"status": "ok"})
    done = run(main, "limits", "set", "ada", "--tier", "heavy", "--per-minute", 600, "--burst", 50)
    assert done.output == "ada may ask 50 heavy requests at once, 600 a minute\n"
    assert hub.body("PUT", f"{ROUTE}/ada") == {"heavy": RATE}
    assert run(main, "limits", "exempt", "ada").output == "ada is exempt from rate limits\n"
    assert hub.body("POST", f"{ROUTE}/whitelist") == {"agent_id": "ada"}
    assert run(main, "limits", "unexempt", "ada").exit_code == exits.OK
    assert run(main, "limits", "reset", "ada").exit_code == exits.OK
    assert [ask[:2] for ask in hub.asked[-2:]] == [
        ("DELETE", f"{ROUTE}/whitelist/ada"),
        ("DELETE", f"{ROUTE}/ada"),
    ]


def test_a_rate_of_nothing_is_bad_usage(run):
    done = run(main, "limits", "set", "ada", "--tier", "heavy", "--per-minute", 0, "--burst", 5)
    assert done.exit_code == exits.USAGE


def test_the_record_of_acts_is_shown_with_the_way_to_the_next_page(run, hub):
    line = {
        "ms": 1_000, "by": "ann", "role": "admin", "act": "token.create", "target": "bob", "peer": "127.0.0.1",
        "note": "",
    }  # fmt: skip
    hub.answers["GET", "/api/audit"] = (200, {"records": [line], "next_cursor": "c2"})
    shown = run(main, "audit", "--limit", 1).output
    for words in ("ann", "token.create", "bob", "127.0.0.1", "--cursor c2"):
        assert words in shown


def test_a_rotated_token_goes_to_a_new_file_and_is_not_shown(run, hub, tmp_path):
    hub.answers["POST", "/api/tokens/t1/rotate"] = (
        201,
        {"token_id": "t2", "token": "secret", "subject": "ada"},
    )
    done = run(main, "token", "rotate", "t1", "--out", tmp_path / "new", "--keep", "10m")
    assert hub.body("POST", "/api/tokens/t1/rotate") == {"keep_s": 600}
    assert "secret" not in done.output
    assert (tmp_path / "new").read_text() == "secret\n"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
    again = run(main, "token", "rotate", "t1", "--out", tmp_path / "new")
    assert again.exit_code == exits.USAGE


def test_a_token_and_an_invite_may_expire(run, hub, tmp_path):
    hub.answers["POST", "/api/tokens"] = (201, {"token_id": "t", "token": "secret"})
    hub.answers["POST", "/api/invites"] = (201, {"invite": "code"})
    assert (
        run(main, "token", "create", "bob", "--out", tmp_path / "t", "--expires", "30d").exit_code == exits.OK
    )
    assert hub.body("POST", "/api/tokens")["expires_s"] == 30 * 86_400
    assert run(main, "invite", "--expires", "2h").output == "code\n"
    assert hub.body("POST", "/api/invites")["expires_s"] == 7_200
    assert run(main, "invite", "--expires", "soon").exit_code == exits.USAGE


def test_a_ca_file_that_is_not_there_is_bad_usage(run):
    done = run(main, "agents", "--hub", "https://localhost:1", "--ca-file", "nowhere.pem")
    assert done.exit_code == exits.USAGE
    assert "nowhere.pem" in done.output
