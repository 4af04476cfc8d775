"""The verifier on the strict loop base: when it checks, what it says, and that it stops."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from thespian.actors import ActorAddress

import actors.verifier
from actors.verifier import VerifierArgs
from agentcom.core.messages import Condition, Maintain, Reply
from agentcom.protocol.rows import Mark
from agentcom.store import open_environment
from agentcom.store.child import ToolFailed
from supervisors.specs import ChildSpec, SupervisorSpec
from tests.store.sound import put_row, sound_store
from tests.supervisors.troupe import Player, Stage, play

GOOD: dict[str, Any] = {
    "problems": [], "more": 0, "rows": {"task": 3}, "pages": 4, "bytes": 16_384, "seq": 9, "epoch": 1, "seconds": 0.1,
    "fold": "",
}  # fmt: skip
BAD = {**GOOD, "problems": [{"table": "body", "key": "t", "seq": 3, "what": "the row is missing"}], "more": 4}


class FakeTool:
    """Ends when it is allowed to, with what it is told to. Unrealistic: no process, and one at a time."""

    report: Any = GOOD
    runs = 0
    may_end = threading.Event()
    stopped = threading.Event()

    def __init__(self, name: str) -> None:
        assert name == "verifying"

    def run(self, _job: Any) -> Any:
        FakeTool.runs += 1
        FakeTool.may_end.wait(10)
        if FakeTool.stopped.is_set():
            raise ToolFailed("verifying", "signal", "it was ended by SIGKILL")
        if isinstance(self.report, Exception):
            raise self.report
        return self.report

    def stop(self) -> None:
        FakeTool.stopped.set()
        FakeTool.may_end.set()


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeTool]]:
    FakeTool.report, FakeTool.runs = GOOD, 0
    FakeTool.may_end.set()
    FakeTool.stopped.clear()
    monkeypatch.setattr(actors.verifier, "Tool", FakeTool)
    yield FakeTool
    FakeTool.may_end.set()


class Witness(Player):
    def on_message(self, msg: Any, sender: ActorAddress) -> None:
        self.tell_tale("heard", msg)


async def raise_verifier(s: Stage, folder: Path) -> None:
    args = VerifierArgs(str(folder), str(folder / "snapshots"), str(folder / "archive"), first_s=0.0)
    witnesses = (
        ChildSpec(name=name, actor=f"{__name__}:Witness", args=s.child(name).args)
        for name in ("store", "gateway")
    )
    verifier = ChildSpec(name="verifier", actor="actors.verifier:VerifierActor", args=args)
    await s.raise_curtain(SupervisorSpec(children=(*witnesses, verifier)))
    await s.until(lambda: said(s))


def said(s: Stage) -> list[Condition]:
    return [msg for msg in s.told("heard", "gateway") if isinstance(msg, Condition)]


def ended(s: Stage) -> bool:
    return not said(s)[-1].facts["running"] and said(s)[-1].facts["reason"] != ""


async def ask(s: Stage, verb: str = "verify.run") -> Reply:
    before = len([t for t in s.tale if isinstance(t, Reply)])
    await s.send("verifier", Maintain(reply_to=s.port.address, request=before, verb=verb, by="ops"))
    await s.until(lambda: len([t for t in s.tale if isinstance(t, Reply)]) > before)
    return [t for t in s.tale if isinstance(t, Reply)][-1]


def test_after_a_crash_the_whole_store_is_checked_and_health_tells_it(tmp_path: Path) -> None:
    """With the real tool, which reads the store that this process has open."""
    sound_store(tmp_path).close()
    env = open_environment(tmp_path)

    async def scene(s: Stage) -> None:
        await raise_verifier(s, tmp_path)
        await s.until(lambda: ended(s))
        last = said(s)[-1]
        assert (last.facts["reason"], last.facts["last"]["problems"], last.facts["last"]["seq"]) == (
            "after a crash",
            0,
            15,
        )
        assert last.alerts == ()

    play(scene)
    env.close()


def test_what_the_real_tool_finds_is_an_alert(tmp_path: Path) -> None:
    store = sound_store(tmp_path)
    put_row(store, "by_submitter", ("eve", f"task-{1:020x}"), Mark())
    store.close()
    env = open_environment(tmp_path)

    async def scene(s: Stage) -> None:
        await raise_verifier(s, tmp_path)
        await s.until(lambda: ended(s))
        (alert,) = said(s)[-1].alerts
        assert alert.startswith("verify found 1 problem in the store, the first: by_submitter eve/task-")

    play(scene)
    env.close()


@pytest.mark.parametrize("clean", [True, False])
def test_a_new_folder_and_a_clean_start_are_not_checked(
    tmp_path: Path, tool: type[FakeTool], clean: bool
) -> None:
    env = open_environment(tmp_path)
    if clean:
        env.mark_clean()
        env.close()
        env = open_environment(tmp_path)
    env.begin_life()  # as each start of a store actor does

    async def scene(s: Stage) -> None:
        await raise_verifier(s, tmp_path)
        assert (await ask(s, "verify.show")).body.reason == ""

    play(scene)
    assert tool.runs == 0
    env.close()


def test_a_second_request_joins_the_check_that_runs(tmp_path: Path, tool: type[FakeTool]) -> None:
    async def scene(s: Stage) -> None:
        tool.may_end.clear()
        await raise_verifier(s, tmp_path)
        first, second = await ask(s), await ask(s)
        assert (first.status, first.body.running, first.body.reason) == (202, True, "asked for by ops")
        assert second.body == first.body
        tool.may_end.set()
        await s.until(lambda: ended(s))
        shown = await ask(s, "verify.show")
        assert (shown.status, shown.body.running, shown.body.finished, shown.body.rows) == (
            200,
            False,
            True,
            {"task": 3},
        )

    play(scene)
    assert tool.runs == 1


def test_an_alert_stands_until_a_later_check_finds_nothing(tmp_path: Path, tool: type[FakeTool]) -> None:
    async def scene(s: Stage) -> None:
        await raise_verifier(s, tmp_path)
        tool.report = BAD
        await ask(s)
        await s.until(lambda: ended(s))
        assert (
            "verify found 5 problems in the store, the first: body t (journal entry 3)"
            in said(s)[-1].alerts[0]
        )
        tool.report = GOOD
        await ask(s)
        await s.until(lambda: ended(s) and not said(s)[-1].alerts)

    play(scene)


def test_a_check_that_cannot_end_is_an_alert_and_no_crash(tmp_path: Path, tool: type[FakeTool]) -> None:
    async def scene(s: Stage) -> None:
        await raise_verifier(s, tmp_path)
        tool.report = ToolFailed("verifying", "signal", "it was ended by SIGBUS")
        await ask(s)
        await s.until(lambda: ended(s))
        assert "verify could not read the store to its end: it was ended by SIGBUS" in said(s)[-1].alerts[0]
        assert (await s.tree())["verifier"].restarts == 0

    play(scene)


def test_a_stop_ends_the_check(tmp_path: Path, tool: type[FakeTool]) -> None:
    async def scene(s: Stage) -> None:
        tool.may_end.clear()
        await raise_verifier(s, tmp_path)
        await ask(s)
        await s.root.stop()
        assert tool.stopped.is_set()

    play(scene)
