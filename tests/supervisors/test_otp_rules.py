"""What OTP's manual says of supervisors, a rule a test, on the strict loop base.

Each name is the rule. The pure arithmetic (intensity, period, orders) is in test_restarts and test_restart_model, wrong
specs are in test_specs, and all combinations of restart type, exit and strategy are in test_grid.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from supervisors.messages import CrashNow, Done, StartChild
from supervisors.root import RefusedError, UnknownNameError
from supervisors.specs import DynamicSpec, InvalidSpecError, SupervisorSpec, dynamic, supervisor
from tests.supervisors.troupe import Boom, Leave, Stage, play


async def group(s: Stage, strategy: Any = "one_for_one", kinds: str = "ppp", **spec: Any) -> None:
    """Children a, b, c… of these kinds: permanent, transient, temporary (x)."""
    kind = {"p": "permanent", "t": "transient", "x": "temporary"}
    children = tuple(s.child(name, restart=kind[k]) for name, k in zip("abcdef", kinds, strict=False))
    await s.raise_curtain(SupervisorSpec(strategy=strategy, children=children, **spec))


async def started_again(s: Stage, name: str, start: int = 2) -> None:
    await s.tree_until(lambda t: name in t and t[name].start == start and t[name].state == "up")


def names(s: Stage, what: str) -> str:
    return "".join(name for name, _ in s.told(what))


# ── strategies ───────────────────────────────────────────────────────────────────────────────────


def test_one_for_one_restarts_only_the_child_that_ended() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_one")
        await s.send("b", Boom())
        await started_again(s, "b")
        assert (names(s, "started"), names(s, "stopping")) == ("abcb", "")

    play(scene)


def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_all")
        await s.send("b", Boom())
        await started_again(s, "c")
        assert (names(s, "started"), names(s, "stopping")) == ("abcabc", "ca")

    play(scene)


def test_rest_for_one_takes_along_those_that_started_after_it() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "rest_for_one", "pppp")
        await s.send("b", Boom())
        await started_again(s, "d")
        assert (names(s, "started"), names(s, "stopping")) == ("abcdbcd", "dc")

    play(scene)


def test_two_exits_at_once_cost_two_restarts_of_the_budget() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_one", intensity=1, period_s=60)
        a, b = await s.root.where("a"), await s.root.where("b")
        s.port.send(a, Boom())
        s.port.send(b, Boom())
        assert (await s.root.failed).reason == "gave up on b: ValueError: boom"

    play(scene)


def test_an_exit_during_a_sibling_restart_is_part_of_it_and_costs_nothing() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_all", intensity=1, period_s=60)
        a, c = await s.root.where("a"), await s.root.where("c")
        s.port.send(c, Boom())
        s.port.send(a, Leave("shutdown"))
        await started_again(s, "c")
        assert names(s, "started") == "abcabc"
        assert not s.root.failed.done()

    play(scene)


# ── restart types ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("end", ["normal", "shutdown", "crash"])
def test_a_permanent_child_is_always_restarted(end: str) -> None:
    async def scene(s: Stage) -> None:
        await group(s, kinds="p")
        await s.send("a", Boom() if end == "crash" else Leave(end))
        await started_again(s, "a")

    play(scene)


def test_a_transient_child_is_restarted_only_if_it_ended_abnormally() -> None:
    async def scene(s: Stage) -> None:
        await group(s, kinds="ttt", intensity=3)
        await s.send("a", Leave("normal"))
        await s.send("b", Leave("shutdown"))
        await s.send("c", Leave("of boredom"))
        await started_again(s, "c")
        tree = await s.tree()
        assert (tree["a"].state, tree["b"].state) == ("gone", "gone")

    play(scene)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
def test_a_temporary_child_is_not_restarted_even_with_its_siblings(strategy: str) -> None:
    async def scene(s: Stage) -> None:
        await group(s, strategy, "pxp")
        await s.send("a", Boom())
        await started_again(s, "c")
        assert names(s, "started") == "abcac"
        assert "b" not in await s.tree()

    play(scene)


def test_a_temporary_child_that_ends_takes_nobody_along_and_is_deleted() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_all", "pxp", intensity=0)
        await s.send("b", Boom())
        await s.tree_until(lambda t: "b" not in t)
        assert names(s, "started") == "abc"
        with pytest.raises(UnknownNameError):
            await s.root.restart("b")

    play(scene)


def test_a_transient_child_that_ended_well_comes_back_with_its_siblings() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_all", "tp")
        await s.send("a", Leave("normal"))
        await s.tree_until(lambda t: t["a"].state == "gone")
        await s.send("b", Boom())
        await started_again(s, "a")

    play(scene)


# ── intensity and period ─────────────────────────────────────────────────────────────────────────


def test_with_intensity_zero_the_first_restart_is_one_too_many() -> None:
    async def scene(s: Stage) -> None:
        await group(s, intensity=0)
        await s.send("b", Boom())
        assert (await s.root.failed).reason == "gave up on b: ValueError: boom"
        await s.until(lambda: names(s, "stopping") == "ca")
        assert names(s, "started") == "abc"

    play(scene)


def test_restarts_of_all_children_count_together() -> None:
    async def scene(s: Stage) -> None:
        await group(s, intensity=2, period_s=60)
        for name in "ab":
            await s.send(name, Boom())
            await started_again(s, name)
        await s.send("c", Boom())
        assert (await s.root.failed).reason == "gave up on c: ValueError: boom"

    play(scene)


def test_a_sibling_restart_counts_once_however_many_it_takes_along() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_all", "ppppp", intensity=1)
        await s.send("c", Boom())
        await started_again(s, "e")
        assert not s.root.failed.done()

    play(scene)


def test_ends_without_a_restart_count_nowhere() -> None:
    async def scene(s: Stage) -> None:
        await group(s, kinds="txx", intensity=0)
        await s.send("a", Leave("normal"))
        await s.send("b", Boom())
        await s.send("c", Leave("shutdown"))
        await s.tree_until(lambda t: t["a"].state == "gone" and not {"b", "c"} & set(t))
        assert not s.root.failed.done()

    play(scene)


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────


def test_a_shutdown_of_zero_kills_without_waiting() -> None:
    async def scene(s: Stage) -> None:
        deaf = s.child("a", script={"deaf_to_stop": True}, shutdown=0)
        root = await s.raise_curtain(SupervisorSpec(children=(deaf,)))
        await root.stop()
        assert s.base.figures() == []

    play(scene)


def test_a_shutdown_without_end_waits_as_long_as_it_takes() -> None:
    async def scene(s: Stage) -> None:
        deaf = s.child("a", script={"deaf_to_stop": True}, shutdown=math.inf)
        quick = s.child("b", script={"deaf_to_stop": True}, shutdown=0.01)
        await s.raise_curtain(SupervisorSpec(children=(deaf, quick)))
        address = await s.root.where("a")
        done = s.spawn(s.root.stop())
        await s.until(lambda: names(s, "stopping") == "ba")
        assert not done.done()
        s.port.send(address, Leave("shutdown"))
        await done

    play(scene)


def test_a_supervisor_is_given_all_the_time_that_its_children_need() -> None:
    async def scene(s: Stage) -> None:
        deaf = s.child("a", script={"deaf_to_stop": True}, shutdown=0.03)
        inner = supervisor("inner", SupervisorSpec(children=(deaf, s.child("b"))), shutdown=0.0)
        root = await s.raise_curtain(SupervisorSpec(children=(inner,)))
        await root.stop()
        await s.until(lambda: names(s, "stopping") == "ba")

    play(scene)


def test_a_supervisor_that_is_killed_takes_its_children_along() -> None:
    async def scene(s: Stage) -> None:
        inner = supervisor("inner", SupervisorSpec(children=(s.child("a"), s.child("b"))))
        await s.raise_curtain(SupervisorSpec(children=(inner,)))
        alive = len(s.base.figures())
        s.base.dispatcher.kill((await s.root.where("inner")).sink)
        await started_again(s, "inner")
        assert names(s, "started") == "abab"
        assert len(s.base.figures()) == alive

    play(scene)


# ── significant children ─────────────────────────────────────────────────────────────────────────


async def leads(s: Stage, mode: Any, strategy: Any = "one_for_one", restart: Any = "transient") -> None:
    lead = [s.child(name, restart=restart, significant=True) for name in "ab"]
    inner = SupervisorSpec(strategy=strategy, auto_shutdown=mode, intensity=9, children=(*lead, s.child("c")))
    await s.raise_curtain(SupervisorSpec(children=(supervisor("inner", inner, restart="transient"),)))


def test_a_supervisor_shut_down_by_a_significant_child_ended_in_order() -> None:
    async def scene(s: Stage) -> None:
        await leads(s, "any_significant")
        await s.send("a", Leave("normal"))
        await s.tree_until(lambda t: t["inner"].state == "gone")
        assert names(s, "stopping") == "cb"

    play(scene)


def test_all_significant_waits_for_the_last_of_them() -> None:
    async def scene(s: Stage) -> None:
        await leads(s, "all_significant")
        await s.send("a", Leave("normal"))
        tree = await s.tree_until(lambda t: t["a"].state == "gone")
        assert tree["inner"].state == "up"
        await s.send("b", Leave("normal"))
        await s.tree_until(lambda t: t["inner"].state == "gone")

    play(scene)


def test_a_significant_temporary_child_shuts_down_even_by_a_crash() -> None:
    async def scene(s: Stage) -> None:
        await leads(s, "any_significant", restart="temporary")
        await s.send("b", Boom())
        await s.tree_until(lambda t: t["inner"].state == "gone")

    play(scene)


def test_a_significant_child_that_is_restarted_shuts_nothing_down() -> None:
    async def scene(s: Stage) -> None:
        await leads(s, "any_significant")
        await s.send("a", Boom())
        await started_again(s, "a")
        assert (await s.tree())["inner"].state == "up"

    play(scene)


def test_a_significant_child_taken_along_by_a_sibling_shuts_nothing_down() -> None:
    async def scene(s: Stage) -> None:
        await leads(s, "any_significant", "one_for_all", "temporary")
        await s.send("c", Boom())
        tree = await started_tree(s, "c")
        assert tree["inner"].state == "up"
        assert not {"a", "b"} & set(tree)

    play(scene)


async def started_tree(s: Stage, name: str) -> dict[str, Any]:
    return await s.tree_until(lambda t: t[name].start == 2 and t[name].state == "up")


def test_a_significant_child_that_was_terminated_shuts_nothing_down() -> None:
    async def scene(s: Stage) -> None:
        await leads(s, "any_significant")
        await s.root.terminate("a")
        tree = await s.tree_until(lambda t: t["a"].state == "gone")
        assert tree["inner"].state == "up"

    play(scene)


# ── requests, for fixed children ─────────────────────────────────────────────────────────────────


def test_start_child_adds_one_after_the_others_and_supervises_it() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "rest_for_one", "pp")
        await s.root.start_child("root", s.child("z"))
        await s.tree_until(lambda t: "z" in t and t["z"].state == "up")
        await s.send("b", Boom())
        await started_again(s, "z")
        assert (names(s, "started"), names(s, "stopping")) == ("abzbz", "z")

    play(scene)


def test_start_child_refuses_a_name_that_is_there_and_a_wrong_spec() -> None:
    async def scene(s: Stage) -> None:
        await group(s)
        for spec, sentence in (
            (s.child("a"), "the name a is used already"),
            (s.child("z", restart="never"), "root/z: expected restart to be one of"),
            (s.child("z", "NeedsA", significant=True, restart="transient"), "auto_shutdown is never"),
        ):
            with pytest.raises((InvalidSpecError, RefusedError), match=sentence):
                await s.root.start_child("root", spec)
        with pytest.raises(RefusedError, match="a is no supervisor"):
            await s.root.start_child("a", s.child("z"))
        assert names(s, "started") == "abc"

    play(scene)


def test_a_terminated_child_is_kept_and_started_again_by_request() -> None:
    async def scene(s: Stage) -> None:
        await group(s, intensity=0)
        await s.root.terminate("b")
        await s.tree_until(lambda t: t["b"].state == "gone")
        await s.root.restart("b")
        await started_again(s, "b")
        assert not s.root.failed.done()

    play(scene)


def test_a_terminated_child_may_come_back_with_its_siblings() -> None:
    async def scene(s: Stage) -> None:
        await group(s, "one_for_all", "pp")
        await s.root.terminate("a")
        await s.tree_until(lambda t: t["a"].state == "gone")
        await s.send("b", Boom())
        await started_again(s, "a")

    play(scene)


def test_a_terminated_temporary_child_is_deleted() -> None:
    async def scene(s: Stage) -> None:
        await group(s, kinds="px")
        await s.root.terminate("b")
        await s.tree_until(lambda t: "b" not in t)

    play(scene)


def test_a_deleted_child_is_stopped_forgotten_and_its_name_free_again() -> None:
    async def scene(s: Stage) -> None:
        await group(s)
        await s.root.delete("b")
        await s.tree_until(lambda t: "b" not in t)
        await s.root.start_child("root", s.child("b"))
        tree = await s.tree_until(lambda t: "b" in t and t["b"].state == "up")
        assert names(s, "stopping") == "b"
        assert (tree["b"].restarts, tree["b"].last_crash) == (0, "")
        # Its notices can be told from those of the first b, however late these come.
        assert tree["b"].start == 2

    play(scene)


def test_a_start_asked_for_while_a_child_is_terminated_follows_its_end() -> None:
    async def scene(s: Stage) -> None:
        await group(s, kinds="p")
        await s.root.terminate("a")
        await s.root.restart("a")
        await started_again(s, "a")

    play(scene)


def test_which_and_count_tell_of_running_and_other_children() -> None:
    async def scene(s: Stage) -> None:
        inner = supervisor("inner", SupervisorSpec(children=(s.child("i"),)))
        many = dynamic("many", DynamicSpec(template=s.child("m.")))
        await s.raise_curtain(
            SupervisorSpec(children=(s.child("a", restart="transient"), s.child("b"), inner, many))
        )
        await s.send("a", Leave("normal"))
        await s.tree_until(lambda t: t["a"].state == "gone")
        counts = await s.root.count("root")  # the registry is one of them
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (5, 4, 2, 3)
        counts = await s.root.count("many")
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (0, 0, 0, 0)
        with pytest.raises(RefusedError, match="b is no supervisor"):
            await s.root.count("b")

    play(scene)


def test_dynamic_children_are_counted_asleep_or_not() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(
            SupervisorSpec(children=(dynamic("many", DynamicSpec(template=s.child("m."))),))
        )
        many = await s.root.where("many")
        for request, name in enumerate(("m.x", "m.y", "m.z")):
            s.port.send(many, StartChild(name, s.port.address, request))
        await s.tree_until(lambda t: all(n in t and t[n].state == "up" for n in ("m.x", "m.y", "m.z")))
        await s.root.terminate("m.y")
        await s.tree_until(lambda t: t["m.y"].state == "terminated")
        counts = await s.root.count("many")
        assert (counts.specs, counts.active, counts.workers) == (3, 2, 3)

    play(scene)


def test_requests_that_do_not_fit_the_supervisor_are_refused_with_the_reason() -> None:
    async def scene(s: Stage) -> None:
        many = dynamic("many", DynamicSpec(template=s.child("m.")))
        inner = supervisor("inner", SupervisorSpec(children=(s.child("a"),)))
        await s.raise_curtain(SupervisorSpec(children=(inner, many)))
        asked = [
            ("inner", StartChild("a", s.port.address, 1, args="x"), "give a spec, not args"),
            ("inner", StartChild("q", s.port.address, 2), "no child q"),
            ("inner", StartChild("a", s.port.address, 3, spec=s.child("a")), "already has a child a"),
            ("inner", StartChild("q", s.port.address, 4, spec=s.child("r")), "expected the ChildSpec of q"),
            ("many", StartChild("m.x", s.port.address, 5, spec=s.child("m.x")), "give args, not a spec"),
        ]
        for name, request, _ in asked:
            s.port.send(await s.root.where(name), request)
        await s.until(lambda: sum(isinstance(t, Done) for t in s.tale) == len(asked))
        answers = {t.request: t.text for t in s.tale if isinstance(t, Done) and not t.ok}
        assert all(sentence in answers[request.request] for _, request, sentence in asked), answers

    play(scene)


def test_a_supervisor_that_is_stopping_refuses_requests() -> None:
    async def scene(s: Stage) -> None:
        deaf = s.child("a", script={"deaf_to_stop": True}, shutdown=0.05)
        inner = supervisor("inner", SupervisorSpec(children=(deaf,)))
        await s.raise_curtain(SupervisorSpec(children=(inner,)))
        address = await s.root.where("inner")
        await s.root.terminate("inner")
        s.port.send(address, StartChild("a", s.port.address, 7))
        await s.until(lambda: Done(7, False, "inner is stopping") in s.tale)

    play(scene)


def test_a_crash_of_the_supervisor_itself_is_restarted_by_its_own() -> None:
    async def scene(s: Stage) -> None:
        inner = supervisor("inner", SupervisorSpec(children=(s.child("a"),)))
        await s.raise_curtain(SupervisorSpec(children=(inner, s.child("b"))))
        await s.send("inner", CrashNow())
        await started_again(s, "inner")
        assert names(s, "started") == "aba"

    play(scene)
