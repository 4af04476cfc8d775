"""What an agent is told of the task it gets.

May import: agentcom.core.{decision, policy}, agentcom.protocol.
"""

from agentcom.core.decision import Rows
from agentcom.core.policy import Policy
from agentcom.protocol.frames import Previous, TaskAssign
from agentcom.protocol.rows import Repo, TaskBody, TaskState


def repo_problem(task: TaskState, rows: Rows) -> str:
    """Why nobody may work in the task's repo now, "" when they may."""
    if not task.repo:
        return ""
    repo: Repo | None = rows.get("repo", (task.repo,))
    if repo is None:
        return f"the repo {task.repo} was removed"
    return f"the repo {task.repo} is paused" if repo.paused else ""


def lacking(body: TaskBody, capabilities: tuple[str, ...]) -> str:
    """What an agent with these capabilities lacks for the task, "" when nothing."""
    missing = set(body.needed) - set(capabilities)
    return f"it needs {', '.join(sorted(missing))}" if missing else ""


def assign_frame(task: TaskState, body: TaskBody, rows: Rows, policy: Policy) -> TaskAssign:
    """The assignment as pushed to the agent. The body is on disk before its task can be assigned.

    Of the budget it is told what earlier generations left, as it knows only what it uses itself.
    """
    repo: Repo | None = rows.get("repo", (task.repo,)) if task.repo else None
    return TaskAssign(
        task_id=task.id,
        generation=task.generation,
        description=body.description,
        priority=task.lane,
        metadata=body.metadata,
        needed_capabilities=list(body.needed),
        success_criteria=list(body.success_criteria),
        attempt=task.attempts + 1,
        max_attempts=task.max_attempts,
        lease_ms=int(policy.accept_s * 1000),
        previous=[Previous(old.generation, old.agent_id, old.outcome, old.reason) for old in task.past],
        repo=task.repo,
        repo_url=repo.url if repo else "",
        base_branch=body.base_branch or (repo.base_branch if repo else ""),
        deadline_ms=task.deadline_ms or None,
        token_budget=max(1, task.token_budget - task.tokens_before) if task.token_budget else None,
    )
