"""Where each actor is a process: what Thespian's multiprocTCPBase does to one must still end as OTP says.

The base is Thespian's own, so its listeners are on all interfaces; that is its limit, told in docs/reference.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisors.processes import kill_child, settle_in
from supervisors.specs import SupervisorSpec, supervisor
from tests.supervisors.stages import ProcessStage, Scene, session_of


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ProcessStage]:
    made = ProcessStage(tmp_path / "thespian.log")
    try:
        yield made
    finally:
        made.close()


def up(s: ProcessStage, *names: str, start: int = 1) -> Scene:
    return s.until(lambda now: all(now.up(name, start) for name in names), f"{names} {start}")


def ended(pid: int) -> bool:
    return session_of(pid) == -1


@pytest.mark.slow
@pytest.mark.parametrize("fault", [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE])
def test_a_process_that_hits_a_fault_ends_and_is_restarted(stage: ProcessStage, fault: int) -> None:
    stage.start(SupervisorSpec(children=(stage.child("a"), stage.child("b"))))
    scene = up(stage, "a", "b")
    os.kill(scene.children["a"].pid, fault)
    up(stage, "a", start=2)


@pytest.mark.slow
def test_a_process_that_stands_still_is_killed_and_restarted(stage: ProcessStage) -> None:
    stage.start(SupervisorSpec(children=(stage.child("a", hang_s=2.0),)))
    pid = up(stage, "a").children["a"].pid
    os.kill(pid, signal.SIGSTOP)
    scene = up(stage, "a", start=2)
    assert scene.children["a"].last_crash == "hung: no answer within 2 s"
    stage.until(lambda _: ended(pid), "the end of the stopped process")


@pytest.mark.slow
def test_a_process_that_is_deaf_to_stop_is_killed_after_its_time(stage: ProcessStage) -> None:
    deaf = stage.child("a", script={"deaf_to_stop": True}, shutdown=0.2)
    stage.start(SupervisorSpec(children=(deaf,)))
    pid = up(stage, "a").children["a"].pid
    stage.stop()
    stage.until(lambda now: now.gave_up and ended(pid), "the end of the tree")


@pytest.mark.slow
def test_the_children_of_a_supervisor_that_is_killed_do_not_outlive_it(stage: ProcessStage) -> None:
    inner = supervisor("inner", SupervisorSpec(children=(stage.child("a"), stage.child("b"))))
    stage.start(SupervisorSpec(children=(inner,)))
    scene = up(stage, "inner", "a", "b")
    orphans = [scene.children[name].pid for name in "ab"]
    stage.kill("inner")
    up(stage, "inner", start=2)
    stage.until(lambda now: all(ended(pid) for pid in orphans), "the end of the orphans")
    scene = up(stage, "a", "b")
    assert not {scene.children[name].pid for name in "ab"} & set(orphans)


@pytest.mark.slow
def test_over_its_intensity_the_root_ends_with_all_its_processes(stage: ProcessStage) -> None:
    stage.start(SupervisorSpec(intensity=1, period_s=60, children=(stage.child("a"), stage.child("b"))))
    up(stage, "a", "b")
    stage.kill("a")
    scene = up(stage, "a", start=2)
    pids = [child.pid for child in scene.children.values()]
    stage.kill("a")
    scene = stage.until(lambda now: now.gave_up, "the root")
    assert scene.gave_up is not None
    assert scene.gave_up.reason == "gave up on a: killed"
    stage.until(lambda _: all(ended(pid) for pid in pids), "the end of all processes")


@pytest.mark.slow
def test_a_crash_loop_of_processes_leaves_none_behind(stage: ProcessStage) -> None:
    stage.start(SupervisorSpec(intensity=50, children=(stage.child("a"),)))
    up(stage, "a")
    before = len(stage.processes())
    for start in range(2, 12):
        stage.end("a", "crash" if start % 2 else "kill")
        up(stage, "a", start=start)
    stage.until(lambda _: len(stage.processes()) == before, "as many processes as before")


def test_only_a_child_process_is_killed_by_its_number() -> None:
    assert not kill_child(os.getppid())
    pid = os.fork()
    if pid == 0:
        signal.pause()
    assert kill_child(pid)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not kill_child(pid)


def test_an_actor_in_its_supervisors_process_changes_nothing_of_it() -> None:
    before = signal.getsignal(signal.SIGSEGV)
    assert settle_in(os.getpid()) == 0
    assert signal.getsignal(signal.SIGSEGV) == before
