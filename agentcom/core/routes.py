"""The HTTP routes as data: what the web app mounts, the gateway decodes and authorises, and the docs list.

May import: agentcom.protocol.
"""

from typing import Any, Literal

import msgspec

from agentcom.protocol import bodies, views

Role = Literal["agent", "operator", "admin"]
How = Literal[
    "submit", "batch", "operate", "administer", "read", "presence", "delegate", "maintain", "health", "ready"
]

EVERYONE: frozenset[Role] = frozenset({"agent", "operator", "admin"})
OPERATOR: frozenset[Role] = frozenset({"operator", "admin"})
ADMIN: frozenset[Role] = frozenset({"admin"})
NOBODY: frozenset[Role] = frozenset()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    how: How
    actor: str = ""  #: who answers, for "maintain"
    summary: str
    answer: Any
    roles: frozenset[Role] = NOBODY  #: empty: open to anyone, with or without a token
    compat: bool = False  #: with `compat.v1`, agents' tokens may read this whole-hub view too
    owner: bool = False  #: an agent may see it for a task it submitted, holds or held last
    body: Any = None
    query: Any = None
    status: int = 200
    deadline_s: float = 30.0  #: whoever should answer, the caller is told `unavailable` by then

    def __str__(self) -> str:
        return self.name


_ALL: tuple[Route, ...] = (
    Route(
        name="task.submit",
        method="POST",
        path="/api/tasks",
        how="submit",
        roles=EVERYONE,
        body=bodies.NewTask,
        answer=bodies.Submitted,
        status=201,
        summary="Submit a task. A repeated idempotency key answers 200 with the first answer.",
    ),
    Route(
        name="task.batch",
        method="POST",
        path="/api/tasks/batch",
        how="batch",
        roles=EVERYONE,
        body=bodies.Batch,
        answer=bodies.BatchAnswer,
        summary="Submit up to 1,000 tasks; each is validated alone and answered in its place.",
    ),
    Route(
        name="task.list",
        method="GET",
        path="/api/tasks",
        how="read",
        roles=OPERATOR,
        compat=True,
        query=views.TaskQuery,
        answer=views.TaskList,
        summary="Tasks, oldest first; with a status or priority, group by group.",
    ),
    Route(
        name="task.dead_letter",
        method="GET",
        path="/api/tasks/dead-letter",
        how="read",
        roles=OPERATOR,
        compat=True,
        query=views.TaskQuery,
        answer=views.TaskList,
        summary="Tasks in the dead letter, with their reasons.",
    ),
    Route(
        name="task.stats",
        method="GET",
        path="/api/tasks/stats",
        how="read",
        roles=OPERATOR,
        compat=True,
        answer=views.TaskStats,
        summary="Tasks counted by state and lane.",
    ),
    Route(
        name="task.get",
        method="GET",
        path="/api/tasks/{task_id}",
        how="read",
        roles=OPERATOR,
        compat=True,
        owner=True,
        answer=views.TaskView,
        summary="One task with its history and evidence.",
    ),
    Route(
        name="task.events",
        method="GET",
        path="/api/tasks/{task_id}/events",
        how="read",
        roles=OPERATOR,
        owner=True,
        answer=views.TaskEvents,
        summary="The history of a task with reasons, oldest first.",
    ),
    Route(
        name="task.cancel",
        method="POST",
        path="/api/tasks/{task_id}/cancel",
        how="operate",
        roles=OPERATOR,
        body=bodies.Reason,
        answer=Any,
        summary="Cancel a task; its holder is told to stop.",
    ),
    Route(
        name="task.retry",
        method="POST",
        path="/api/tasks/{task_id}/retry",
        how="operate",
        roles=OPERATOR,
        body=bodies.Reason,
        answer=Any,
        summary="Put a task of the dead letter back into its lane, with fresh attempts.",
    ),
    Route(
        name="task.prioritise",
        method="POST",
        path="/api/tasks/{task_id}/prioritise",
        how="operate",
        roles=OPERATOR,
        body=bodies.NewLane,
        answer=Any,
        summary="Move a task to another lane.",
    ),
    Route(
        name="task.answer",
        method="POST",
        path="/api/tasks/{task_id}/answer",
        how="operate",
        roles=OPERATOR,
        body=bodies.Answer,
        answer=Any,
        summary="Answer the question of a blocked task.",
    ),
    Route(
        name="agent.list",
        method="GET",
        path="/api/agents",
        how="presence",
        roles=OPERATOR,
        compat=True,
        answer=Any,
        summary="Agents that are here, and what they do.",
    ),
    Route(
        name="agent.states",
        method="GET",
        path="/api/agents/states",
        how="presence",
        roles=OPERATOR,
        compat=True,
        answer=Any,
        summary="The state of every agent.",
    ),
    Route(
        name="agent.state",
        method="GET",
        path="/api/agents/{agent_id}/state",
        how="presence",
        roles=OPERATOR,
        compat=True,
        answer=Any,
        summary="The state of one agent.",
    ),
    Route(
        name="agent.register",
        method="POST",
        path="/api/onboard/register",
        how="administer",
        body=bodies.Register,
        answer=bodies.Registered,
        status=201,
        summary="Register an agent and get its token, shown this once.",
    ),
    Route(
        name="invite.create",
        method="POST",
        path="/api/invites",
        how="administer",
        roles=ADMIN,
        body=bodies.NewInvite,
        answer=views.InviteIssued,
        status=201,
        summary="Make a single-use join code, shown this once.",
    ),
    Route(
        name="token.create",
        method="POST",
        path="/api/tokens",
        how="administer",
        roles=ADMIN,
        body=bodies.NewToken,
        answer=views.TokenIssued,
        status=201,
        summary="Make a token, shown this once.",
    ),
    Route(
        name="token.list",
        method="GET",
        path="/api/tokens",
        how="read",
        roles=ADMIN,
        answer=views.TokenList,
        summary="All tokens, without their secrets.",
    ),
    Route(
        name="token.delete",
        method="DELETE",
        path="/api/tokens/{token_id}",
        how="administer",
        roles=ADMIN,
        answer=views.Acknowledged,
        summary="Revoke a token; its live sessions close at once.",
    ),
    Route(
        name="repo.list",
        method="GET",
        path="/api/repos",
        how="read",
        roles=EVERYONE,
        answer=views.RepoList,
        summary="Repos that tasks may name.",
    ),
    Route(
        name="repo.create",
        method="POST",
        path="/api/repos",
        how="administer",
        roles=ADMIN,
        body=bodies.NewRepo,
        answer=views.RepoView,
        status=201,
        summary="Add a repo.",
    ),
    Route(
        name="repo.default",
        method="PUT",
        path="/api/repos/default",
        how="administer",
        roles=ADMIN,
        body=bodies.DefaultRepo,
        answer=views.Acknowledged,
        summary="Choose the repo of tasks that name none; an empty name chooses none.",
    ),
    Route(
        name="repo.put",
        method="PUT",
        path="/api/repos/{name:path}",
        how="administer",
        roles=ADMIN,
        body=bodies.NewRepo,
        answer=views.RepoView,
        summary="Add or change a repo: URL, base branch, paused.",
    ),
    Route(
        name="repo.delete",
        method="DELETE",
        path="/api/repos/{name:path}",
        how="administer",
        roles=ADMIN,
        answer=views.Acknowledged,
        summary="Remove a repo: new tasks can no longer name it.",
    ),
    Route(
        name="pull.create",
        method="POST",
        path="/api/pulls",
        how="administer",
        roles=EVERYONE,
        body=bodies.NewPull,
        answer=views.PullView,
        status=201,
        summary="Record a pull request; the same repo and branch again updates the record.",
    ),
    Route(
        name="pull.list",
        method="GET",
        path="/api/pulls",
        how="read",
        roles=EVERYONE,
        query=views.PullQuery,
        answer=views.PullList,
        summary="Pull request records, of one task or all.",
    ),
    Route(
        name="pull.get",
        method="GET",
        path="/api/pulls/{pr_id}",
        how="read",
        roles=EVERYONE,
        answer=views.PullView,
        summary="One pull request record.",
    ),
    Route(
        name="actor.list",
        method="GET",
        path="/api/actors",
        how="delegate",
        roles=ADMIN,
        answer=Any,
        summary="The supervision tree.",
    ),
    Route(
        name="actor.get",
        method="GET",
        path="/api/actors/{name}",
        how="delegate",
        roles=ADMIN,
        answer=Any,
        summary="One actor in full: its class, needs, restart budget, and last crash with its traceback.",
    ),
    Route(
        name="actor.restart",
        method="POST",
        path="/api/actors/{name}/restart",
        how="delegate",
        roles=ADMIN,
        answer=Any,
        summary="Restart an actor, also one in quarantine.",
    ),
    Route(
        name="actor.crash",
        method="POST",
        path="/api/actors/{name}/crash",
        how="delegate",
        roles=ADMIN,
        answer=Any,
        summary="Crash an actor on purpose; only with `chaos.enabled`.",
    ),
    Route(
        name="compaction.get",
        method="GET",
        path="/api/compaction",
        how="maintain",
        actor="compaction",
        roles=ADMIN,
        answer=views.CompactionView,
        summary="What was removed for its age, how full the store's file is, and its last rewrite.",
    ),
    Route(
        name="compaction.run",
        method="POST",
        path="/api/compaction",
        how="maintain",
        actor="compaction",
        roles=ADMIN,
        answer=views.CompactionView,
        summary="Remove what is old and rewrite the store's file now. Answers at once; see `done` for its end.",
    ),
    Route(
        name="chaos.block",
        method="POST",
        path="/api/chaos/block/{seconds}",
        how="delegate",
        roles=ADMIN,
        answer=Any,
        summary="Block the hub's loop for so long, as a bug could; only with `chaos.enabled`.",
    ),
    Route(
        name="snapshot.make",
        method="POST",
        path="/api/snapshots",
        how="maintain",
        actor="snapshots",
        roles=ADMIN,
        answer=views.SnapshotMade,
        status=201,
        deadline_s=3_600.0,
        summary="Make a snapshot now; answered when it is verified. While one is being made, with that one.",
    ),
    Route(
        name="snapshot.list",
        method="GET",
        path="/api/snapshots",
        how="maintain",
        actor="snapshots",
        roles=OPERATOR,
        answer=views.SnapshotList,
        summary="The snapshots there are, newest first, and when the next one is due.",
    ),
    Route(
        name="health",
        method="GET",
        path="/health",
        how="health",
        answer=views.Health,
        summary="The hub is alive.",
    ),
    Route(
        name="ready",
        method="GET",
        path="/ready",
        how="ready",
        answer=views.Readiness,
        summary="200 when the hub serves, 503 while it starts, recovers or stops.",
    ),
)

ROUTES: dict[str, Route] = {route.name: route for route in _ALL}


CHAOS = frozenset({"actor.crash", "chaos.block"})
"""What exists only where `chaos.enabled` is set."""


def offered(*, chaos: bool) -> tuple[Route, ...]:
    """The routes that exist under these settings."""
    return tuple(route for route in _ALL if chaos or route.name not in CHAOS)
