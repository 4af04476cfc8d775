"""When an alert fires, is silent and is over; what the last hour is; and that a restart changes none of it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentcom.core.alert_rules import SPACING_MS, Window
from agentcom.core.alerting import Alerting, shown
from agentcom.core.decoding import decode_body
from agentcom.core.messages import Condition, Fault, Maintain
from agentcom.protocol.alerts import (
    RULES,
    WINDOW_MS,
    Asking,
    Ended,
    NoAgentsOnline,
    Sample,
    Silent,
    Thresholds,
    UnansweredQuestions,
)
from agentcom.store import MemoryStore
from tests.store.helpers import Writer

START = 1_700_000_000_000
CHECK_MS = 30_000


class Hub:
    """An alerter over rows, and the hub it looks at."""

    def __init__(self, thresholds=None):
        self.rows = {}
        self.now = START
        self.fields = {
            "queued": 0,
            "completed": 0,
            "failed": 0,
            "known": 0,
            "online": 1,
            "silent": (),
            "asking": (),
        }
        self.restart()
        if thresholds is not None:
            self.change(thresholds)

    def restart(self, **settings):
        self.alerting = Alerting(self.rows.items(), **settings)

    def carry_out(self, decision):
        self.rows |= {op.key: msgspec.msgpack.decode(msgspec.msgpack.encode(op.row)) for op in decision.ops}
        return [output.message for output in decision.outputs]

    def check(self, after_ms=CHECK_MS, **fields):
        """What became of which rules."""
        self.now += after_ms
        self.fields |= fields
        self.carry_out(self.alerting.check(Sample(now_ms=self.now, **self.fields)))
        return [(news.what, news.rule) for news in self.alerting.take_news()]

    def ask(self, verb, body=None, **args):
        ask = Maintain(reply_to="edge", request=7, verb=verb, by="olga", args=args, body=body)
        *_, reply = self.carry_out(self.alerting.answer(ask))
        return reply.body

    def acknowledge(self, rule_id):
        return self.ask("alert.acknowledge", rule_id=rule_id)

    def change(self, thresholds):
        return self.ask("alert.thresholds_put", thresholds)

    @property
    def shown(self):
        return {alert.rule_id: alert for alert in shown(self.rows.items())}


def thresholds(**rules):
    return msgspec.convert(rules, Thresholds)


# --- the rules -------------------------------------------------------------------------------------


def test_a_queue_that_grew_three_times_in_a_row_is_told_and_is_over_when_it_did_not_three_times():
    hub = Hub()
    assert [hub.check(queued=n) for n in (5, 6, 7)] == [[], [], []]
    assert hub.check(queued=8) == [("fired", "queue_growing")]
    assert hub.shown["queue_growing"].details == {"queued": 8, "increases": 3}
    assert [hub.check(queued=n) for n in (8, 8, 9, 9, 8)] == [[]] * 5
    assert hub.check(queued=8) == [("cleared", "queue_growing")]
    assert [hub.check(queued=n) for n in (7, 8, 9)] == [[]] * 3


def test_a_growing_queue_that_stands_still_does_not_keep_itself_an_alert():
    hub = Hub(thresholds(queue_growing={"increases": 1, "stable_checks": 1}))
    hub.check(queued=0)
    assert hub.check(queued=1) == [("fired", "queue_growing")]
    assert hub.check(queued=1) == [("cleared", "queue_growing")]


def test_more_than_half_failed_of_what_ended_in_the_last_hour():
    hub = Hub()
    hub.check(completed=1_000, failed=1_000)  # ever: none of it is news
    assert hub.check(completed=1_002, failed=1_002) == []
    assert hub.check(failed=1_003) == [("fired", "high_failure_rate")]
    assert hub.shown["high_failure_rate"].message == "3 of 5 tasks that ended in the last hour failed (60 %)"
    assert hub.check(completed=1_003) == [("cleared", "high_failure_rate")]


def test_failures_are_forgotten_when_they_are_an_hour_old_and_not_before():
    hub = Hub(thresholds(high_failure_rate={"percent": 99.9, "min_tasks": 1_000}))
    hub.check()
    assert hub.check(failed=11) == [("fired", "high_error_rate")]
    hour, slack = WINDOW_MS // CHECK_MS, SPACING_MS // CHECK_MS
    checks = [hub.check() for _ in range(hour + slack)]
    assert [("cleared", "high_error_rate")] in checks
    assert checks.index([("cleared", "high_error_rate")]) >= hour - 1


def test_a_task_is_stuck_that_is_old_and_that_nobody_speaks_for():
    hub = Hub()
    task = Silent("t1", "ada", START)
    assert hub.check(299_000, silent=(task,)) == []
    assert hub.check(1_000) == [("fired", "stuck_tasks")]
    alert = hub.shown["stuck_tasks"]
    assert (alert.severity, alert.details) == ("critical", {"count": 1, "tasks": ["t1"], "agents": ["ada"]})
    assert hub.check(silent=None) == []  # presence is down
    assert hub.check(silent=()) == [("cleared", "stuck_tasks")]


def test_nobody_is_missed_where_nobody_could_be():
    hub = Hub()
    assert hub.check(online=0, known=0) == []
    assert hub.check(online=0, known=2) == [("fired", "no_agents_online")]
    assert hub.shown["no_agents_online"].message == "no agent is connected, and 2 could be"
    assert hub.check(online=None) == []
    assert hub.check(online=1) == [("cleared", "no_agents_online")]


def test_a_question_that_waits_too_long_is_told_and_is_over_when_it_is_answered():
    hub = Hub()
    asked = Asking(START, "t1", "ada")
    assert hub.check(899_999, asking=(asked,)) == []
    assert hub.check(1) == [("fired", "unanswered_questions")]
    alert = hub.shown["unanswered_questions"]
    assert (alert.severity, alert.message) == ("warning", "tasks wait for an answer: t1")
    assert alert.details == {"count": 1, "tasks": ["t1"], "agents": ["ada"]}
    assert hub.check(asking=()) == [("cleared", "unanswered_questions")]


def test_of_many_questions_the_three_oldest_are_named_and_young_ones_do_not_count():
    hub = Hub(thresholds(unanswered_questions={"blocked_ms": 10_000}))
    asked = tuple(Asking(START + n, f"t{n}", "ada") for n in range(5))
    hub.check(10_003, asking=asked)
    alert = hub.shown["unanswered_questions"]
    assert alert.message == "tasks wait for an answer: t0, t1, t2 and 1 more"
    assert (alert.details["count"], alert.details["tasks"]) == (4, ["t0", "t1", "t2"])


def test_how_long_a_question_may_wait_is_the_settings_word_until_an_administrator_says_otherwise():
    hub = Hub()
    hub.restart(blocked_ms=60_000)
    asked = (Asking(START, "t1", "ada"),)
    assert hub.check(60_000, asking=asked) == [("fired", "unanswered_questions")]
    longer = thresholds(unanswered_questions={"blocked_ms": 600_000})
    assert hub.change(longer) == longer
    assert hub.check() == [("cleared", "unanswered_questions")]
    other = hub.change(thresholds(high_error_rate={"failures": 4}))
    assert other.unanswered_questions == UnansweredQuestions(blocked_ms=60_000)
    assert "unanswered_questions" not in hub.shown
    hub.check()
    assert "unanswered_questions" in hub.shown
    hub.change(other)  # as an administrator does who reads the map and changes a number in it
    hub.restart(blocked_ms=30_000)
    assert hub.alerting.thresholds.unanswered_questions.blocked_ms == 30_000


# --- firing, acknowledging, clearing ---------------------------------------------------------------


def test_a_critical_alert_fires_at_every_check_until_somebody_looks_after_it():
    hub = Hub()
    assert [hub.check(online=0, known=1) for _ in range(2)] == [[("fired", "no_agents_online")]] * 2
    assert hub.acknowledge("no_agents_online").status == "acknowledged"
    assert hub.acknowledge("no_agents_online").status == "acknowledged"
    assert hub.alerting.take_news() == [
        ("acknowledged", "no_agents_online", "critical", "no agent is connected, and 1 could be", "olga")
    ]
    assert hub.check() == []
    assert hub.shown["no_agents_online"].acknowledged
    assert hub.alerting.condition().alerts == ("no agent is connected, and 1 could be (olga looks after it)",)
    assert hub.check(online=1) == [("cleared", "no_agents_online")]
    assert hub.check(online=0) == [("fired", "no_agents_online")]
    assert not hub.shown["no_agents_online"].acknowledged


def test_what_is_over_or_unknown_cannot_be_acknowledged():
    hub = Hub()
    hub.check(online=0, known=1)
    hub.check(online=1)
    for name in ("no_agents_online", "stuck_tasks", "nonsense", "thresholds", ""):
        assert hub.acknowledge(name).code == "not_found"


def test_a_warning_fires_again_after_its_cooldown_only_even_if_it_was_over_meanwhile():
    hub = Hub(thresholds(no_agents_online={"cooldown_ms": 60_000}))
    assert hub.check(online=0, known=1) == [("fired", "no_agents_online")]
    assert hub.check(online=1) == [("cleared", "no_agents_online")]
    assert hub.check(20_000, online=0) == []
    assert hub.shown["no_agents_online"].fired_at == hub.now
    assert hub.check(10_000) == [("fired", "no_agents_online")]


def test_thresholds_are_in_force_at_the_next_check_and_after_a_restart():
    hub = Hub()
    hub.check()
    assert hub.check(failed=5, completed=6) == []
    strict = thresholds(high_error_rate={"failures": 4})
    assert hub.change(strict).high_error_rate == strict.high_error_rate
    hub.restart()
    assert hub.check() == [("fired", "high_error_rate")]
    hub.change(Thresholds())
    assert hub.check() == [("cleared", "high_error_rate")]


def test_a_hub_where_nothing_happens_writes_nothing():
    hub = Hub()
    hub.check()
    before = dict(hub.rows)
    assert hub.alerting.check(Sample(hub.now + CHECK_MS, **hub.fields)).ops == ()
    assert hub.rows == before


def test_what_every_decision_tells_the_gateway_is_what_stands():
    hub = Hub()
    decision = hub.alerting.check(Sample(START, **(hub.fields | {"online": 0, "known": 1})))
    (told,) = [output.message for output in decision.outputs if output.to == "gateway"]
    assert told == hub.alerting.condition()
    fact = {"state": "active", "severity": "critical", "since_ms": START}
    assert told == Condition(
        "alerter", {"no_agents_online": fact}, ("no agent is connected, and 1 could be",)
    )


def test_the_rows_are_what_the_store_takes_and_gives_back():
    store, hub = MemoryStore(), Hub()
    decision = hub.alerting.check(Sample(START, **(hub.fields | {"online": 0, "known": 1})))
    Writer(store, "alerter").commit(*decision.ops)
    again = Alerting(store.reader.scan("alerts", ()))
    assert again.kept == hub.alerting.kept
    assert again.window.marks == hub.alerting.window.marks
    assert [alert.rule_id for alert in shown(store.reader.scan("alerts", ()))] == ["no_agents_online"]


def test_kept_thresholds_that_are_out_of_range_by_now_are_as_they_were_at_first():
    rows = [(("thresholds",), {"queue_growing": {"increases": 0}})]
    assert Alerting(rows).thresholds == Alerting([]).thresholds


# --- bodies ----------------------------------------------------------------------------------------

BAD = {
    b'{"nonsense": {}}': "nonsense",
    b'{"queue_growing": {"nonsense": 1}}': "queue_growing.nonsense",
    b'{"queue_growing": {"increases": "3"}}': "queue_growing.increases",
    b'{"queue_growing": {"increases": 0}}': "queue_growing.increases",
    b'{"high_failure_rate": {"percent": 100.5}}': "high_failure_rate.percent",
    b'{"stuck_tasks": {"silent_ms": 1}}': "stuck_tasks.silent_ms",
    b'{"no_agents_online": {"cooldown_ms": -1}}': "no_agents_online.cooldown_ms",
    b'{"high_error_rate": {"failures": 1.5}}': "high_error_rate.failures",
    b'{"unanswered_questions": {"blocked_ms": -1}}': "unanswered_questions.blocked_ms",
}


@pytest.mark.parametrize(("body", "path"), BAD.items())
def test_thresholds_that_make_no_sense_are_refused_by_the_name_of_the_field(body, path):
    fault = decode_body(Thresholds, body)
    assert isinstance(fault, Fault)
    assert (fault.code, fault.path) == ("bad_frame", path)


def test_a_part_of_the_map_leaves_the_rest_as_it_was_at_first():
    found = decode_body(Thresholds, b'{"no_agents_online": {"cooldown_ms": 5}}')
    assert found == Thresholds(no_agents_online=NoAgentsOnline(cooldown_ms=5))


# --- the last hour ---------------------------------------------------------------------------------

STEP_MS = 300_000
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "", "", "restart", "restore"])),
    min_size=1, max_size=60,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_the_window_counts_what_ended_in_the_last_hour_and_nothing_much_older(steps):
    """Against a list of everything that ever ended. A restore takes totals back, but not what was seen."""
    window, ended = Window(), []
    completed = failed = now = 0
    for more_completed, more_failed, event in steps:
        now += STEP_MS
        if event == "restart":
            window = Window([Ended(*mark) for mark in window.marks])
        if event == "restore":
            completed = failed = 0
        else:
            completed, failed = completed + more_completed, failed + more_failed
            if ended:  # what there was at the first look is nobody's news
                ended.append((now, more_completed, more_failed))
        ended = ended or [(now, 0, 0)]
        totals = Ended(now, completed, failed)
        window.look(totals)
        late = window.of_late(totals)
        surely = [each for each in ended if each[0] > now - WINDOW_MS]
        maybe = [each for each in ended if each[0] > now - WINDOW_MS - SPACING_MS - STEP_MS]
        for figure in (1, 2):
            counted = late[figure]
            assert sum(each[figure] for each in surely) <= counted <= sum(each[figure] for each in maybe)
        assert len(window.marks) <= 2 + WINDOW_MS // SPACING_MS


def test_a_clock_that_was_set_back_takes_no_failure_back():
    window = Window()
    window.look(Ended(START, 0, 0))
    window.look(Ended(START + SPACING_MS, 0, 5))
    now = Ended(START - WINDOW_MS, 0, 6)
    window.look(now)
    assert window.of_late(now).failed == 6
    later = Ended(now.ms + 2 * WINDOW_MS, 0, 6)
    window.look(later)
    assert window.of_late(later).failed == 1


# --- against a model -------------------------------------------------------------------------------


class AlertsAgainstModel(RuleBasedStateMachine):
    """The model knows one rule: whether it holds, who looks after it, and when it was last told."""

    def __init__(self):
        super().__init__()
        self.hub = Hub()
        self.holds = self.acknowledged = False
        self.told = None
        self.cooldown = 0

    @rule(seconds=st.integers(0, 90), online=st.sampled_from([0, 0, 1, None]))
    def check(self, seconds, online):
        news = self.hub.check(seconds * 1000, online=online, known=1)
        expected = []
        if online == 0:
            if not self.holds:
                self.holds, self.acknowledged = True, False
            due = self.told is None or self.hub.now - self.told >= self.cooldown
            if due and not self.acknowledged:
                expected, self.told = ["fired"], self.hub.now
        elif online is not None and self.holds:
            self.holds = self.acknowledged = False
            expected = ["cleared"]
        assert news == [(what, "no_agents_online") for what in expected]

    @rule()
    def acknowledge(self):
        answer = self.hub.acknowledge("no_agents_online")
        assert isinstance(answer, Fault) == (not self.holds)
        self.acknowledged = self.holds
        self.hub.alerting.take_news()

    @rule(seconds=st.integers(0, 120))
    def change(self, seconds):
        self.cooldown = seconds * 1000
        self.hub.change(thresholds(no_agents_online={"cooldown_ms": self.cooldown}))

    @rule()
    def restart(self):
        self.hub.restart()

    @invariant()
    def what_is_shown_is_what_holds(self):
        found = self.hub.shown
        assert set(found) == ({"no_agents_online"} if self.holds else set())
        assert all(alert.acknowledged == self.acknowledged for alert in found.values())
        assert bool(self.hub.alerting.condition().alerts) == self.holds

    @invariant()
    def a_restart_from_disk_would_see_the_same(self):
        again, now = Alerting(self.hub.rows.items()), self.hub.alerting
        assert (again.kept, again.thresholds, again.window.marks) == (
            now.kept,
            now.thresholds,
            now.window.marks,
        )
        assert set(again.kept) <= set(RULES)


TestAlertsAgainstModel = AlertsAgainstModel.TestCase
TestAlertsAgainstModel.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
