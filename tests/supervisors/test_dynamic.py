"""Dynamic children on the strict loop base: first use, sleep, quarantine, admission, requests."""

from __future__ import annotations

from typing import Any

from supervisors.messages import DeleteChild, Done, StartChild, TerminateChild, To
from supervisors.root import NodeInfo
from supervisors.specs import Backoff, DynamicSpec, SupervisorSpec, dynamic
from tests.supervisors.troupe import Boom, GoToSleep, Leave, Say, Stage, Unavailable, play

QUICK = Backoff(base_s=0.001, cap_s=0.002)


async def raise_curtain(
    s: Stage, *, script: dict[str, Any] | None = None, restart: Any = "permanent", **spec: Any
) -> None:
    template = s.child("agent.", script=script, restart=restart)
    many = DynamicSpec(template=template, backoff=QUICK, **spec)
    await s.raise_curtain(SupervisorSpec(children=(s.child("first"), dynamic("agents", many))))


def state(tree: dict[str, NodeInfo], name: str) -> str:
    return tree[name].state if name in tree else "unknown"


async def to(s: Stage, name: str, *messages: object) -> None:
    address = await s.root.where("agents")
    for message in messages:
        s.port.send(address, To(name, message))


def said(s: Stage, name: str) -> list[str]:
    return s.told("said", name)


def test_the_first_mail_starts_the_child_and_none_is_lost_or_reordered() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        await to(s, "agent.x", *(Say(str(n)) for n in range(50)))
        await s.until(lambda: len(said(s, "agent.x")) == 50)
        assert said(s, "agent.x") == [str(n) for n in range(50)]
        assert s.told("started", "agent.x") == [1]

    play(scene)


def test_sleep_and_wake_lose_no_mail_and_announce_nothing() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        s.root.watch(
            ["agent.x"],
            lambda up: s.tale.append(("up", up.incarnation)),
            lambda n: s.tale.append(("down", n)),
        )
        for nap in range(20):
            await to(s, "agent.x", Say(f"{nap}a"), GoToSleep(), Say(f"{nap}b"), Say(f"{nap}c"))
            await s.until(lambda nap=nap: f"{nap}c" in said(s, "agent.x"))
        assert said(s, "agent.x") == [f"{nap}{which}" for nap in range(20) for which in "abc"]
        assert len(s.told("started", "agent.x")) > 1
        assert [t for t in s.tale if isinstance(t, tuple)] == [("up", 1)]

    play(scene)


def test_a_sleeper_stays_visible_and_counts_no_restart() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, intensity=0)
        for start in (1, 2, 3):
            await to(s, "agent.x", Say("hello"), GoToSleep())
            tree = await s.tree_until(
                lambda t, start=start: state(t, "agent.x") == "asleep" and t["agent.x"].start == start
            )
            assert tree["agent.x"].restarts == 0

    play(scene)


def test_a_child_may_think_better_of_its_sleep() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, script={"may_refuse_sleep": True})
        await to(s, "agent.x", Say("1"), GoToSleep(), Say("2"))
        await s.until(lambda: said(s, "agent.x") == ["1", "2"])
        await to(s, "agent.x", Say("3"))
        await s.until(lambda: said(s, "agent.x") == ["1", "2", "3"])
        assert s.told("started", "agent.x") == [1]

    play(scene)


def test_a_child_over_its_budget_is_quarantined_and_its_siblings_never_notice() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, intensity=2, period_s=60)
        await to(s, "agent.good", Say("before"))
        await to(s, "agent.bad", Say("alive"))
        for start in (1, 2, 3):
            await s.tree_until(
                lambda t, start=start: state(t, "agent.bad") == "up" and t["agent.bad"].start == start
            )
            await to(s, "agent.bad", Boom())
        tree = await s.tree_until(lambda t: state(t, "agent.bad") == "quarantined")
        assert tree["agent.bad"].last_crash == "ValueError: boom"
        assert tree["agents"].restarts == 0
        await to(s, "agent.bad", Say("anyone?", s.port.address))
        await s.until(lambda: Unavailable("anyone?") in s.tale)
        await to(s, "agent.good", Say("after"))
        await s.until(lambda: said(s, "agent.good") == ["before", "after"])
        assert s.told("started", "agent.good") == [1]

    play(scene)


def test_an_operators_restart_ends_a_quarantine_with_a_fresh_budget() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, intensity=1, period_s=60)
        await to(s, "agent.bad", Say("1"))
        for start in (1, 2):
            await s.tree_until(
                lambda t, start=start: state(t, "agent.bad") == "up" and t["agent.bad"].start == start
            )
            await to(s, "agent.bad", Boom())
        await s.tree_until(lambda t: state(t, "agent.bad") == "quarantined")
        await s.root.restart("agent.bad")
        await to(s, "agent.bad", Say("2"), Boom())
        await s.tree_until(lambda t: state(t, "agent.bad") == "up" and t["agent.bad"].start == 4)
        assert said(s, "agent.bad") == ["1", "2"]

    play(scene)


def test_a_child_that_keeps_failing_to_start_is_quarantined_and_its_mail_answered() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, intensity=2, period_s=60, script={"crash_on_start_until": 99})
        await to(s, "agent.x", Say("hello?", s.port.address))
        await s.until(lambda: Unavailable("hello?") in s.tale)
        assert s.told("started", "agent.x") == [1, 2, 3]

    play(scene)


