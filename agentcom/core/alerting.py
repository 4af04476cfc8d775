"""Alerts: each rule is inactive, active, acknowledged or cleared; what that makes of samples, and what is said of it.

An alert fires when its rule begins to hold, and again while it holds, after each cooldown, until somebody
acknowledges it; then it is silent until it is over. A cooldown counts from the last time it fired, also if it was
over meanwhile: one that comes and goes is shown each time and told once. State is memory, rows and back.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from agentcom.core.alert_rules import Trend, Verdict, Window, judge
from agentcom.core.decision import Decision, Output
from agentcom.core.messages import Condition, Fault, Maintain, Reply
from agentcom.core.missing import missing
from agentcom.protocol.alerts import (
    RULES,
    SEVERITY,
    THRESHOLDS,
    WINDOW,
    Ended,
    Kept,
    Rule,
    Sample,
    Severity,
    Thresholds,
)
from agentcom.protocol.ops import Key, Op, Put
from agentcom.protocol.v1_bodies import AlertAcknowledged, AlertShown

NAME = "alerter"
"""Of the actor, and of what `/health` shows."""
Row = tuple[Key, Any]


class News(NamedTuple):
    """What became of one rule, for the log."""

    what: Literal["fired", "cleared", "acknowledged"]
    rule: Rule
    severity: Severity
    message: str
    by: str = ""


class Alerting:
    """All rules, their thresholds, and what the last hour is measured by. Made from the rows of `alerts`.

    `blocked_ms`: how long a question may wait where no threshold says so.
    """

    def __init__(self, rows: Iterable[Row], blocked_ms: int = 900_000) -> None:
        found = {str(key[0]): row for key, row in rows}
        self.blocked_ms = blocked_ms
        self.thresholds = thresholds_of(found.get(THRESHOLDS), blocked_ms)
        self.kept = {rule: _kept(found[rule]) for rule in RULES if rule in found}
        self.window = Window(msgspec.convert(found.get(WINDOW, []), list[Ended]))
        self.trend = Trend()
        self.news: list[News] = []

    def condition(self) -> Condition:
        """What `/health` shows. An alert that is acknowledged is still one."""
        held = {rule: kept for rule, kept in self.kept.items() if is_shown(kept)}
        facts: dict[str, Any] = {
            rule: {"state": kept.state, "severity": SEVERITY[rule], "since_ms": kept.since_ms}
            for rule, kept in held.items()
        }
        return Condition(NAME, facts, tuple(_sentence(kept) for kept in held.values()))

    def take_news(self) -> list[News]:
        """Since the last call."""
        news, self.news = self.news, []
        return news

    # --- samples -----------------------------------------------------------------------------------

    def check(self, sample: Sample) -> Decision:
        """One look at the hub."""
        self.trend.look(sample.queued)
        ops: list[Op] = []
        if self.window.look(Ended(sample.now_ms, sample.completed, sample.failed)):
            ops.append(_put(WINDOW, self.window.marks))
        growing = is_shown(self.kept.get("queue_growing"))
        for rule, verdict in judge(sample, self.thresholds, self.trend, self.window, growing).items():
            if (after := self._step(rule, verdict, sample.now_ms)) is not None:
                self.kept[rule] = after
                ops.append(_put(rule, after))
        return self._decided(ops, "alerts.checked") if ops else Decision()

    def _step(self, rule: Rule, verdict: Verdict, now_ms: int) -> Kept | None:
        """What is to be kept of the rule from now on; None when that is what it was."""
        before = self.kept.get(rule)
        if verdict.holds and is_shown(before):
            assert before is not None
            again = before.state == "active" and self._may_fire(rule, before, now_ms)
            return self._fire(rule, before, verdict, now_ms) if again else None
        if verdict.holds:
            return self._begin(rule, before, verdict, now_ms)
        if verdict.holds is False and before is not None and is_shown(before):
            self.news.append(News("cleared", rule, SEVERITY[rule], before.message))
            return replace(before, state="cleared", cleared_ms=now_ms)
        return None

    def _begin(self, rule: Rule, before: Kept | None, verdict: Verdict, now_ms: int) -> Kept:
        told_ms = before.told_ms if before is not None else 0
        begun = Kept(
            state="active", since_ms=now_ms, told_ms=told_ms, message=verdict.message, details=verdict.details
        )
        fires = before is None or self._may_fire(rule, before, now_ms)
        return self._fire(rule, begun, verdict, now_ms) if fires else begun

    def _may_fire(self, rule: Rule, kept: Kept, now_ms: int) -> bool:
        """A clock that was set back does not silence it."""
        cooldown: int = getattr(self.thresholds, rule).cooldown_ms
        return not 0 <= now_ms - kept.told_ms < cooldown

    def _fire(self, rule: Rule, kept: Kept, verdict: Verdict, now_ms: int) -> Kept:
        self.news.append(News("fired", rule, SEVERITY[rule], verdict.message))
        return replace(kept, told_ms=now_ms, message=verdict.message, details=verdict.details)

    # --- what people ask for -----------------------------------------------------------------------

    def answer(self, ask: Maintain) -> Decision:
        """A request of the gateway, which has checked who asks and the body's shape."""
        if ask.verb == "alert.acknowledge":
            return self._acknowledge(ask)
        if ask.verb == "alert.thresholds_put":
            return self._change(ask)
        return _reply(ask, Fault("not_found", f"{NAME} does not answer {ask.verb}"))

    def _acknowledge(self, ask: Maintain) -> Decision:
        """The same again changes nothing."""
        name = ask.args.get("rule_id", "")
        rule = next((rule for rule in RULES if rule == name), None)
        kept = self.kept.get(rule) if rule is not None else None
        if rule is None or kept is None or not is_shown(kept):
            return _reply(ask, missing("alert", name, "rule_id"))
        done = _reply(ask, AlertAcknowledged("acknowledged", rule))
        if kept.state == "acknowledged":
            return done
        self.kept[rule] = replace(kept, state="acknowledged", by=ask.by)
        self.news.append(News("acknowledged", rule, SEVERITY[rule], kept.message, ask.by))
        return self._decided([_put(rule, self.kept[rule])], "alert.acknowledged", done.outputs)

    def _change(self, ask: Maintain) -> Decision:
        """In force at the next check. What is as the settings have it follows them later too: a map that was read,
        changed elsewhere and sent back has their word in it."""
        self.thresholds = now = _settled(ask.body, self.blocked_ms)
        left = now.unanswered_questions.blocked_ms == self.blocked_ms
        kept = _with_blocked_ms(now, None) if left else now
        return Decision((_put(THRESHOLDS, kept),), _reply(ask, now).outputs, "alerts.thresholds")

    def _decided(self, ops: list[Op], event: str, more: tuple[Output, ...] = ()) -> Decision:
        return Decision(tuple(ops), (Output("gateway", self.condition()), *more), event)


