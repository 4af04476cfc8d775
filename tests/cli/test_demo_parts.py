"""What the demo checks and shows, without processes."""

import io
import subprocess

import pytest
from rich.console import Console

from agentcom.cli import demo_board, demo_check, demo_project
from agentcom.cli.demo_fleet import clean_env
from agentcom.cli.demo_tasks import CAPABILITIES, TASKS, DemoTask
from agentcom.protocol.rows import LANES

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
GOOD = DemoTask(title="Add slug()", lane="normal", script={})
HOPELESS = DemoTask(title="Make 1 equal 2", lane="high", script={}, hopeless=True)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    return demo_project.create(tmp_path_factory.mktemp("demo") / "remote.git")


class Work:
    """A remote with one branch of one task, and what the hub would say of it."""

    def __init__(self, origin, folder, a_task):
        self.path = folder / "remote.git"
        self._git("clone", "--quiet", "--bare", str(origin), str(self.path))
        self.branch = "ada/task-1-add-slug"
        self.commit = self.commit_on("main", "work")
        self.set(self.branch, self.commit)
        self.task = a_task(
            status="completed", last_holder="ada", result={"branch": self.branch, "commit": self.commit}
        )
        self.pull = {"task_id": "task-1", "branch": self.branch, "commit": self.commit, "base_branch": "main"}

    def _git(self, *arguments):
        return subprocess.run([*GIT, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def commit_on(self, base, message="more"):
        tree = self._git("-C", str(self.path), "rev-parse", f"{base}^{{tree}}")
        return self._git("-C", str(self.path), "commit-tree", tree, "-p", base, "-m", message)

    def set(self, branch, commit):
        self._git("-C", str(self.path), "update-ref", f"refs/heads/{branch}", commit)

    def problems(self):
        return demo_check.problems(demo_check.Remote(self.path), [GOOD], [self.task], [self.pull])


@pytest.fixture
def work(origin, tmp_path, a_task):
    return Work(origin, tmp_path, a_task)


def test_a_branch_with_its_record_has_no_problem(work):
    assert work.problems() == []


def test_a_task_that_did_not_end_well_is_told(work):
    work.task |= {"status": "queued", "waiting": "nobody is there"}
    assert work.problems() == ["Add slug(): is queued, not completed (nobody is there)"]


def test_a_branch_that_is_not_on_the_remote_is_told(work):
    work.task["result"]["branch"] = "ada/elsewhere"
    assert "is not on the remote" in work.problems()[0]


def test_a_branch_cut_from_an_older_main_is_told(work):
    work.set("main", work.commit_on("main"))
    assert any("not cut from the remote's current main" in problem for problem in work.problems())


def test_a_branch_without_work_is_told(work):
    main = demo_check.Remote(work.path).tip("main")
    work.set(work.branch, main)
    assert any("no commit of its own" in problem for problem in work.problems())


def test_a_commit_that_differs_from_the_report_is_told(work):
    work.set(work.branch, work.commit_on(work.branch))
    assert any("the report says commit" in problem for problem in work.problems())


def test_a_pull_request_record_that_is_missing_or_differs_is_told(work):
    work.pull["commit"] = "0" * 40
    assert any("record says commit" in problem for problem in work.problems())
    work.pull["task_id"] = "task-2"
    assert any("0 pull request records" in problem for problem in work.problems())


def test_work_by_an_agent_that_cannot_do_it_is_told(work):
    work.task["last_holder"] = "eve"
    assert any("eve, who cannot do it" in problem for problem in work.problems())


def test_a_failure_too_many_is_told(work):
    work.task["attempts"] = 1
    assert any("failed 1 times, not 0" in problem for problem in work.problems())


def test_two_tasks_on_one_branch_are_told(work):
    twice = demo_check.problems(
        demo_check.Remote(work.path), [GOOD, GOOD], [work.task, work.task], [work.pull]
    )
    assert f"several tasks share branch {work.branch}" in twice


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"status": "completed"}, "should be in the dead letter"),
        ({"status": "dead_letter", "attempts": 3}, "without a reason"),
        ({"status": "dead_letter", "attempts": 1}, "given up after 1 failures"),
    ],
)
def test_a_hopeless_task_must_be_in_the_dead_letter_with_reasons(work, a_task, fields, told):
    found = demo_check.problems(demo_check.Remote(work.path), [HOPELESS], [a_task(**fields)], [])
    assert told in " ".join(found)


def test_each_reason_is_told_once(a_task):
    lines = [
        {"event": e, "reason": r} for e, r in [("dead_letter", "b"), ("due", "its time"), ("retrying", "a")]
    ]
    assert demo_check.reasons(a_task(history=lines)) == ["a", "b"]


def test_the_cast_is_what_the_demo_promises():
    assert len(TASKS) == 10
    assert {one.lane for one in TASKS} == set(LANES)
    assert [one.hopeless for one in TASKS].count(True) == 1
    assert [one.fail_times for one in TASKS].count(1) == 1
    able = [{agent for agent, can in CAPABILITIES.items() if set(one.needs) <= set(can)} for one in TASKS]
    assert {"ada"} in able
    assert {"grace"} in able
    assert set() not in able


def test_only_changes_become_lines(a_task):
    before = [demo_board.line(GOOD, None, 0.0)]
    working = [demo_board.line(GOOD, a_task(status="working", assigned_to="ada", generation=1), 2_000)]
    assert list(demo_board.changes(before, before, 1.0)) == []
    (line,) = demo_board.changes(before, working, 1.0)
    assert "working" in line
    assert "ada" in line


@pytest.mark.parametrize("width", [80, 120, 160])
def test_the_table_shows_every_branch_whole(a_task, width):
    branch = "ada/task-01a204c9caf7a31fd021-add-slug"
    done = a_task(status="completed", last_holder="ada", result={"branch": branch})
    console = Console(width=width, file=io.StringIO())
    console.print(demo_board.final_view([GOOD], [done], {"task-1": {"pr_id": "pr-0123456789abcdef"}}, width))
    assert branch in console.file.getvalue()
    assert "pr-0123456789abcdef" in console.file.getvalue()


def test_children_get_no_settings_of_the_user():
    env = clean_env({"AGENTCOM_TOKEN": "secret", "GIT_DIR": "/elsewhere", "PATH": "/bin"})
    assert env["PATH"] == "/bin"
    assert "AGENTCOM_TOKEN" not in env
    assert "GIT_DIR" not in env
