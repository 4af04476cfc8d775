"""Did the demo keep its word? Compares what the hub says with what git says about the remote.

May import: the standard library, agentcom.cli.demo_tasks.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentcom.cli.demo_tasks import BASE, CAPABILITIES, DemoTask

Json = dict[str, Any]


class Remote:
    """A bare repository, asked by git."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def tip(self, branch: str) -> str:
        """The newest commit of a branch; empty when there is no such branch."""
        return self._git("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}")

    def fork(self, one: str, other: str) -> str:
        return self._git("merge-base", one, other)

    def commits(self, base: str, branch: str) -> int:
        return int(self._git("rev-list", "--count", f"{base}..{branch}") or 0)


def problems(
    remote: Remote, wanted: Sequence[DemoTask], found: Sequence[Json], pulls: Sequence[Json]
) -> list[str]:
    """What is not as it should be, in sentences; empty when all came through."""
    branches = [(task.get("result") or {}).get("branch", "") for task in found]
    said = [
        f"{one.title}: {problem}"
        for one, task in zip(wanted, found, strict=True)
        for problem in (_hopeless(task) if one.hopeless else _success(remote, one, task, pulls))
    ]
    shared = sorted({b for b in branches if b and branches.count(b) > 1})
    return said + [f"several tasks share branch {branch}" for branch in shared]


def _success(remote: Remote, one: DemoTask, task: Json, pulls: Sequence[Json]) -> list[str]:
    if task["status"] != "completed":
        return [
            f"is {task['status']}, not completed ({task.get('reason') or task.get('waiting') or 'no reason'})"
        ]
    said = (
        []
        if task["attempts"] == one.fail_times
        else [f"failed {task['attempts']} times, not {one.fail_times}"]
    )
    agent = str(task.get("last_holder") or "")
    if not set(one.needs) <= set(CAPABILITIES.get(agent, ())):
        said.append(f"was done by {agent or 'nobody'}, who cannot do it")
    return said + _branch(remote, task) + _pull(task, pulls)


def _branch(remote: Remote, task: Json) -> list[str]:
    result: Mapping[str, Any] = task.get("result") or {}
    branch, base = str(result.get("branch") or ""), remote.tip(BASE)
    tip = remote.tip(branch) if branch else ""
    if not tip:
        return [f"its branch {branch or '(none)'} is not on the remote"]
    said = (
        []
        if tip == result.get("commit")
        else [f"the report says commit {result.get('commit')}, the remote {tip}"]
    )
    if remote.fork(base, tip) != base:
        said.append(f"branch {branch} is not cut from the remote's current {BASE}")
    if remote.commits(base, tip) < 1:
        said.append(f"branch {branch} has no commit of its own")
    return said


def _pull(task: Json, pulls: Sequence[Json]) -> list[str]:
    mine = [pull for pull in pulls if pull["task_id"] == task["task_id"]]
    if len(mine) != 1:
        return [f"has {len(mine)} pull request records, not one"]
    result = task.get("result") or {}
    expected = {"branch": result.get("branch"), "commit": result.get("commit"), "base_branch": BASE}
    return [
        f"its pull request record says {key} {mine[0].get(key)}, not {value}"
        for key, value in expected.items()
        if mine[0].get(key) != value
    ]


def _hopeless(task: Json) -> list[str]:
    if task["status"] != "dead_letter":
        return [f"should be in the dead letter and is {task['status']}"]
    said = (
        []
        if task["attempts"] == task["max_attempts"]
        else [f"was given up after {task['attempts']} failures"]
    )
    if not reasons(task):
        said.append("is in the dead letter without a reason")
    return said


def reasons(task: Json) -> list[str]:
    """Why each attempt failed, oldest first."""
    ends = [
        line for line in reversed(task.get("history") or []) if line["event"] in ("retrying", "dead_letter")
    ]
    return list(dict.fromkeys(line["reason"] for line in ends if line.get("reason")))
