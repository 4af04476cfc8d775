"""Registrations, invites, repos and pull request records: one request, its rows and its answer.

Secrets come from outside (`Secrets`) and are stored as SHA-256 only. What a request may touch was decided by its role
at the gateway; what it finds is decided here.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable

from msgspec.structs import replace

from agentcom.core.audit import audited
from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.directory_base import (
    Asked,
    Registration,
    Secrets,
    done,
    live_tokens,
    new_token,
    refused,
)
from agentcom.core.directory_limits import LIMIT_VERBS
from agentcom.core.directory_pauses import PAUSE_VERBS
from agentcom.core.directory_tokens import TOKEN_VERBS, agent_row
from agentcom.core.directory_v1 import V1_VERBS
from agentcom.core.messages import Administer, Fault, RepoChanged
from agentcom.core.missing import missing
from agentcom.core.submitting import normalised
from agentcom.protocol import views
from agentcom.protocol.bodies import DefaultRepo, NewInvite, NewPull, NewRepo, Register, Registered
from agentcom.protocol.ops import Delete, Op, Put
from agentcom.protocol.rows import LANES, Invite, Mark, PullRequest, Repo, TaskState
from agentcom.protocol.tokens import token_hash


def decide(
    msg: Administer, now_ms: int, rows: Rows, secrets: Secrets, registration: Registration
) -> Decision:
    return audited(Asked(msg, now_ms, rows, secrets, registration), _VERBS[msg.verb])


# --- registrations and invites ---------------------------------------------------------------------


def _register(asked: Asked) -> Decision:
    body: Register = asked.msg.body
    invite = _invite(asked, body.invite)
    if isinstance(invite, Fault):
        return refused(asked, invite)
    if invite is None and not _may_register_without(asked):
        return refused(asked, Fault("forbidden", "registration needs an invite", "invite"))
    if _is_known(asked, body.agent_id):
        return refused(asked, Fault("conflict", f"agent {body.agent_id} is already registered", "agent_id"))
    capabilities = (invite.capabilities if invite else ()) or tuple(body.capabilities)
    secret, put, _ = new_token(asked, body.agent_id, "agent")
    ops: list[Op] = [put, *agent_row(asked, body.agent_id, capabilities)]
    if invite:
        ops.append(Put("invite", (token_hash(body.invite),), replace(invite, used_by=body.agent_id)))
    return done(asked, tuple(ops), _registered(asked, body.agent_id, secret), status=201)


def _is_known(asked: Asked, agent_id: str) -> bool:
    """Whether it has a token that is good. Whoever writes an agent's token writes its `agent` row in the same commit:
    so a new name costs one look, however many tokens there are.
    """
    known = asked.rows.get("agent", (agent_id,)) is not None
    return known and bool(live_tokens(asked.rows, agent_id, asked.now_ms))


def _may_register_without(asked: Asked) -> bool:
    if asked.msg.role == "admin" or asked.registration == "open":
        return True
    return asked.registration == "loopback" and asked.msg.peer_is_loopback


def _invite(asked: Asked, code: str) -> Invite | Fault | None:
    if not code:
        return None
    invite: Invite | None = asked.rows.get("invite", (token_hash(code),))
    if invite is None:
        return Fault("forbidden", "unknown invite", "invite")
    if invite.used_by:
        return Fault("forbidden", "this invite was used", "invite")
    if invite.expires_ms <= asked.now_ms:
        return Fault("forbidden", "this invite has expired", "invite")
    return invite


def _registered(asked: Asked, agent_id: str, secret: str) -> Registered:
    base = asked.msg.args.get("base_url", "")
    return Registered(
        agent_id=agent_id,
        token=secret,
        hub_ws_url=f"{base.replace('http', 'ws', 1)}/ws",
        hub_api_url=base,
        default_repo=_default_repo(asked.rows),
    )


def _create_invite(asked: Asked) -> Decision:
    body: NewInvite = asked.msg.body
    code = asked.secrets.secret()
    key = token_hash(code)
    expires = asked.now_ms + body.expires_s * 1000
    row = Invite(key[:16], tuple(body.capabilities), asked.now_ms, expires)
    issued = views.InviteIssued(
        invite_id=row.invite_id, invite=code, capabilities=row.capabilities, expires_at=row.expires_ms
    )
    return done(asked, (Put("invite", (key,), row),), issued, status=201)


# --- repos -----------------------------------------------------------------------------------------


def _default_repo(rows: Rows) -> str:
    return rows.get("config", ("default_repo",)) or ""


def _tell_repo(name: str) -> tuple[Output, ...]:
    """Before the answer, so that whoever was answered finds it in force."""
    told = (*(f"lane.{lane}" for lane in LANES), "gateway")
    return tuple(Output(to, RepoChanged(name)) for to in told)


def _create_repo(asked: Asked) -> Decision:
    body: NewRepo = asked.msg.body
    if asked.rows.get("repo", (body.name,)) is not None:
        return refused(asked, Fault("conflict", f"repo {body.name} exists", "name"))
    return _save_repo(asked, body, 201)


def _put_repo(asked: Asked) -> Decision:
    body: NewRepo = asked.msg.body
    if asked.msg.args.get("name", "") != body.name:
        return refused(asked, Fault("bad_frame", "path and body name different repos", "name"))
    return _save_repo(asked, body, 200)


def _save_repo(asked: Asked, body: NewRepo, status: int) -> Decision:
    if body.name == "default" or normalised(body.name) != body.name:
        return refused(asked, Fault("bad_frame", f"a repo cannot be named {body.name}", "name"))
    before: Repo | None = asked.rows.get("repo", (body.name,))
    created = before.created_ms if before else asked.now_ms
    row = Repo(body.name, body.url, body.base_branch, body.paused, created, body.forge)
    view = views.repo_view(row, _default_repo(asked.rows))
    if row == before:
        return done(asked, (), view)
    return done(asked, (Put("repo", (row.name,), row),), view, status=status, tell=_tell_repo(row.name))


def _delete_repo(asked: Asked) -> Decision:
    name = asked.msg.args.get("name", "")
    if not _repo_exists(asked, name):
        return refused(asked, missing("repo", name, "name"))
    ops: tuple[Op, ...] = (Delete("repo", (name,)),)
    if _default_repo(asked.rows) == name:
        ops += (Delete("config", ("default_repo",)),)
    return done(asked, ops, views.Acknowledged("deleted"), tell=_tell_repo(name))


def _repo_exists(asked: Asked, name: str) -> bool:
    fits = bool(name) and name.isprintable() and len(name.encode()) <= 256
    return fits and asked.rows.get("repo", (name,)) is not None


def _set_default_repo(asked: Asked) -> Decision:
    body: DefaultRepo = asked.msg.body
    if not body.name:
        ops: tuple[Op, ...] = (Delete("config", ("default_repo",)),)
        return done(asked, ops, views.Acknowledged(), tell=(Output("gateway", RepoChanged("")),))
    if not _repo_exists(asked, body.name):
        return refused(asked, missing("repo", body.name, "name"))
    put = Put("config", ("default_repo",), body.name)
    return done(asked, (put,), views.Acknowledged(), tell=(Output("gateway", RepoChanged(body.name)),))


# --- pull request records --------------------------------------------------------------------------


def _save_pull(asked: Asked) -> Decision:
    body: NewPull = asked.msg.body
    fault = _may_not_record(asked, body)
    if fault:
        return refused(asked, fault)
    pr_id = "pr-" + token_hash(f"{normalised(body.repo)}\n{body.branch}")[:16]
    before: PullRequest | None = asked.rows.get("pull", (pr_id,))
    if before and asked.msg.role == "agent" and before.author != asked.msg.by:
        return refused(asked, Fault("conflict", f"the branch is {before.author}'s", "branch"))
    row = _pull(asked, body, pr_id, before)
    ops: list[Op] = [Put("pull", (pr_id,), row), Put("pull_by_task", (body.task_id, pr_id), Mark())]
    if before and before.task_id != body.task_id:
        ops.append(Delete("pull_by_task", (before.task_id, pr_id)))
    return done(asked, tuple(ops), views.pull_view(row), status=200 if before else 201)


def _may_not_record(asked: Asked, body: NewPull) -> Fault | None:
    task: TaskState | None = asked.rows.get("task", (body.task_id,))
    if task is None:
        return missing("task", body.task_id, "task_id")
    if asked.msg.role == "agent" and asked.msg.by not in (task.holder, task.last_holder):
        return Fault("not_owner", "another agent holds this task", "task_id", task_id=body.task_id)
    return None


def _pull(asked: Asked, body: NewPull, pr_id: str, before: PullRequest | None) -> PullRequest:
    return PullRequest(
        pr_id=pr_id,
        repo=body.repo,
        task_id=body.task_id,
        branch=body.branch,
        base_branch=body.base_branch,
        commit=body.commit,
        title=body.title,
        body=body.body,
        labels=tuple(body.labels),
        author=before.author if before else asked.msg.by,
        created_ms=before.created_ms if before else asked.now_ms,
        updated_ms=asked.now_ms,
    )


_VERBS: dict[str, Callable[[Asked], Decision]] = {
    "agent.register": _register,
    "invite.create": _create_invite,
    "repo.create": _create_repo,
    "repo.put": _put_repo,
    "repo.delete": _delete_repo,
    "repo.default": _set_default_repo,
    "pull.create": _save_pull,
    **LIMIT_VERBS,
    **PAUSE_VERBS,
    **TOKEN_VERBS,
    **V1_VERBS,
}
