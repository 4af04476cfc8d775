"""A tree of fixed children and the orders it promises, on the strict loop base. OTP's grid is in test_grid."""

from __future__ import annotations

import asyncio

import pytest
from thespian.actors import ChildActorExited

from supervisors.messages import Crashed, Exiting
from supervisors.parent import Parent
from supervisors.root import RootGaveUpError, UnknownNameError
from supervisors.specs import Backoff, SupervisorSpec, supervisor
from tests.supervisors.troupe import Boom, Leave, Say, Stage, Unavailable, play


def test_children_start_in_order_and_stop_in_reverse() -> None:
    async def scene(s: Stage) -> None:
        inner = SupervisorSpec(children=(s.child("b"), s.child("c")))
        root = await s.raise_curtain(
            SupervisorSpec(children=(s.child("a"), supervisor("inner", inner), s.child("d")))
        )
        assert [name for name, _ in s.told("started")] == [*"abcd"]
        await root.stop()
        await s.until(lambda: len(s.told("stopping")) == 4)
        assert [name for name, _ in s.told("stopping")] == [*"dcba"]
        assert not root.failed.done()

    play(scene)


def test_a_crash_is_reported_once_with_its_reason_and_runs_once() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"),)))
        await s.send("a", Boom())
        tree = await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        assert tree["a"].last_crash == "ValueError: boom"
        assert tree["a"].restarts == 1
        assert s.told("started", "a") == [1, 2]

    play(scene)


def test_over_its_intensity_the_root_gives_up_and_names_child_and_crash() -> None:
    async def scene(s: Stage) -> None:
        root = await s.raise_curtain(
            SupervisorSpec(intensity=1, period_s=60, children=(s.child("a"), s.child("b")))
        )
        await s.send("b", Boom())
        await s.tree_until(lambda t: t["b"].start == 2 and t["b"].state == "up")
        await s.send("b", Boom())
        gave_up = await root.failed
        assert gave_up.reason == "gave up on b: ValueError: boom"
        assert "stage" not in gave_up.last_crash
        assert "ValueError: boom" in gave_up.last_crash
        assert s.told("stopping", "a") == [1]

    play(scene)


def test_a_nested_supervisor_that_gives_up_is_a_crash_to_its_own() -> None:
    async def scene(s: Stage) -> None:
        inner = SupervisorSpec(intensity=0, children=(s.child("b"),))
        root = await s.raise_curtain(
            SupervisorSpec(intensity=1, period_s=60, children=(s.child("a"), supervisor("inner", inner)))
        )
        await s.send("b", Boom())
        await s.until(lambda: s.told("started", "b") == [1, 1])
        await s.tree_until(lambda t: t["inner"].start == 2 and t["inner"].state == "up")
        await s.send("b", Boom())
        gave_up = await root.failed
        assert gave_up.reason == "gave up on inner: gave up on b: ValueError: boom"
        assert "Traceback" in gave_up.last_crash
        assert s.told("started", "a") == [1]

    play(scene)


def test_aborted_exits_wait_and_count_against_no_budget() -> None:
    async def scene(s: Stage) -> None:
        quick = Backoff(base_s=0.001, cap_s=0.002)
        root = await s.raise_curtain(SupervisorSpec(intensity=0, backoff=quick, children=(s.child("a"),)))
        for start in range(1, 5):
            await s.tree_until(lambda t, start=start: t["a"].start == start and t["a"].state == "up")
            await s.send("a", Leave("aborted"))
        await s.tree_until(lambda t: t["a"].start == 5 and t["a"].state == "up")
        assert not root.failed.done()

    play(scene)


def test_a_child_that_never_gets_ready_is_killed_and_started_again() -> None:
    async def scene(s: Stage) -> None:
        shy = s.child("b", script={"silent_until": 1}, start_timeout_s=0.01)
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"), shy, s.child("c"))))
        assert s.told("started") == [("a", 1), ("b", 1), ("b", 2), ("c", 1)]

    play(scene)


def test_a_child_that_fails_to_start_ends_the_tree_before_it_is_ready() -> None:
    async def scene(s: Stage) -> None:
        wreck = s.child("b", script={"crash_on_start_until": 99})
        with pytest.raises(RootGaveUpError, match="gave up on b: ValueError: stage fright"):
            await s.raise_curtain(SupervisorSpec(children=(s.child("a"), wreck, s.child("c"))))
        assert s.told("stopping", "a") == [1]
        assert s.told("started", "c") == []

    play(scene)


def test_a_child_that_cannot_even_be_constructed_is_a_failed_start() -> None:
    async def scene(s: Stage) -> None:
        with pytest.raises(RootGaveUpError, match="gave up on a: killed"):
            await s.raise_curtain(SupervisorSpec(children=(s.child("a", "BornDead"),)))

    play(scene)


def test_a_child_deaf_to_stop_is_killed_after_its_shutdown_time() -> None:
    async def scene(s: Stage) -> None:
        deaf = s.child("b", script={"deaf_to_stop": True}, shutdown=0.01)
        root = await s.raise_curtain(SupervisorSpec(children=(s.child("a"), deaf)))
        await root.stop()
        await s.until(lambda: len(s.told("stopping")) == 2)
        assert [name for name, _ in s.told("stopping")] == ["b", "a"]

    play(scene)


def test_mail_to_an_actor_that_is_ending_is_answered_not_handled() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"),)))
        address = await s.root.where("a")
        for msg in (Boom(), Say("x", s.port.address)):
            s.port.send(address, msg)
        await s.until(lambda: Unavailable("x") in s.tale)
        assert s.told("said") == []

    play(scene)


