"""Rates of single subjects, and exemptions: what an administrator sets at run time, one row each in `config`.

May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from typing import Any

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.directory_base import Asked, done, refused
from agentcom.core.limits import Override, from_row, to_row
from agentcom.core.messages import Fault, LimitChanged
from agentcom.core.rates import TIERS, Rate
from agentcom.protocol import views
from agentcom.protocol.bodies import Exempted, Exemption, NewLimits
from agentcom.protocol.ops import Delete, Op, Put

PREFIX = "limits/"
"""Of the names in `config`; the subject follows."""


def overrides(rows: Any) -> dict[str, Override]:
    """All of them, by subject."""
    found: dict[str, Override] = {}
    after = (PREFIX,)
    while slice_ := rows.scan("config", (), after=after, limit=500):
        for (name,), row in slice_:
            if not name.startswith(PREFIX):
                return found
            if override := from_row(row):
                found[name.removeprefix(PREFIX)] = override
        after = slice_[-1][0]
    return found


def override_of(rows: Rows, subject: str) -> Override | None:
    return from_row(rows.get("config", (PREFIX + subject,)))


def _subject(asked: Asked) -> str | Fault:
    """Of the path. A row's key must hold it."""
    subject = asked.msg.args.get("subject", "")
    if not subject or not subject.isprintable() or len(subject) > 120:
        return Fault("bad_frame", "expected a subject of up to 120 printable characters", "subject")
    return subject


def _save(subject: str, what: Override | None) -> tuple[Op, Output]:
    key = (PREFIX + subject,)
    gone = what is None or not (what.exempt or what.rates)
    op: Op = Delete("config", key) if gone or what is None else Put("config", key, to_row(what))
    return op, Output("gateway", LimitChanged(subject))


def _set(asked: Asked) -> Decision:
    subject, body = _subject(asked), asked.msg.body
    assert isinstance(body, NewLimits)
    if isinstance(subject, Fault):
        return refused(asked, subject)
    given: dict[str, Any] = {tier: getattr(body, tier) for tier in TIERS if getattr(body, tier) is not None}
    if not given:
        return refused(asked, Fault("bad_frame", "name at least one tier: light, normal, heavy", "light"))
    before = override_of(asked.rows, subject) or Override()
    rates = {tier: Rate(rate.refill_rate_per_min, rate.capacity) for tier, rate in given.items()}
    op, tell = _save(subject, before._replace(rates={**before.rates, **rates}))
    return done(asked, (op,), views.Acknowledged("updated"), tell=(tell,))


def _reset(asked: Asked) -> Decision:
    """Back to the defaults. An exemption stays: it is another list's."""
    subject = _subject(asked)
    if isinstance(subject, Fault):
        return refused(asked, subject)
    before = override_of(asked.rows, subject)
    if before is None or not before.rates:
        return done(asked, (), views.Acknowledged("removed"))
    op, tell = _save(subject, before._replace(rates={}))
    return done(asked, (op,), views.Acknowledged("removed"), tell=(tell,))


def _exempt(asked: Asked) -> Decision:
    body = asked.msg.body
    assert isinstance(body, Exemption)
    return _exempting(asked, {body.agent_id: True}, "added")


def _unexempt(asked: Asked) -> Decision:
    subject = _subject(asked)
    return (
        refused(asked, subject)
        if isinstance(subject, Fault)
        else _exempting(asked, {subject: False}, "removed")
    )


def _exempt_only(asked: Asked) -> Decision:
    """These and nobody else."""
    body = asked.msg.body
    assert isinstance(body, Exempted)
    exempt = {subject for subject, override in overrides(asked.rows).items() if override.exempt}
    wanted = set(body.agent_ids)
    return _exempting(asked, {subject: subject in wanted for subject in sorted(exempt | wanted)}, "updated")


def _exempting(asked: Asked, wanted: dict[str, bool], said: str) -> Decision:
    ops, told = [], []
    for subject, exempt in wanted.items():
        before = override_of(asked.rows, subject) or Override()
        if before.exempt != exempt:
            op, tell = _save(subject, before._replace(exempt=exempt))
            ops.append(op)
            told.append(tell)
    return done(asked, tuple(ops), views.Acknowledged(said), tell=tuple(told))


LIMIT_VERBS: dict[str, Callable[[Asked], Decision]] = {
    "limits.set": _set,
    "limits.reset": _reset,
    "limits.exempt": _exempt,
    "limits.unexempt": _unexempt,
    "limits.exempt_only": _exempt_only,
}
