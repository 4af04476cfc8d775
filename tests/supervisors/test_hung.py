"""A child with `hang_s` that does not answer is killed; and words that come too late change nothing."""

from __future__ import annotations

from typing import Any

from supervisors.messages import Crashed, Exiting, Pong, Ready, Which
from supervisors.specs import Backoff, DynamicSpec, SupervisorSpec, dynamic, supervisor
from tests.supervisors.troupe import Say, Stage, play

SOON = 0.01


def test_a_child_that_does_not_answer_in_time_is_killed_and_started_again() -> None:
    async def scene(s: Stage) -> None:
        stuck = s.child("a", "Stuck", hang_s=SOON)
        root = await s.raise_curtain(SupervisorSpec(children=(stuck, s.child("b"))))
        tree = await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        assert tree["a"].last_crash == f"hung: no answer within {SOON} s"
        assert tree["b"].start == 1
        assert (await root.failed).reason == f"gave up on a: hung: no answer within {SOON} s"

    play(scene)


def test_a_hung_child_counts_as_crashed_whatever_it_says_at_last(monkeypatch: Any) -> None:
    monkeypatch.setattr("supervisors.parent.Parent.notice_grace_s", 10 * SOON)
    monkeypatch.setattr("supervisors.parent.kill_actor", lambda actor, address: None)

    async def scene(s: Stage) -> None:
        stuck = s.child("a", "Stuck", hang_s=SOON, restart="transient")
        inner = supervisor("inner", SupervisorSpec(intensity=0, children=(stuck,)))
        root = await s.raise_curtain(SupervisorSpec(intensity=0, children=(inner,)))
        await s.tree_until(lambda t: "a" in t and "hung" in t["a"].last_crash)
        s.port.send(await s.root.where("inner"), Exiting("a", 1, "normal"))
        assert "gave up on a: hung" in (await root.failed).reason

    play(scene)


def test_a_hung_dynamic_child_is_killed_and_its_mail_goes_to_the_next_life() -> None:
    async def scene(s: Stage) -> None:
        template = s.child("agent.", "StuckOnce", hang_s=SOON)
        many = DynamicSpec(template=template, backoff=Backoff(base_s=0.001, cap_s=0.002))
        await s.raise_curtain(SupervisorSpec(children=(dynamic("agents", many),)))
        await s.to("agents", "agent.x", Say("1"))
        await s.tree_until(
            lambda t: "agent.x" in t and t["agent.x"].start == 2 and t["agent.x"].state == "up"
        )
        await s.to("agents", "agent.x", Say("2"))
        await s.until(lambda: "2" in s.told("said", "agent.x"))

    play(scene)


def test_a_child_that_answers_is_left_alone() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(
            SupervisorSpec(intensity=0, children=(s.child("a", "Counts", hang_s=4 * SOON),))
        )
        await s.until(lambda: len(s.told("pinged")) >= 4)
        assert (await s.tree())["a"].start == 1

    play(scene)


def test_a_child_without_hang_s_is_never_asked() -> None:
    async def scene(s: Stage) -> None:
        await s.raise_curtain(
            SupervisorSpec(children=(s.child("a", "Counts"), s.child("b", "Counts", hang_s=4 * SOON)))
        )
        await s.until(lambda: len(s.told("pinged", "b")) >= 3)
        assert s.told("pinged", "a") == []

    play(scene)


def test_one_that_was_asked_to_stop_has_its_shutdown_time_and_no_other() -> None:
    async def scene(s: Stage) -> None:
        script = {"deaf_to_stop": True}
        slow = s.child("a", "Stuck", hang_s=3 * SOON, shutdown=10 * SOON, script=script)
        root = await s.raise_curtain(SupervisorSpec(children=(slow,)))
        await root.stop()
        assert not root.failed.done()
        assert s.told("started") == [("a", 1)]

    play(scene)


# ── words and notices that come late ─────────────────────────────────────────────────────────────


def test_words_about_an_earlier_life_do_nothing_to_the_present_one() -> None:
    async def scene(s: Stage) -> None:
        inner = SupervisorSpec(intensity=0, children=(s.child("a"),))
        await s.raise_curtain(SupervisorSpec(children=(supervisor("inner", inner),)))
        address = await s.root.where("inner")
        await s.root.restart("a")
        await s.tree_until(lambda t: t["a"].start == 2 and t["a"].state == "up")
        late: list[Any] = [
            Ready("a", 1, 1),
            Exiting("a", 1, "boom"),
            Crashed("a", 1, "boom", "", ""),
            Pong("a", 1),
            Pong("stranger", 1),
        ]
        for word in late:
            s.port.send(address, word)
        s.port.send(address, Which(s.port.address, 99))  # answered after all of them
        await s.until(lambda: s.answered(99))
        tree = await s.tree()
        assert (tree["a"].start, tree["a"].state, tree["a"].last_crash) == (2, "up", "")

    play(scene)


def test_a_killed_child_whose_notice_never_comes_is_replaced(monkeypatch: Any) -> None:
    monkeypatch.setattr("supervisors.parent.Parent.notice_grace_s", SOON)
    monkeypatch.setattr("supervisors.parent.kill_actor", lambda actor, address: None)

    async def scene(s: Stage) -> None:
        deaf = s.child("a", "Stuck", hang_s=SOON)
        await s.raise_curtain(SupervisorSpec(children=(deaf,)))
        await s.tree_until(lambda t: t["a"].start == 2)

    play(scene)