@pytest.mark.parametrize(("mode", "ends"), [("any_significant", 1), ("all_significant", 2)])
def test_significant_children_end_their_supervisor(mode: str, ends: int) -> None:
    async def scene(s: Stage) -> None:
        leads = [s.child(n, restart="transient", significant=True) for n in "ab"]
        root = await s.raise_curtain(SupervisorSpec(auto_shutdown=mode, children=(*leads, s.child("c"))))
        for name in "ab"[:ends]:
            assert not root.failed.done()
            await s.send(name, Leave("normal"))
            await s.until(lambda: root.failed.done() or True)
        gave_up = await root.failed
        assert gave_up.reason == "shutdown"

    play(scene)


def test_an_operators_restart_takes_the_rest_along_and_counts_nowhere() -> None:
    async def scene(s: Stage) -> None:
        root = await s.raise_curtain(
            SupervisorSpec(
                strategy="rest_for_one", intensity=0, children=(s.child("a"), s.child("b"), s.child("c"))
            )
        )
        await root.restart("b")
        await s.tree_until(lambda t: t["c"].start == 2 and t["c"].state == "up")
        assert [n for n, _ in s.told("stopping")] == ["c", "b"]
        assert [n for n, _ in s.told("started")] == [*"abc", *"bc"]

    play(scene)


def test_chaos_can_crash_any_name() -> None:
    async def scene(s: Stage) -> None:
        root = await s.raise_curtain(SupervisorSpec(children=(s.child("a"),)))
        await root.crash("a")
        tree = await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        assert tree["a"].last_crash == "InjectedCrash: crash asked for"

    play(scene)


# ── what the system may do to a supervisor ───────────────────────────────────────────────────────


def test_exit_notices_that_are_doubled_or_about_strangers_are_harmless() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(
            SupervisorSpec(children=(supervisor("inner", SupervisorSpec(children=(s.child("a"),))),))
        )
        old, inner = await s.root.where("a"), await s.root.where("inner")
        await s.send("a", Boom())
        await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        for address in (old, old, s.port.address):
            s.port.send(inner, ChildActorExited(address))
        s.port.send(inner, Exiting("a", 1, "normal"))
        s.port.send(inner, Crashed("stranger", 1, "boom", "", ""))
        await s.root.restart("a")
        tree = await s.tree_until(lambda t: t["a"].start == 3 and t["a"].state == "up")
        assert tree["inner"].start == 1

    play(scene)


def test_an_exit_notice_that_never_comes_is_taken_for_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parent, "notice_grace_s", 0.01)

    async def scene(s: Stage) -> None:
        await s.raise_curtain(
            SupervisorSpec(children=(supervisor("inner", SupervisorSpec(children=(s.child("a"),))),))
        )
        inner = await s.root.where("inner")
        s.port.send(inner, Exiting("a", 1, "boom"))  # as if its process died after saying so
        await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")

    play(scene)


def test_a_tree_may_be_stopped_while_it_starts() -> None:
    async def scene(s: Stage) -> None:
        never = s.child("b", script={"silent_until": 99})
        starting = asyncio.ensure_future(s.raise_curtain(SupervisorSpec(children=(s.child("a"), never))))
        await s.until(lambda: s.told("started", "b"))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert [name for name, _ in s.told("stopping")] == ["b", "a"]
        assert s.base.figures() == []

    play(scene)


def test_a_supervisor_that_crashes_takes_its_children_down_and_comes_back_with_new_ones() -> None:
    async def scene(s: Stage) -> None:
        inner = SupervisorSpec(children=(s.child("a"), s.child("b")))
        await s.raise_curtain(SupervisorSpec(children=(supervisor("inner", inner),)))
        before = len(s.base.figures())
        await s.root.crash("inner")
        await s.tree_until(lambda t: t["inner"].start == 2 and t["inner"].state == "up")
        assert [name for name, _ in s.told("started")] == [*"abab"]
        assert len(s.base.figures()) == before

    play(scene)


def test_no_restart_leaves_anything_behind() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(intensity=1_000, children=(s.child("a"), s.child("b"))))
        before = len(s.base.figures())
        for start in range(1, 101):
            await s.until(lambda start=start: s.told("started", "a")[-1] == start)
            await s.send("a", Boom())
        await s.tree_until(lambda t: t["a"].start == 101 and t["a"].state == "up")
        assert len(s.base.figures()) == before

    play(scene)


def test_a_tree_that_has_ended_says_so_at_once() -> None:
    async def scene(s: Stage) -> None:
        root = await s.raise_curtain(SupervisorSpec(children=(s.child("a"),)))
        await root.stop()
        await root.stop()
        assert [(n.name, n.state) for n in await root.tree()] == [("root", "ended")]
        assert await root.where("a") is None
        with pytest.raises(UnknownNameError, match="no actor named a"):
            await root.restart("a")

    play(scene)


def test_the_tree_shows_every_actor_under_its_parent() -> None:
    async def scene(s: Stage) -> None:
        inner = SupervisorSpec(children=(s.child("b"), s.child("c", restart="transient")))
        root = await s.raise_curtain(SupervisorSpec(children=(s.child("a"), supervisor("inner", inner))))
        await s.send("c", Leave("normal"))
        await s.tree_until(lambda t: t["c"].state == "gone")
        lines = [(n.name, n.parent, n.kind, n.state) for n in await root.tree()]
        assert lines == [
            ("root", "", "supervisor", "up"),
            ("registry", "root", "worker", "up"),
            ("a", "root", "worker", "up"),
            ("inner", "root", "supervisor", "up"),
            ("b", "inner", "worker", "up"),
            ("c", "inner", "worker", "gone"),
        ]

    play(scene)
