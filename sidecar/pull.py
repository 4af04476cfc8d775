"""A pull request's title, body and labels, by convention.

May import: agentcom.protocol, sidecar.worktree.
"""

from agentcom.protocol.bodies import NewPull
from agentcom.protocol.frames import Check, TaskAssign
from sidecar.worktree import Checkout


def describe(assign: TaskAssign, checkout: Checkout, commit: str, summary: str, ran: list[Check]) -> NewPull:
    return NewPull(
        repo=assign.repo or assign.repo_url,
        task_id=assign.task_id,
        branch=checkout.branch,
        base_branch=checkout.base,
        commit=commit,
        title=title(assign.description),
        body=body(assign, summary, ran),
        labels=["agentcom", f"priority:{assign.priority}"],
    )


def title(description: str) -> str:
    first = (description.strip() or "a task").splitlines()[0].strip()
    return first if len(first) <= 72 else first[:71].rstrip() + "…"


def body(assign: TaskAssign, summary: str, ran: list[Check]) -> str:
    parts = [assign.description.strip()]
    if summary.strip():
        parts.append(f"## What was done\n\n{summary.strip()}")
    if assign.success_criteria:
        parts.append("## Success criteria\n\n" + "\n".join(f"- {line}" for line in assign.success_criteria))
    if ran:
        listed = "\n".join(f"- `{' '.join(check.argv)}` passed in {check.seconds:g} s" for check in ran)
        parts.append(f"## Checks\n\n{listed}")
    parts.append(f"Task: {assign.task_id}")
    return "\n\n".join(parts)[:100_000]
