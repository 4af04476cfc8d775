"""A sidecar with real git, real Minds and a fake hub: from assignment to report."""

import asyncio
from pathlib import Path

import pytest

from agentcom.protocol import frames
from sidecar.work import Outcome, Work
from tests.sidecar.fake_hub import FakeHub, until
from tests.sidecar.helpers import ADD, COMMITS, final, git, mind, outcome, push_to_main, serving, settings

pytestmark = pytest.mark.slow


def test_a_task_becomes_a_branch_and_a_pull_request(tmp_path: Path, remote: Path) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub)) as sidecar:
            await until(lambda: hub.sends)
            hub.assign(
                "t1", description="Add shout", repo="demo", repo_url=str(remote), metadata={"script": ADD}
            )
            report = await final(hub, "t1")
            assert isinstance(report, frames.TaskComplete), report
            assert report.result.branch == "ada/t1-add-shout"
            assert git(remote, "rev-parse", report.result.branch) == report.result.commit
            assert git(remote, "merge-base", "main", report.result.branch) == git(remote, "rev-parse", "main")
            assert "def shout" in git(remote, "show", f"{report.result.branch}:textkit/words.py")
            assert [check.exit for check in report.result.checks] == [0]
            pull = hub.pulls[("demo", "ada/t1-add-shout")]
            assert (pull.commit, pull.title, pull.base_branch) == (report.result.commit, "Add shout", "main")
            await until(lambda: not (tmp_path / "home/work/t1/1").exists())
            assert sidecar.session.state.tasks == {}

    asyncio.run(scenario())


def test_a_failed_attempt_is_reported_and_the_next_one_uses_the_same_branch(
    tmp_path: Path, remote: Path
) -> None:
    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub)):
            await until(lambda: hub.sends)
            task = {"repo": "demo", "repo_url": str(remote), "metadata": {"script": {**ADD, "fail_times": 1}}}
            hub.assign("t1", **task)
            first = await final(hub, "t1")
            assert isinstance(first, frames.TaskFail)
            assert "attempt 1 fails" in first.reason
            hub.assign("t1", 2, attempt=2, **task)
            second = await final(hub, "t1", 2)
            assert isinstance(second, frames.TaskComplete)
            assert git(remote, "branch", "--format=%(refname:short)").split() == ["ada/t1-do-it", "main"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        ("echo it broke; exit 3", "it broke"),
        (f"{COMMITS}; echo x > more.txt", "not committed: ?? more.txt"),
        ("true", "no commits"),
        (f"git checkout -q --detach; {COMMITS}", "not on its branch"),
        ("echo nonsense > $AGENTCOM_RESULT_FILE", "result file is not valid"),
        (
            "git rm -q .agentcom.toml; echo x > textkit/words.py; git commit -qam x",
            "check python3 -m unittest",
        ),
        (f"{COMMITS}; git push -q origin HEAD:main", "may not push to refs/heads/main"),
    ],
)
def test_what_is_not_done_is_reported_as_failed(tmp_path: Path, remote: Path, shell: str, says: str) -> None:
    report = asyncio.run(outcome(tmp_path, remote, mind(shell)))
    assert isinstance(report, frames.TaskFail)
    assert says in report.reason
    assert report.retryable
    assert git(remote, "branch", "--format=%(refname:short)") == "main"


def test_a_mind_says_itself_that_trying_again_is_useless(tmp_path: Path, remote: Path) -> None:
    said = """echo '{"status": "fail", "reason": "impossible", "retryable": false}' > $AGENTCOM_RESULT_FILE"""
    report = asyncio.run(outcome(tmp_path, remote, mind(said)))
    assert (report.reason, report.retryable) == ("impossible", False)


def test_a_remote_that_cannot_be_fetched_stops_the_task_before_the_mind_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    report = asyncio.run(
        outcome(tmp_path, tmp_path / "nowhere", mind(f"touch {marker}"), task={"base_branch": "main"})
    )
    assert "git fetch failed" in report.reason
    assert not marker.exists()


def test_a_mind_that_cannot_be_started_is_a_failure_with_its_name(tmp_path: Path, remote: Path) -> None:
    report = asyncio.run(outcome(tmp_path, remote, ["no-such-mind"]))
    assert "no-such-mind: No such file" in report.reason


def test_a_mind_is_stopped_at_its_maximum_run_time(tmp_path: Path, remote: Path) -> None:
    report = asyncio.run(outcome(tmp_path, remote, mind("sleep 600"), max_runtime_s=0.3))
    assert "stopped after 0.3 s" in report.reason


def test_work_is_rebased_on_a_base_that_moved(tmp_path: Path, remote: Path) -> None:
    moved = push_to_main  # by someone else, while the Mind works: here, just before its commit is looked at
    go = tmp_path / "go"

    async def scenario() -> None:
        waits = f"{COMMITS}; while [ ! -e {go} ]; do sleep 0.05; done"
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub, mind=mind(waits))) as sidecar:
            await until(lambda: hub.sends)
            hub.assign("t1", repo="demo", repo_url=str(remote))
            await until(lambda: "t1" in sidecar.works and sidecar.works["t1"].run.is_alive())
            commit = moved(remote, tmp_path / "eve", "NEWS", "news")
            go.touch()
            report = await final(hub, "t1")
            assert git(remote, "rev-parse", f"{report.result.commit}^") == commit

    asyncio.run(scenario())


def test_work_that_conflicts_with_a_moved_base_is_not_pushed(tmp_path: Path, remote: Path) -> None:
    go = tmp_path / "go"

    async def scenario() -> None:
        waits = f"{COMMITS}; while [ ! -e {go} ]; do sleep 0.05; done"
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub, mind=mind(waits))) as sidecar:
            await until(lambda: hub.sends)
            hub.assign("t1", repo="demo", repo_url=str(remote))
            await until(lambda: "t1" in sidecar.works and sidecar.works["t1"].run.is_alive())
            push_to_main(remote, tmp_path / "eve", "hello.txt", "other")
            go.touch()
            report = await final(hub, "t1")
            assert "main moved" in report.reason

    asyncio.run(scenario())


def test_a_task_without_a_repository_is_done_by_its_summary(tmp_path: Path) -> None:
    said = """echo '{"summary": "looked at it", "data": {"n": 1}}' > $AGENTCOM_RESULT_FILE"""
    report = asyncio.run(outcome(tmp_path, "", mind(said)))
    assert (report.result.summary, report.result.data) == ("looked at it", {"n": 1})


def test_the_mind_gets_its_task_by_file_and_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTCOM_TOKEN", "secret")
    tells = 'env > env.txt; cp "$AGENTCOM_TASK_FILE" task.json; exit 1'
    asyncio.run(outcome(tmp_path, "", mind(tells)))
    work = tmp_path / "home/work/t1/1"
    assert "secret" not in (work / "env.txt").read_text()
    assert b'"description":"Do it"' in (work / "task.json").read_bytes()


def test_a_failure_of_the_sidecar_itself_is_told_with_its_words_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_work: Work) -> Outcome:
        raise ValueError("the shelf is missing " + "x" * 5_000)

    monkeypatch.setattr(Work, "outcome", broken)

    async def scenario() -> None:
        async with FakeHub() as hub, serving(tmp_path / "home", settings(hub)):
            await until(lambda: hub.sends)
            hub.assign("t1")
            failed = await final(hub, "t1")
            assert failed.reason.startswith("the sidecar failed: ValueError: the shelf is missing")
            assert len(failed.reason) <= 2_000

    asyncio.run(scenario())
