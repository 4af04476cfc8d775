"""What a sidecar does when something is taken away in the middle: the hub, itself, the runner, the task."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentcom.protocol import frames
from sidecar import files, process
from sidecar import settings as sidecar_settings
from sidecar.inbox import Inbox
from tests.sidecar.fake_hub import FakeHub, until
from tests.sidecar.helpers import ADD, COMMITS, ROOT, final, git, mind, serving, settings

pytestmark = pytest.mark.slow
HANGS = mind("sleep 600 & sleep 600")


class Process:
    """A sidecar in a process of its own, to be killed."""

    def __init__(self, home: Path) -> None:
        argv = [sys.executable, "-m", "sidecar.cli", "run", "--home", str(home)]
        self._child = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)

    async def end(self, number: int) -> int:
        self._child.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        return await asyncio.to_thread(self._child.wait, 20)


def mind_of(home: Path) -> dict[str, object] | None:
    return files.read_json(home / "runs/t1/1/mind.json")


def scripted(remote: Path, **more: object) -> dict[str, object]:
    return {"repo": "demo", "repo_url": str(remote), "metadata": {"script": {**ADD, **more}}}


@pytest.mark.parametrize("mind_ends_meanwhile", [False, True])
def test_a_killed_sidecar_goes_on_with_the_same_mind(
    tmp_path: Path, remote: Path, mind_ends_meanwhile: bool
) -> None:
    home = tmp_path / "home"

    async def scenario() -> None:
        async with FakeHub() as hub:
            sidecar_settings.save(home, settings(hub))
            first = Process(home)
            await until(lambda: hub.sends)
            hub.assign("t1", **scripted(remote, seconds=1.0))
            running = await until(lambda: mind_of(home))
            await first.end(signal.SIGKILL)
            assert process.is_alive(running)
            if mind_ends_meanwhile:
                await until(lambda: files.read_json(home / "runs/t1/1/exit.json"))
            second = Process(home)
            report = await final(hub, "t1")
            assert isinstance(report, frames.TaskComplete), report
            assert mind_of(home) == running
            assert len(hub.of(frames.TaskAccept)) == 1
            assert await second.end(signal.SIGTERM) == 0

    asyncio.run(scenario())


def test_a_sidecar_killed_between_push_and_pull_request_finishes_what_it_began(
    tmp_path: Path, remote: Path
) -> None:
    home = tmp_path / "home"

    async def scenario() -> None:
        async with FakeHub() as hub:
            sidecar_settings.save(home, settings(hub))
            hub.pulls_are_down = True
            first = Process(home)
            await until(lambda: hub.sends)
            hub.assign("t1", **scripted(remote))
            await until(lambda: "/api/pulls" in hub.got)
            await first.end(signal.SIGKILL)
            pushed = git(remote, "rev-parse", "ada/t1-do-it")
            hub.pulls_are_down = False
            second = Process(home)
            report = await final(hub, "t1")
            assert report.result.commit == pushed
            assert [pull.commit for pull in hub.pulls.values()] == [pushed]
            await second.end(signal.SIGTERM)

    asyncio.run(scenario())


def test_a_second_sidecar_in_the_same_home_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub:
            sidecar_settings.save(tmp_path, settings(hub))
            first = Process(tmp_path)
            await until(lambda: hub.sends)
            assert await Process(tmp_path).ended() == 1
            assert await first.end(signal.SIGTERM) == 0

    asyncio.run(scenario())


def test_a_dropped_connection_does_not_disturb_the_work(tmp_path: Path, remote: Path) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub)):
            await until(lambda: hub.sends)
            hub.assign("t1", **scripted(remote, seconds=0.5))
            await until(lambda: mind_of(tmp_path / "home"))
            hub.drop()
            report = await final(hub, "t1")
            assert isinstance(report, frames.TaskComplete)
            resumed = hub.of(frames.Hello)[1].resume.tasks[0]
            assert (resumed.task_id, resumed.phase, resumed.alive) == ("t1", "working", True)

    asyncio.run(scenario())


def test_a_cancelled_task_is_stopped_with_all_it_started_and_its_work_is_kept(
    tmp_path: Path, remote: Path
) -> None:
    async def scenario() -> None:
        home = tmp_path / "home"
        hangs = mind("echo half > done.txt; sleep 600 & sleep 600")
        async with FakeHub() as hub, serving(home, settings(hub, mind=hangs)):
            await until(lambda: hub.sends)
            hub.assign("t1", repo="demo", repo_url=str(remote))
            running = await until(lambda: mind_of(home))
            await until(lambda: (home / "work/t1/1/done.txt").exists())
            hub.push(frames.TaskCancel(task_id="t1", generation=1, reason="not needed"))
            await until(lambda: hub.of(frames.TaskStopped))
            assert process.group_is_empty(int(running["pid"]))
            assert (home / "work/t1/1/done.txt").exists()
            assert hub.finals == {}

    asyncio.run(scenario())


def test_a_task_assigned_anew_replaces_the_run_of_its_older_generation(tmp_path: Path, remote: Path) -> None:
    async def scenario() -> None:
        home = tmp_path / "home"
        waits = mind(f'case "$AGENTCOM_WORKTREE" in */1) sleep 600;; *) {COMMITS};; esac')
        async with FakeHub() as hub, serving(home, settings(hub, mind=waits)):
            await until(lambda: hub.sends)
            hub.assign("t1", repo="demo", repo_url=str(remote))
            running = await until(lambda: mind_of(home))
            hub.assign("t1", 2, repo="demo", repo_url=str(remote))
            report = await final(hub, "t1", 2)
            assert isinstance(report, frames.TaskComplete), report
            assert not process.is_alive(running)

    asyncio.run(scenario())


def test_a_second_task_is_rejected_while_one_is_held(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path, settings(hub, mind=HANGS)) as sidecar:
            await until(lambda: hub.sends)
            hub.assign("t1")
            hub.assign("t2")
            await until(lambda: mind_of(tmp_path))
            assert isinstance(await final(hub, "t2"), frames.TaskReject)
            assert list(sidecar.works) == ["t1"]
            await sidecar.works["t1"].stop()

    asyncio.run(scenario())


def test_a_task_that_comes_while_the_last_one_is_stopping_waits_for_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        takes_its_time = mind("trap 'sleep 0.5; exit 1' TERM; sleep 600 & wait")
        async with FakeHub() as hub, serving(tmp_path, settings(hub, mind=takes_its_time)) as sidecar:
            await until(lambda: hub.sends)
            hub.assign("t1")
            await until(lambda: mind_of(tmp_path))
            hub.push(frames.TaskCancel(task_id="t1", generation=1, reason="not needed"))
            hub.assign("t2")
            await until(lambda: "t2" in hub.holders)
            kinds = [type(frame) for frame in hub.got if isinstance(frame, frames.TaskReport)]
            assert frames.TaskReject not in kinds
            assert kinds.count(frames.TaskAccept) == 2
            assert frames.TaskStopped in kinds[: len(kinds) - 1 - kinds[::-1].index(frames.TaskAccept)]
            await until(lambda: "t2" in sidecar.works and sidecar.works["t2"].run.is_alive())
            await sidecar.works["t2"].stop()

    asyncio.run(scenario())


def test_a_killed_runner_is_noticed_and_its_mind_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path, settings(hub, mind=HANGS)):
            await until(lambda: hub.sends)
            hub.assign("t1")
            running = await until(lambda: mind_of(tmp_path))
            os.kill(int((files.read_json(tmp_path / "runs/t1/1/runner.json") or {})["pid"]), signal.SIGKILL)
            report = await final(hub, "t1")
            assert "did not end by itself (lost)" in report.reason
            assert not process.is_alive(running)

    asyncio.run(scenario())


def test_heartbeats_say_when_nothing_of_a_task_lives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeHub(heartbeat_ms=20) as hub, serving(tmp_path, settings(hub, mind=HANGS)) as sidecar:
            await until(lambda: hub.sends)
            hub.assign("t1")
            await until(lambda: any(h.alive for b in hub.of(frames.Heartbeat) for h in b.tasks))
            await sidecar.works["t1"].stop()

    asyncio.run(scenario())


def test_a_state_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "state.json")
    inbox.path.write_bytes(b"{torn")
    assert inbox.read().tasks == ()
    aside = [path for path in tmp_path.iterdir() if "unreadable" in path.name]
    assert [path.read_bytes() for path in aside] == [b"{torn"]