# --- rows ------------------------------------------------------------------------------------------


def thresholds_of(row: Any, blocked_ms: int) -> Thresholds:
    """Those in force. A row that this release would not take from anybody is no reason to go without alerts."""
    try:
        kept = Thresholds() if row is None else msgspec.convert(row, Thresholds)
    except msgspec.ValidationError:
        kept = Thresholds()
    return _settled(kept, blocked_ms)


def _settled(asked: Thresholds, blocked_ms: int) -> Thresholds:
    """With the settings' word for what was left to them."""
    said = asked.unanswered_questions.blocked_ms
    return asked if said is not None else _with_blocked_ms(asked, blocked_ms)


def _with_blocked_ms(of: Thresholds, blocked_ms: int | None) -> Thresholds:
    return replace(of, unanswered_questions=replace(of.unanswered_questions, blocked_ms=blocked_ms))


def is_shown(kept: Kept | None) -> bool:
    """It holds, whether somebody looks after it or not."""
    return kept is not None and kept.state != "cleared"


def shown(rows: Iterable[Row]) -> list[AlertShown]:
    """What `/api/alerts` shows, from committed rows."""
    found = {str(key[0]): row for key, row in rows}
    kept = [(rule, _kept(found[rule])) for rule in sorted(RULES) if rule in found]
    return [
        AlertShown(
            rule_id=rule, severity=SEVERITY[rule], message=of.message, details=of.details, fired_at=of.since_ms,
            acknowledged=of.state == "acknowledged",
        )
        for rule, of in kept
        if is_shown(of)
    ]  # fmt: skip


def _kept(row: Any) -> Kept:
    return msgspec.convert(row, Kept)


def _sentence(kept: Kept) -> str:
    return kept.message + (f" ({kept.by} looks after it)" if kept.state == "acknowledged" else "")


def _put(name: str, row: Any) -> Op:
    return Put("alerts", (name,), msgspec.to_builtins(row))


def _reply(ask: Maintain, body: Any) -> Decision:
    return Decision(outputs=(Output(ask.reply_to, Reply(ask.request, body)),))
