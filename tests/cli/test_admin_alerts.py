"""`agentcom-admin alerts`: what it asks and what it shows."""

import json

import pytest

from agentcom.cli import exits
from agentcom.cli.admin import main

ROUTE, THRESHOLDS = "/api/alerts", "/api/config/alert-thresholds"
ALERT = {
    "rule_id": "stuck_tasks", "severity": "critical", "message": "nothing is heard of [t1]", "details": {},
    "fired_at": 1_000, "acknowledged": False,
}  # fmt: skip
SHOWN = {"alerts": [ALERT, ALERT | {"rule_id": "mailbox.ada", "severity": "warning", "acknowledged": True}]}
MAP = {"stuck_tasks": {"silent_ms": 300_000, "cooldown_ms": 0}, "high_failure_rate": {"percent": 50.0}}


@pytest.mark.parametrize("command", [("alerts",), ("alerts", "list")])
def test_they_are_listed_whether_the_word_list_is_said_or_not(run, hub, command):
    hub.answers["GET", ROUTE] = (200, SHOWN)
    shown = run(main, *command).output
    for words in ("stuck_tasks", "critical", "nothing is heard of [t1]", "mailbox.ada", "warning", "yes"):
        assert words in shown
    assert json.loads(run(main, *command, "--json").output) == SHOWN


def test_a_hub_that_needs_nobody_says_so(run, hub):
    hub.answers["GET", ROUTE] = (200, {"alerts": [], "timestamp": 1})
    assert run(main, "alerts").output == "nothing needs anybody\n"


def test_help_is_that_of_the_group_and_a_wrong_command_is_told(run, hub):
    assert "thresholds" in run(main, "alerts", "--help").output
    done = run(main, "alerts", "nonsense")
    assert (done.exit_code, "nonsense" in done.output, hub.asked) == (exits.USAGE, True, [])


def test_an_alert_is_acknowledged_by_its_name(run, hub):
    hub.answers["POST", f"{ROUTE}/mailbox.ada/acknowledge"] = (200, {"status": "acknowledged"})
    done = run(main, "alerts", "ack", "mailbox.ada")
    assert (done.exit_code, done.output) == (exits.OK, "mailbox.ada is acknowledged\n")
    assert json.loads(run(main, "alerts", "ack", "mailbox.ada", "--json").output) == {
        "status": "acknowledged"
    }


def test_an_alert_that_there_is_not_is_a_refusal(run, hub):
    path = f"{ROUTE}/no%2Fsuch/acknowledge"
    hub.answers["POST", path] = (404, {"error": "not_found", "message": "there is no such alert now"})
    done = run(main, "alerts", "ack", "no/such")
    assert (done.exit_code, "there is no such alert now" in done.output) == (exits.REFUSED, True)
    assert [ask[1] for ask in hub.asked] == [path]


def test_thresholds_are_shown_with_times_as_people_read_them(run, hub):
    hub.answers["GET", THRESHOLDS] = (200, MAP)
    shown = run(main, "alerts", "thresholds").output
    for words in ("stuck_tasks", "silent_ms", "300,000 (5 min)", "high_failure_rate", "50.0"):
        assert words in shown
    assert json.loads(run(main, "alerts", "thresholds", "--json").output) == MAP
    assert {ask[0] for ask in hub.asked} == {"GET"}


def test_a_change_leaves_the_other_thresholds_as_they_are(run, hub):
    hub.answers["GET", THRESHOLDS] = (200, MAP)
    hub.answers["PUT", THRESHOLDS] = (200, MAP)
    sets = ("--set", "stuck_tasks.silent_ms=60000", "--set", "high_failure_rate.percent=12.5")
    assert run(main, "alerts", "thresholds", *sets).exit_code == exits.OK
    assert hub.body("PUT", THRESHOLDS) == {
        "stuck_tasks": {"silent_ms": 60_000, "cooldown_ms": 0}, "high_failure_rate": {"percent": 12.5}
    }  # fmt: skip


def test_a_rule_that_there_is_not_is_the_hubs_to_refuse(run, hub):
    refused = {"error": "bad_frame", "message": "there is no field", "path": "nonsense"}
    hub.answers["GET", THRESHOLDS], hub.answers["PUT", THRESHOLDS] = (200, MAP), (422, refused)
    done = run(main, "alerts", "thresholds", "--set", "nonsense.silent_ms=1")
    assert (done.exit_code, "(at nonsense)" in done.output) == (exits.REFUSED, True)


@pytest.mark.parametrize(
    "item", ["stuck_tasks", "stuck_tasks=1", ".silent_ms=1", "stuck_tasks.=1", "a.b", "a.b=", "a.b=5m", "a.b=NaN",
             "a.b=true", "a.b=null"],
)  # fmt: skip
def test_what_is_no_number_of_a_field_is_bad_usage_and_nothing_is_asked(run, hub, item):
    done = run(main, "alerts", "thresholds", "--set", item)
    assert (done.exit_code, "rule.field=number" in done.output, hub.asked) == (exits.USAGE, True, [])