def test_mail_waits_out_a_failed_start() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, script={"crash_on_start_until": 2})
        await to(s, "agent.x", Say("1"), Say("2"))
        await s.until(lambda: said(s, "agent.x") == ["1", "2"])
        assert s.told("started", "agent.x") == [1, 2, 3]

    play(scene)


def test_aborted_children_come_back_outside_their_budget() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, intensity=0)
        await to(s, "agent.x", Say("1"))
        for start in (1, 2, 3):
            await s.tree_until(
                lambda t, start=start: state(t, "agent.x") == "up" and t["agent.x"].start == start
            )
            await to(s, "agent.x", Leave("aborted"))
        await s.tree_until(lambda t: state(t, "agent.x") == "up" and t["agent.x"].start == 4)

    play(scene)


def test_over_the_bound_of_waiting_mail_the_sender_is_told() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, max_waiting=2)
        await to(s, "agent.x", *(Say(str(n), s.port.address) for n in range(3)))
        await s.until(lambda: Unavailable("2") in s.tale and said(s, "agent.x") == ["0", "1"])

    play(scene)


def test_start_child_is_idempotent_by_name_and_admission_is_bounded() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, max_children=1)
        address = await s.root.where("agents")
        for request, name in enumerate(("agent.x", "agent.x", "agent.y", "stranger")):
            s.port.send(address, StartChild(name, s.port.address, request))
        await s.until(lambda: sum(isinstance(t, Done) for t in s.tale) == 4)
        answers = {t.request: t.ok for t in s.tale if isinstance(t, Done)}
        assert answers == {0: True, 1: True, 2: False, 3: False}
        await s.tree_until(lambda t: state(t, "agent.x") == "up")
        assert s.told("started") == [("first", 1), ("agent.x", 1)]
        await to(s, "agent.y", Say("room?", s.port.address))
        await s.until(lambda: Unavailable("room?") in s.tale)

    play(scene)


def test_a_terminated_child_takes_no_mail_until_started_and_a_deleted_one_is_forgotten() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        address = await s.root.where("agents")
        await to(s, "agent.x", Say("1"))
        await s.until(lambda: said(s, "agent.x") == ["1"])
        s.port.send(address, TerminateChild("agent.x"))
        await s.tree_until(lambda t: state(t, "agent.x") == "terminated")
        await to(s, "agent.x", Say("2", s.port.address))
        await s.until(lambda: Unavailable("2") in s.tale)
        s.port.send(address, StartChild("agent.x"))
        await s.tree_until(lambda t: state(t, "agent.x") == "up")
        s.port.send(address, DeleteChild("agent.x"))
        await s.tree_until(lambda t: "agent.x" not in t)
        assert s.told("stopping", "agent.x") == [1, 2]

    play(scene)


def test_a_transient_child_that_is_done_is_forgotten() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s, restart="transient")
        await to(s, "agent.x", Say("1"), Leave("normal"))
        await s.until(lambda: said(s, "agent.x") == ["1"])
        await s.tree_until(lambda t: "agent.x" not in t)

    play(scene)


def test_stopping_the_tree_stops_every_dynamic_child() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        for n in range(20):
            await to(s, f"agent.{n}", Say("hello"))
        await s.until(lambda: len(s.told("said")) == 20)
        await s.root.stop()
        await s.until(lambda: len(s.told("stopping")) == 21)
        assert s.told("stopping")[-1][0] == "first"
        assert len(s.base.figures()) == 0

    play(scene)


def test_a_crash_of_a_dynamic_child_is_told_as_down_then_up_with_a_higher_incarnation() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        s.root.watch(
            ["agent.x"],
            lambda up: s.tale.append(("up", up.incarnation)),
            lambda n: s.tale.append(("down", n)),
        )
        await to(s, "agent.x", Say("1"))
        await s.until(lambda: said(s, "agent.x") == ["1"])
        await to(s, "agent.x", Boom())
        await s.tree_until(lambda t: state(t, "agent.x") == "up" and t["agent.x"].start == 2)
        assert [t for t in s.tale if isinstance(t, tuple)] == [("up", 1), ("down", "agent.x"), ("up", 2)]

    play(scene)


def test_an_actor_reaches_a_dynamic_child_through_its_supervisors_name() -> None:
    async def scene(s: Stage) -> None:
        many = DynamicSpec(template=s.child("agent."))
        await s.raise_curtain(
            SupervisorSpec(children=(dynamic("agents", many), s.child("caller", "CallsAgent")))
        )
        await s.until(lambda: said(s, "agent.x") == ["called"])

    play(scene)


def test_restarts_are_told_of_all_but_the_many_below_a_dynamic_supervisor() -> None:
    async def scene(s: Stage) -> None:
        await raise_curtain(s)
        await to(s, "agent.x", Say("hello"))
        await s.until(lambda: said(s, "agent.x") == ["hello"])
        await s.root.restart("first")
        await s.until(lambda: s.told("started", "first") == [1, 2])
        found = await s.root.restarts()
        assert found.keys() == {"registry", "first", "agents"}
        assert (found["first"], found["agents"]) == ((await s.tree())["first"].restarts, 0)

    play(scene)
