"""Names, incarnations, watchers and dead letters, on the strict loop base."""

from __future__ import annotations

from supervisors.specs import SupervisorSpec, supervisor
from tests.supervisors.troupe import Boom, Say, Stage, Unavailable, play


def test_a_hard_need_is_up_before_the_actor_starts() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"), s.child("b", "NeedsA"))))
        assert s.told("started") == [("a", 1), ("b", 1)]
        assert s.told("up", "b") == []

    play(scene)


def test_a_watched_name_that_crashes_is_down_then_up_with_the_next_incarnation() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"), s.child("b", "NeedsA"))))
        await s.send("a", Boom())
        await s.until(lambda: s.told("up", "b"))
        assert s.told("down", "b") == ["a"]
        assert s.told("up", "b") == [("a", 2)]

    play(scene)


def test_a_soft_need_may_point_forward_and_is_told_when_it_comes() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("b", "WatchesA"), s.child("a"))))
        await s.until(lambda: s.told("up", "b") == [("a", 1)])

    play(scene)


def test_a_soft_need_that_is_already_up_is_told_after_the_start() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"), s.child("b", "WatchesA"))))
        await s.until(lambda: s.told("up", "b") == [("a", 1)])

    play(scene)


def test_incarnations_rise_over_the_restart_of_a_whole_supervisor() -> None:
    async def scene(s: Stage) -> None:
        inner = SupervisorSpec(children=(s.child("a"),))
        await s.raise_curtain(SupervisorSpec(children=(supervisor("inner", inner), s.child("b", "NeedsA"))))
        await s.root.crash("inner")
        await s.until(lambda: s.told("up", "b"))
        assert s.told("down", "b") == ["a"]
        assert s.told("up", "b") == [("a", 2)]
        assert s.told("started", "a") == [1, 1]

    play(scene)


def test_watchers_outlive_the_registry() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(intensity=9, children=(s.child("a"), s.child("b", "WatchesA"))))
        await s.until(lambda: s.told("up", "b") == [("a", 1)])
        await s.root.crash("registry")
        await s.until(lambda: len(s.told("up", "b")) > 1)
        await s.send("a", Boom())
        await s.until(lambda: s.told("down", "b") == ["a"])
        await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        assert s.told("started", "b") == [1]

    play(scene)


def test_the_host_may_watch_names_too() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"),)))
        seen: list[object] = []
        s.root.watch(["a"], lambda up: seen.append((up.name, up.incarnation)), seen.append)
        await s.send("a", Boom())
        await s.tree_until(lambda _: len(seen) == 3)
        assert seen == [("a", 1), "a", ("a", 2)]

    play(scene)


def test_a_dead_letter_that_waits_for_an_answer_gets_unavailable() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(SupervisorSpec(children=(s.child("a"),)))
        late = await s.root.where("a")
        await s.send("a", Boom())
        await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        s.port.send(late, Say("too late", s.port.address))
        s.port.send(late, Say("nobody waits"))
        await s.until(lambda: Unavailable("too late") in s.tale)

    play(scene)
