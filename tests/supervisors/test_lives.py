"""One dynamic child's life, pure; then: whatever happens, every mail is handled or answered, once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thespian.actors import ActorExitRequest

from supervisors import lives
from supervisors.lives import Life
from supervisors.messages import DeleteChild, Restart, StartChild, TerminateChild, To
from supervisors.specs import Backoff, ChildSpec, DynamicSpec, SupervisorSpec, dynamic
from tests.supervisors.troupe import Boom, GoToSleep, Leave, Say, Stage, Told, Unavailable, play

SPEC = DynamicSpec(
    template=ChildSpec(name="agent.", actor="x:Y"),
    intensity=2,
    period_s=10,
    backoff=Backoff(base_s=1, cap_s=8),
)


def test_restarts_over_the_intensity_quarantine_and_older_ones_are_forgiven() -> None:
    life = Life()
    for start, now in enumerate((0.0, 1.0, 11.5), start=1):
        life, acts = lives.on_wanted(life, now) if start == 1 else (life, ("start",))
        assert acts == ("start",)
        life, _ = lives.on_ready(life, now)
        life, acts = lives.on_exit(life, SPEC, "boom", now, 1.0)
        assert acts == ("start",)
    for now in (12.0,):
        life, _ = lives.on_ready(life, now)
        life, _ = lives.on_exit(life, SPEC, "boom", now, 1.0)
        life, _ = lives.on_ready(life, now)
        life, acts = lives.on_exit(life, SPEC, "boom", now, 1.0)
    assert (life.phase, acts) == ("quarantined", ("quarantine", "refuse"))
    assert lives.on_wanted(life, 99.0) == (life, ())


def test_a_failed_start_waits_and_mail_does_not_cut_the_wait_short() -> None:
    life, _ = lives.on_wanted(Life(), 0.0)
    life, acts = lives.on_exit(life, SPEC, "boom", 0.0, 1.0)
    assert (acts, life.due) == (("wait",), 1.0)
    assert lives.on_wanted(life, 0.5) == (life, ())
    life, acts = lives.on_wanted(life, 1.0)
    assert acts == ("start",)


@pytest.mark.parametrize(
    "phase", ["down", "starting", "draining", "stopping", "asleep", "quarantined", "terminated"]
)
def test_only_one_who_is_up_may_sleep(phase: Any) -> None:
    assert lives.on_may_sleep(Life(phase=phase)) == (Life(phase=phase), ())


def test_a_child_that_crashes_while_it_drains_did_not_fall_asleep() -> None:
    draining = Life(phase="draining", start=1)
    assert lives.on_exit(draining, SPEC, "normal", 0.0, 1.0)[0].phase == "asleep"
    assert lives.on_exit(draining, SPEC, "boom", 0.0, 1.0)[0].phase == "starting"


def test_one_who_stays_awake_gets_the_mail_that_came_meanwhile() -> None:
    assert lives.on_stay_awake(Life(phase="draining")) == (Life(phase="up"), ("deliver",))
    assert lives.on_stay_awake(Life(phase="asleep")) == (Life(phase="asleep"), ())


def test_a_stop_that_was_asked_for_counts_nowhere() -> None:
    for after, phase in (("restart", "starting"), ("down", "terminated"), ("forget", "down")):
        life, acts = lives.on_stop(Life(phase="up", start=1, window=(1.0,)), after, 2.0)  # type: ignore[arg-type]
        assert acts == ("stop",)
        life, _ = lives.on_exit(life, SPEC, "killed", 3.0, 1.0)
        assert (life.phase, life.window) == (phase, ())


def test_one_who_is_late_is_killed_and_counted() -> None:
    life, acts = lives.on_late(Life(phase="starting", start=1))
    assert acts == ("kill",)
    life, acts = lives.on_exit(life, SPEC, "normal", 0.0, 1.0)
    assert (acts, life.window) == (("wait",), (0.0,))
    assert lives.on_late(Life(phase="up")) == (Life(phase="up"), ())


# ── every mail is handled or answered ────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["agent.x", "agent.y"])
TROUBLE = st.sampled_from(
    ["boom", "sleep", "normal", "aborted", "kill", "restart", "terminate", "delete", "start", "breathe"]
)
STEPS = st.lists(st.tuples(NAMES, st.one_of(TROUBLE, st.just("say"))), min_size=1, max_size=40)


async def perform(s: Stage, name: str, step: str, number: int) -> None:
    agents = await s.root.where("agents") if number == 0 or step == "breathe" else s.agents
    s.agents = agents
    by_mail: dict[str, Any] = {
        "say": Say(str(number), s.port.address),
        "boom": Boom(),
        "sleep": GoToSleep(),
        "normal": Leave("normal"),
        "aborted": Leave("aborted"),
    }
    requests: dict[str, Any] = {
        "restart": Restart(name),
        "terminate": TerminateChild(name),
        "delete": DeleteChild(name),
        "start": StartChild(name),
    }
    if step in by_mail:
        s.port.send(agents, To(name, by_mail[step]))
    elif step in requests:
        s.port.send(agents, requests[step])
    elif step == "kill" and (victim := await s.root.where(name)) is not None:
        s.port.send(victim, ActorExitRequest())


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    refuses=st.booleans(),
    flaky=st.integers(0, 1),
    restart=st.sampled_from(["permanent", "transient", "temporary"]),
)
def test_whatever_happens_every_mail_is_handled_or_answered_once(
    steps: list[tuple[str, str]], refuses: bool, flaky: int, restart: Any
) -> None:
    async def scene(s: Stage) -> None:
        script = {"may_refuse_sleep": refuses, "crash_on_start_until": flaky}
        template = s.child("agent.", script=script, restart=restart)
        quick = Backoff(base_s=0.001, cap_s=0.002)
        many = DynamicSpec(template=template, intensity=3, period_s=60, backoff=quick)
        await s.raise_curtain(SupervisorSpec(children=(dynamic("agents", many),)))
        for number, (name, step) in enumerate(steps):
            await perform(s, name, step, number)
        wanted = Counter(str(n) for n, (_, step) in enumerate(steps) if step == "say")

        def outcomes() -> Counter[str]:
            said = [t.detail for t in s.tale if isinstance(t, Told) and t.what == "said"]
            return Counter(said + [t.text for t in s.tale if isinstance(t, Unavailable)])

        await s.until(lambda: outcomes() >= wanted)
        await s.root.stop()
        assert outcomes() == wanted
        assert s.base.figures() == []

    play(scene)
