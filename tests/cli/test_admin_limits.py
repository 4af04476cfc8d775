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
