"""What HTTP reads ask and what they show: queries, and rows as people and programs see them.

May import: msgspec, agentcom.protocol.{bodies, frames, rows}.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from agentcom.protocol.frames import KeyText, TaskId
from agentcom.protocol.rows import (
    LANES,
    Audit,
    Event,
    Lane,
    Phase,
    PullRequest,
    Repo,
    Result,
    TaskBody,
    TaskState,
    Token,
)


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/tasks. Without `limit` and `cursor` the list is unpaged (up to 10,000), as old clients expect."""

    status: Phase | None = None
    priority: Lane | None = None
    assigned_to: KeyText = ""
    submitter: KeyText = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    cursor: Annotated[str, Meta(max_length=1_024)] = ""


class PullQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/pulls."""

    task_id: TaskId | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 500


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True):
    event: str
    ms: int
    status: str
    generation: int
    agent_id: str = ""
    reason: str = ""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """A report that did not become the outcome, kept with the task."""

    ms: int
    agent_id: str
    generation: int
    kind: str
    why: str
    content: dict[str, Any]


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task as HTTP shows it. `priority` is protocol 1's integer, `lane` its name; times are milliseconds."""

    id: str
    task_id: str
    description: str
    status: Phase
    priority: int
    lane: Lane
    needed_capabilities: tuple[str, ...]
    metadata: dict[str, Any]
    success_criteria: tuple[str, ...]
    target: str | None
    assigned_to: str | None
    assigned_at: int | None
    last_holder: str | None
    generation: int
    retry_count: int
    max_retries: int
    attempts: int
    max_attempts: int
    losses: int
    max_losses: int
    reason: str
    waiting: str
    waiting_until: int | None  #: when it is looked at again, whatever comes online before
    question: str
    note: str
    percent: int | None
    result: dict[str, Any] | None
    last_error: str | None
    tokens_used: int
    token_budget: int | None
    submitted_by: str
    repo: str
    base_branch: str
    created_at: int
    updated_at: int
    not_before: int | None
    complete_by: int | None
    history: list[HistoryLine]
    evidence: list[Evidence]


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """Lists leave out history and evidence. `next_cursor` is there while there may be more."""

    tasks: list[TaskView]
    count: int
    next_cursor: str | None = None


class TaskEvents(msgspec.Struct, frozen=True, kw_only=True):
    task_id: str
    events: list[HistoryLine]


class TaskStats(msgspec.Struct, frozen=True, kw_only=True):
    by_status: dict[str, int]
    by_priority: dict[str, int]
    dead_letter: int
    queued_index_size: int
    paused: list[Lane] = []  #: lanes that hand out nothing
    drained: bool = False  #: the whole hub hands out nothing


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    token_id: str
    subject: str
    role: str
    created_at: int
    revoked_at: int | None
    expires_at: int | None
    login: bool  #: of a browser, made with another token


class TokenList(msgspec.Struct, frozen=True):
    tokens: list[TokenView]


class TokenIssued(msgspec.Struct, frozen=True, kw_only=True):
    """The only time the secret is shown."""

    token_id: str
    token: str
    subject: str
    role: str
    expires_at: int | None = None


class LoggedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who a browser is. `csrf` goes with each write as header `X-CSRF-Token`."""

    subject: str
    role: str
    csrf: str
    expires_at: int | None


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /api/audit."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: Annotated[str, Meta(max_length=1_024)] = ""


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    ms: int
    by: str
    role: str
    act: str
    target: str
    peer: str
    note: str


class AuditList(msgspec.Struct, frozen=True):
    """Newest first. `next_cursor` is there while there may be more."""

    records: list[AuditLine]
    next_cursor: str | None = None


class InviteIssued(msgspec.Struct, frozen=True, kw_only=True):
    """The only time the join code is shown."""

    invite_id: str
    invite: str
    capabilities: tuple[str, ...]
    expires_at: int


class RepoView(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    url: str
    base_branch: str
    paused: bool
    forge: str
    default: bool


class RepoList(msgspec.Struct, frozen=True):
    repos: list[RepoView]


class PullView(msgspec.Struct, frozen=True, kw_only=True):
    pr_id: str
    url: str
    repo: str
    task_id: str
    branch: str
    base_branch: str
    commit: str
    title: str
    body: str
    labels: tuple[str, ...]
    author: str
    created_at: int
    updated_at: int


class PullList(msgspec.Struct, frozen=True):
    pulls: list[PullView]


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """Rates are `{capacity, refill_rate_per_min}` by tier; `defaults` by kind of caller."""

    enabled: bool
    defaults: dict[str, dict[str, dict[str, float]]]
    overrides: dict[str, dict[str, dict[str, float]]]
    whitelist: list[str]
    refused: list[dict[str, Any]]  #: who may not ask now, and for how long


class Acknowledged(msgspec.Struct, frozen=True):
    """It was done, and there is nothing else to say."""

    status: str = "ok"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    status: Literal["ok", "degraded"]  #: degraded: it serves, and `alerts` says what to look at
    service: str
    agents_connected: int
    epoch: int  #: rises with each restore
    store: dict[str, Any]
    parts: dict[str, dict[str, Any]] = {}  #: what snapshots, archive and compaction say of themselves
    alerts: list[str] = []


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    ready: bool
    missing: list[str]


# --- from rows -------------------------------------------------------------------------------------


def history_line(event: Event) -> HistoryLine:
    return HistoryLine(
        event=event.event,
        ms=event.ms,
        status=event.phase,
        generation=event.generation,
        agent_id=event.agent_id,
        reason=event.reason,
    )


def evidence(result: Result) -> Evidence:
    return Evidence(
        ms=result.ms,
        agent_id=result.agent_id,
        generation=result.generation,
        kind=result.kind,
        why=result.why,
        content=result.content,
    )


def assigned_ms(events: Iterable[Event]) -> int | None:
    """When the newest assignment among these was made; `events` newest first."""
    return next((event.ms for event in events if event.event == "assigned"), None)


class Told(NamedTuple):
    """What is kept with a task, oldest first; lists leave it out but for when it was assigned."""

    events: list[Event] = []
    results: list[Result] = []
    assigned_at: int | None = None


def task_view(state: TaskState, body: TaskBody, told: Told) -> TaskView:
    """The view shows history newest first."""
    events, results = told.events, told.results
    outcome = next((r for r in reversed(results) if r.accepted and r.kind == "complete"), None)
    failure = next((r for r in reversed(results) if r.accepted and r.kind == "fail"), None)
    return TaskView(
        id=state.id,
        task_id=state.id,
        description=body.description,
        status=state.phase,
        priority=LANES.index(state.lane),
        lane=state.lane,
        needed_capabilities=body.needed,
        metadata=body.metadata,
        success_criteria=body.success_criteria,
        target=state.target or None,
        assigned_to=state.holder or None,
        assigned_at=told.assigned_at if state.holder else None,
        last_holder=state.last_holder or None,
        generation=state.generation,
        retry_count=state.attempts,
        max_retries=state.max_attempts,
        attempts=state.attempts,
        max_attempts=state.max_attempts,
        losses=state.losses,
        max_losses=state.max_losses,
        reason=state.reason,
        waiting=state.waiting,
        waiting_until=state.waiting_until_ms or None,
        question=state.question if state.phase == "blocked" else "",
        note=state.note,
        percent=None if state.percent < 0 else state.percent,
        result=outcome.content if outcome else None,
        last_error=str(failure.content.get("reason", "")) if failure else None,
        tokens_used=state.tokens_used,
        token_budget=state.token_budget or None,
        submitted_by=state.submitter,
        repo=state.repo or body.repo,
        base_branch=body.base_branch,
        created_at=state.created_ms,
        updated_at=state.updated_ms,
        not_before=state.not_before_ms or None,
        complete_by=state.deadline_ms or None,
        history=[history_line(event) for event in reversed(events)],
        evidence=[evidence(r) for r in results if r is not outcome],
    )


def token_view(row: Token) -> TokenView:
    return TokenView(
        token_id=row.token_id,
        subject=row.subject,
        role=row.role,
        created_at=row.created_ms,
        revoked_at=row.revoked_ms or None,
        expires_at=row.expires_ms or None,
        login=bool(row.parent),
    )


def audit_line(row: Audit) -> AuditLine:
    return AuditLine(
        ms=row.ms, by=row.by, role=row.role, act=row.act, target=row.target, peer=row.peer, note=row.note
    )


def repo_view(row: Repo, default: str) -> RepoView:
    return RepoView(
        name=row.name,
        url=row.url,
        base_branch=row.base_branch,
        paused=row.paused,
        forge=row.forge,
        default=row.name == default,
    )


def pull_view(row: PullRequest) -> PullView:
    return PullView(
        pr_id=row.pr_id,
        url=f"/api/pulls/{row.pr_id}",
        repo=row.repo,
        task_id=row.task_id,
        branch=row.branch,
        base_branch=row.base_branch,
        commit=row.commit,
        title=row.title,
        body=row.body,
        labels=row.labels,
        author=row.author,
        created_at=row.created_ms,
        updated_at=row.updated_ms,
    )
