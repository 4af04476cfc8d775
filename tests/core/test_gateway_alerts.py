"""What /api/alerts shows: what the alerter keeps, and what the parts of the hub say of themselves."""

import pytest

from agentcom.core.alerting import NAME
from agentcom.core.gateway_state import Rules
from agentcom.core.messages import Condition, HttpIn, Maintain, Recorded
from agentcom.protocol.alerts import HighErrorRate, Thresholds
from tests.core.test_gateway_http import Stage

ROW = {
    "state": "active", "since_ms": 5, "told_ms": 9, "message": "nobody", "details": {"known": 2},
}  # fmt: skip
OLD = {**ROW, "state": "cleared", "cleared_ms": 7}


@pytest.fixture
def stage():
    stage = Stage()
    stage.rows["alerts", ("no_agents_online",)] = ROW
    stage.rows["alerts", ("stuck_tasks",)] = OLD
    stage.rows["alerts", ("window",)] = [[1, 2, 3]]
    stage.tell(Condition(NAME, {"no_agents_online": {}}, ("nobody",)))
    stage.tell(Condition("archive", {"lag_s": 90}, ("the archive is 90 s behind",)))
    return stage


def listed(stage):
    _, reply = stage.ask("alert.list")
    return {alert.rule_id: alert for alert in reply.body.alerts}


def test_an_alert_is_as_the_alerter_keeps_it_and_a_parts_word_as_it_says_it(stage):
    found = listed(stage)
    assert set(found) == {"no_agents_online", "archive"}
    alert = found["no_agents_online"]
    assert (alert.severity, alert.fired_at, alert.acknowledged) == ("critical", 5, False)
    assert (alert.message, alert.details) == ("nobody", {"known": 2})
    assert (found["archive"].severity, found["archive"].message) == ("warning", "the archive is 90 s behind")


def test_a_gateway_that_starts_again_shows_what_is_kept_before_anybody_tells_it(stage):
    again = Stage()
    again.rows.update(stage.rows)
    assert set(listed(again)) == {"no_agents_online"}


def test_a_rules_alert_is_acknowledged_by_the_alerter_and_a_parts_by_the_gateway(stage):
    to, ask = stage.ask("alert.acknowledge", rule_id="no_agents_online")
    assert (to, type(ask), ask.verb, ask.by) == ("alerter", Maintain, "alert.acknowledge", "olga")
    to, reply = stage.ask("alert.acknowledge", rule_id="archive")
    assert (to, reply.body.status) == ("edge", "acknowledged")
    assert listed(stage)["archive"].acknowledged
    for name in (NAME, "nonsense", "window"):
        assert stage.fault("alert.acknowledge", rule_id=name).code == "not_found"


def test_who_acknowledges_and_who_changes_thresholds_is_recorded(stage):
    for route, token, args in (
        ("alert.acknowledge", "operator", {"rule_id": "no_agents_online"}),
        ("alert.thresholds_put", "admin", {}),
    ):
        ask = HttpIn(reply_to="edge", request=7, route=route, args=args, token=token, body=b"{}", peer="::1")
        (said,) = [output.message for output in stage.tell(ask) if type(output.message) is Recorded]
        assert (said.act, said.target) == (route, args.get("rule_id", ""))


def test_thresholds_are_shown_to_operators_and_changed_by_administrators(stage):
    assert stage.ask("alert.thresholds_get")[1].body.high_error_rate == HighErrorRate()
    wanted = Thresholds(high_error_rate=HighErrorRate(failures=3))
    assert stage.fault("alert.thresholds_put", body={}).code == "forbidden"
    to, ask = stage.ask("alert.thresholds_put", token="admin", body={"high_error_rate": {"failures": 3}})
    assert (to, ask.verb, ask.body) == ("alerter", "alert.thresholds_put", wanted)
    stage.rows["alerts", ("thresholds",)] = {"high_error_rate": {"failures": 3}}
    assert stage.ask("alert.thresholds_get")[1].body.high_error_rate == HighErrorRate(failures=3)


def test_how_long_a_question_may_wait_is_shown_as_the_settings_have_it():
    stage = Stage(Rules(blocked_alert_ms=7_000))
    assert stage.ask("alert.thresholds_get")[1].body.unanswered_questions.blocked_ms == 7_000


def test_a_bad_threshold_is_refused_at_the_door_by_its_name(stage):
    fault = stage.fault("alert.thresholds_put", token="admin", body={"high_error_rate": {"failure": 3}})
    assert (fault.code, fault.path) == ("bad_frame", "high_error_rate.failure")
