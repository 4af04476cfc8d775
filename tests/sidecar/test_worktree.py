"""Names of branches: whatever a task is called and says, git takes the branch."""

import itertools
import subprocess

import pytest

from agentcom.protocol.frames import TaskAssign
from sidecar.settings import BRANCHABLE
from sidecar.worktree import branch_of

DESCRIPTIONS = [
    "", "..", "x.lock", "@{", "-", "--force", "a" * 10_000, "HEAD", "\x00\x7f\n", "~^:?*[\\", "\udcff", "ÄÖÜ",
    "🦆", "a" * 39 + "-b", "lock.", "/", "refs/heads/main", " ", "İ", "ﬁx .lock",
]  # fmt: skip
TASKS = ["t1", ".", "..", "a..b", "x.lock", "-", "_", "a." * 32, "A" * 64, "HEAD", "-f"]


def git_takes(branch: str) -> bool:
    return subprocess.run(["git", "check-ref-format", f"refs/heads/{branch}"]).returncode == 0


@pytest.mark.parametrize("agent_id", ["ada", "a.", "a-", "a.b", "a" * 128, "x.lock.y", "head"])
def test_git_takes_the_branch_of_every_task(agent_id: str) -> None:
    named = [
        branch_of(agent_id, assign(task_id, text)) for task_id, text in itertools.product(TASKS, DESCRIPTIONS)
    ]
    bad = subprocess.run(
        ["sh", "-c", 'while read -r name; do git check-ref-format "refs/heads/$name" || echo "$name"; done'],
        input="\n".join(named) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert bad.stdout == ""
    assert max(len(part) for name in named for part in name.split("/")) < 200  # a file's name has 255


@pytest.mark.parametrize(
    "agent_id", ["a..b", "a...", "x.lock", "a", "a.", "x.lock.y", "xlock", "a.b", "a-", "9", "x.lock-"]
)
def test_a_name_is_accepted_exactly_when_git_takes_it(agent_id: str) -> None:
    assert bool(BRANCHABLE.fullmatch(agent_id)) == git_takes(f"{agent_id}/t1-do-it")


def assign(task_id: str, description: str) -> TaskAssign:
    return TaskAssign(
        task_id=task_id, generation=1, description=description, priority="normal", metadata={},
        needed_capabilities=[], success_criteria=[], attempt=1, max_attempts=3, lease_ms=60_000, previous=[],
    )  # fmt: skip
