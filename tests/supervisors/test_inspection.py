"""What an operator is told of one actor, on the strict loop base."""

from __future__ import annotations

import pytest

from supervisors.inspection import Budget
from supervisors.messages import To
from supervisors.root import UnknownNameError
from supervisors.specs import Backoff, DynamicSpec, SupervisorSpec, dynamic
from tests.supervisors.troupe import Boom, Leave, Say, Stage, play


async def raise_curtain(s: Stage) -> None:
    many = DynamicSpec(template=s.child("agent."), intensity=1, backoff=Backoff(base_s=0.001, cap_s=0.002))
    children = (s.child("a"), s.child("b", "NeedsA"), dynamic("agents", many))
    await s.raise_curtain(SupervisorSpec(intensity=3, period_s=60.0, children=children))


def test_an_actor_shows_its_class_needs_crash_and_the_shared_budget() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        await s.send("a", Boom())
        await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        shown = await s.root.inspect("a")
        assert shown is not None
        assert shown.actor == "tests.supervisors.troupe:Player"
        assert shown.last_exit == "ValueError: boom"
        assert 'raise ValueError("boom")' in shown.traceback
        assert shown.budget == Budget(intensity=3, period_s=60.0, spent=1, shared=True)
        other = await s.root.inspect("b")
        assert other is not None
        assert (other.needs, other.last_exit, other.budget.spent) == (("a",), "", 1)

    play(scene)


def test_a_quarantined_child_shows_its_own_spent_budget() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        address = await s.root.where("agents")
        s.port.send(address, To("agent.good", Say("here")))
        for start in (1, 2):
            s.port.send(address, To("agent.bad", Leave("bad data")))
            await s.until(lambda start=start: s.told("started", "agent.bad") >= list(range(1, start + 1)))
        await s.tree_until(lambda t: "agent.bad" in t and t["agent.bad"].state == "quarantined")
        bad, good = await s.root.inspect("agent.bad"), await s.root.inspect("agent.good")
        assert bad is not None
        assert good is not None
        assert (bad.last_exit, bad.budget.spent, bad.budget.shared) == ("bad data", 2, False)
        assert good.budget.spent == 0

    play(scene)


def test_the_root_has_no_supervisor_to_tell_of_it_and_a_stranger_is_refused() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        assert await s.root.inspect("root") is None
        with pytest.raises(UnknownNameError):
            await s.root.inspect("nobody")

    play(scene)
