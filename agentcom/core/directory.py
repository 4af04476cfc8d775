"""Registrations, tokens, invites, repos and pull request records: one request, its rows and its answer.

Secrets come from outside (`Secrets`) and are stored as SHA-256 only. What a request may touch was decided by its role
at the gateway; what it finds is decided here.
May import: agentcom.protocol, agentcom.core.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

from msgspec.structs import replace

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import Administer, Fault, Reply, RepoChanged, SubjectRevoked
from agentcom.core.submitting import normalised
from agentcom.protocol import views
from agentcom.protocol.bodies import DefaultRepo, NewInvite, NewPull, NewRepo, NewToken, Register, Registered
from agentcom.protocol.ops import Delete, Key, Op, Put
from agentcom.protocol.rows import LANES, Agent, Invite, Mark, PullRequest, Repo, TaskState, Token

Registration = Literal["invite", "loopback", "open"]
_AGENT_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
BOOTSTRAP = "admin.token"
"""Subject of the token a hub writes into its own data folder."""


class Secrets(Protocol):
    def secret(self) -> str:
        """256 random bits as text."""
        ...


class Asked(NamedTuple):
    """One request and what deciding it takes."""

    msg: Administer
    now_ms: int
    rows: Rows
    secrets: Secrets
    registration: Registration


def decide(
    msg: Administer, now_ms: int, rows: Rows, secrets: Secrets, registration: Registration
) -> Decision:
    return _VERBS[msg.verb](Asked(msg, now_ms, rows, secrets, registration))


def _done(
    asked: Asked, ops: tuple[Op, ...], body: Any, *, status: int = 200, tell: tuple[Output, ...] = ()
) -> Decision:
    reply = Output(asked.msg.reply_to, Reply(asked.msg.request, body, status))
    return Decision(ops, (*tell, reply), asked.msg.verb)


def _refused(asked: Asked, fault: Fault) -> Decision:
    return Decision(outputs=(Output(asked.msg.reply_to, Reply(asked.msg.request, fault)),))


# --- tokens ----------------------------------------------------------------------------------------


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(asked: Asked, subject: str, role: Any) -> tuple[str, Put, Token]:
    """A new secret and its row. The id is the head of the hash, so that it finds its row."""
    secret = asked.secrets.secret()
    key = digest(secret)
    row = Token(token_id=key[:16], subject=subject, role=role, created_ms=asked.now_ms)
    return secret, Put("token", (key,), row), row


def _all(rows: Rows, table: str) -> Iterator[tuple[Key, Any]]:
    after: Key | None = None
    while found := rows.scan(table, (), after=after, limit=500):
        yield from found
        after = found[-1][0]


def _live_tokens(rows: Rows, subject: str) -> list[tuple[Key, Token]]:
    return [(key, row) for key, row in _all(rows, "token") if row.subject == subject and not row.revoked_ms]


def _revoke(asked: Asked, found: list[tuple[Key, Token]]) -> tuple[tuple[Op, ...], tuple[Output, ...]]:
    ops = tuple(Put("token", key, replace(row, revoked_ms=asked.now_ms)) for key, row in found)
    tell = tuple(Output("gateway", SubjectRevoked(str(key[0]))) for key, _ in found)
    return ops, tell


def _create_token(asked: Asked) -> Decision:
    body: NewToken = asked.msg.body
    if body.subject == BOOTSTRAP:
        return _refused(asked, Fault("conflict", "this subject is the hub's own", "subject"))
    ops: tuple[Op, ...] = ()
    if body.role == "agent":
        if not is_agent_id(body.subject):
            return _refused(
                asked, Fault("bad_frame", "an agent's token needs an agent_id as subject", "subject")
            )
        ops = _agent_row(asked, body.subject, ())
    secret, put, row = _token(asked, body.subject, body.role)
    issued = views.TokenIssued(token_id=row.token_id, token=secret, subject=row.subject, role=row.role)
    return _done(asked, (put, *ops), issued, status=201)


def is_agent_id(text: str) -> bool:
    return _AGENT_ID.fullmatch(text) is not None


def _delete_token(asked: Asked) -> Decision:
    token_id = asked.msg.args.get("token_id", "")
    found = asked.rows.scan("token", (), after=(token_id,), limit=1) if is_agent_id(token_id) else []
    if len(token_id) != 16 or not found or found[0][1].token_id != token_id:
        return _refused(asked, Fault("not_found", "no such token", "token_id"))
    if found[0][1].revoked_ms:
        return _done(asked, (), views.Acknowledged("revoked"))
    ops, tell = _revoke(asked, found)
    return _done(asked, ops, views.Acknowledged("revoked"), tell=tell)


def _bootstrap(asked: Asked) -> Decision:
    """The hub has no readable admin token of its own: make one; the one it made before is void."""
    ops, tell = _revoke(asked, _live_tokens(asked.rows, BOOTSTRAP))
    secret, put, row = _token(asked, BOOTSTRAP, "admin")
    issued = views.TokenIssued(token_id=row.token_id, token=secret, subject=row.subject, role=row.role)
    return _done(asked, (*ops, put), issued, tell=tell)


# --- registrations and invites ---------------------------------------------------------------------


def _agent_row(asked: Asked, agent_id: str, capabilities: tuple[str, ...]) -> tuple[Op, ...]:
    known: Agent | None = asked.rows.get("agent", (agent_id,))
    if known is None:
        row = Agent(agent_id, capabilities, asked.now_ms, asked.now_ms)
    elif capabilities and known.capabilities != capabilities:
        row = replace(known, capabilities=capabilities, updated_ms=asked.now_ms)
    else:
        return ()
    return (Put("agent", (agent_id,), row),)


def _register(asked: Asked) -> Decision:
    body: Register = asked.msg.body
    invite = _invite(asked, body.invite)
    if isinstance(invite, Fault):
        return _refused(asked, invite)
    if invite is None and not _may_register_without(asked):
        return _refused(asked, Fault("forbidden", "registration needs an invite", "invite"))
    if _live_tokens(asked.rows, body.agent_id):
        return _refused(asked, Fault("conflict", f"agent {body.agent_id} is already registered", "agent_id"))
    capabilities = (invite.capabilities if invite else ()) or tuple(body.capabilities)
    secret, put, _ = _token(asked, body.agent_id, "agent")
    ops: list[Op] = [put, *_agent_row(asked, body.agent_id, capabilities)]
    if invite:
        ops.append(Put("invite", (digest(body.invite),), replace(invite, used_by=body.agent_id)))
    return _done(asked, tuple(ops), _registered(asked, body.agent_id, secret), status=201)


def _may_register_without(asked: Asked) -> bool:
    if asked.msg.role == "admin" or asked.registration == "open":
        return True
    return asked.registration == "loopback" and asked.msg.peer_is_loopback


def _invite(asked: Asked, code: str) -> Invite | Fault | None:
    if not code:
        return None
    invite: Invite | None = asked.rows.get("invite", (digest(code),))
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
    key = digest(code)
    expires = asked.now_ms + body.expires_s * 1000
    row = Invite(key[:16], tuple(body.capabilities), asked.now_ms, expires)
    issued = views.InviteIssued(
        invite_id=row.invite_id, invite=code, capabilities=row.capabilities, expires_at=row.expires_ms
    )
    return _done(asked, (Put("invite", (key,), row),), issued, status=201)


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
        return _refused(asked, Fault("conflict", f"repo {body.name} exists", "name"))
    return _save_repo(asked, body, 201)


def _put_repo(asked: Asked) -> Decision:
    body: NewRepo = asked.msg.body
    if asked.msg.args.get("name", "") != body.name:
        return _refused(asked, Fault("bad_frame", "path and body name different repos", "name"))
    return _save_repo(asked, body, 200)


def _save_repo(asked: Asked, body: NewRepo, status: int) -> Decision:
    if body.name == "default" or normalised(body.name) != body.name:
        return _refused(asked, Fault("bad_frame", f"a repo cannot be named {body.name}", "name"))
    before: Repo | None = asked.rows.get("repo", (body.name,))
    created = before.created_ms if before else asked.now_ms
    row = Repo(body.name, body.url, body.base_branch, body.paused, created, body.forge)
    view = views.repo_view(row, _default_repo(asked.rows))
    if row == before:
        return _done(asked, (), view)
    return _done(asked, (Put("repo", (row.name,), row),), view, status=status, tell=_tell_repo(row.name))


def _delete_repo(asked: Asked) -> Decision:
    name = asked.msg.args.get("name", "")
    if not _repo_exists(asked, name):
        return _refused(asked, Fault("not_found", f"no repo {name[:200]!r}", "name"))
    ops: tuple[Op, ...] = (Delete("repo", (name,)),)
    if _default_repo(asked.rows) == name:
        ops += (Delete("config", ("default_repo",)),)
    return _done(asked, ops, views.Acknowledged("deleted"), tell=_tell_repo(name))


def _repo_exists(asked: Asked, name: str) -> bool:
    fits = bool(name) and name.isprintable() and len(name.encode()) <= 256
    return fits and asked.rows.get("repo", (name,)) is not None


def _set_default_repo(asked: Asked) -> Decision:
    body: DefaultRepo = asked.msg.body
    if not body.name:
        ops: tuple[Op, ...] = (Delete("config", ("default_repo",)),)
        return _done(asked, ops, views.Acknowledged(), tell=(Output("gateway", RepoChanged("")),))
    if not _repo_exists(asked, body.name):
        return _refused(asked, Fault("not_found", f"no repo {body.name!r}", "name"))
    put = Put("config", ("default_repo",), body.name)
    return _done(asked, (put,), views.Acknowledged(), tell=(Output("gateway", RepoChanged(body.name)),))


# --- pull request records --------------------------------------------------------------------------


def _save_pull(asked: Asked) -> Decision:
    body: NewPull = asked.msg.body
    fault = _may_not_record(asked, body)
    if fault:
        return _refused(asked, fault)
    pr_id = "pr-" + digest(f"{normalised(body.repo)}\n{body.branch}")[:16]
    before: PullRequest | None = asked.rows.get("pull", (pr_id,))
    if before and asked.msg.role == "agent" and before.author != asked.msg.by:
        return _refused(asked, Fault("conflict", f"the branch is {before.author}'s", "branch"))
    row = _pull(asked, body, pr_id, before)
    ops: list[Op] = [Put("pull", (pr_id,), row), Put("pull_by_task", (body.task_id, pr_id), Mark())]
    if before and before.task_id != body.task_id:
        ops.append(Delete("pull_by_task", (before.task_id, pr_id)))
    return _done(asked, tuple(ops), views.pull_view(row), status=200 if before else 201)


def _may_not_record(asked: Asked, body: NewPull) -> Fault | None:
    task: TaskState | None = asked.rows.get("task", (body.task_id,))
    if task is None:
        return Fault("not_found", "no such task", "task_id")
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
    "bootstrap": _bootstrap,
    "agent.register": _register,
    "invite.create": _create_invite,
    "token.create": _create_token,
    "token.delete": _delete_token,
    "repo.create": _create_repo,
    "repo.put": _put_repo,
    "repo.delete": _delete_repo,
    "repo.default": _set_default_repo,
    "pull.create": _save_pull,
}
