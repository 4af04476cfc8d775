"""What protocol 1's routes ask of the directory: tokens by agent, identities of an older hub, two settings.

May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from urllib.parse import urlparse

import msgspec

from agentcom.core.decision import Decision, Output
from agentcom.core.directory_base import Asked, done, live_tokens, new_token, refused, revoke
from agentcom.core.directory_tokens import agent_row
from agentcom.core.messages import Fault, RepoChanged
from agentcom.core.submitting import find_repo, normalised
from agentcom.protocol import v1_bodies as bodies
from agentcom.protocol.bodies import RepoName
from agentcom.protocol.ops import Op, Put
from agentcom.protocol.rows import LANES, Repo, Token
from agentcom.protocol.views import Acknowledged


def _create_token(asked: Asked) -> Decision:
    """Another token for the agent: those it has stay good."""
    agent_id: str = asked.msg.body.agent_id
    secret, put, _ = new_token(asked, agent_id, "agent")
    ops = (put, *agent_row(asked, agent_id, ()))
    return done(asked, ops, bodies.AgentToken(agent_id, secret), status=201)


def _revoke_all(asked: Asked) -> Decision:
    """Every token of an agent; its sessions close at once."""
    agent_id = asked.msg.args.get("agent_id", "")
    found = [one for one in live_tokens(asked.rows, agent_id, asked.now_ms) if one[1].role == "agent"]
    ops, tell = revoke(asked, found)
    return done(asked, ops, bodies.Revoked("revoked", agent_id, len(found)), tell=tell)


def _import(asked: Asked) -> Decision:
    """Identities of an older hub. The same again changes nothing, and a token that was revoked here stays so."""
    ops: list[Op] = []
    results: list[str] = []
    new: dict[str, str] = {}
    for one in asked.msg.body.tokens:
        row: Token | None = asked.rows.get("token", (one.token_hash,))
        owner = row.subject if row else new.get(one.token_hash)
        if owner is None:
            new[one.token_hash] = one.agent_id
            made = Token(one.token_hash[:16], one.agent_id, "agent", asked.now_ms)
            ops.append(Put("token", (one.token_hash,), made))
        same = owner in (None, one.agent_id) and (row is None or row.role == "agent")
        if same and (row is None or row.is_live(asked.now_ms)):
            ops += agent_row(asked, one.agent_id, ())
        results.append("imported" if owner is None else _known(row) if same else "conflict")
    return done(asked, tuple(dict.fromkeys(ops)), bodies.ImportedTokens(results))


def _known(row: Token | None) -> str:
    return "revoked" if row is not None and row.revoked_ms else "known"


def _is_repo_name(name: str) -> bool:
    try:
        msgspec.convert(name, RepoName)
    except msgspec.ValidationError:
        return False
    return True


def _default_repo(asked: Asked) -> Decision:
    """By its URL: a repo that is not known yet is added under the last part of it."""
    url: str = asked.msg.body.url
    repo, ops = find_repo(url, asked.rows), []
    if repo is None:
        name = normalised(urlparse(url).path or url).rpartition("/")[2]
        if not _is_repo_name(name):
            return refused(asked, Fault("bad_frame", "no repo's name can be made of this URL", "url"))
        if name == "default" or asked.rows.get("repo", (name,)) is not None:
            said = f"another repo is named {name}; add this one by POST /api/repos"
            return refused(asked, Fault("conflict", said, "url"))
        repo = Repo(name, url, created_ms=asked.now_ms)
        ops = [Put("repo", (name,), repo)]
    ops.append(Put("config", ("default_repo",), repo.name))
    tell = tuple(
        Output(to, RepoChanged(repo.name)) for to in (*(f"lane.{lane}" for lane in LANES), "gateway")
    )
    return done(asked, tuple(ops), bodies.DefaultRepoShown(repo.url, configured=True), tell=tell)


def _heartbeat(asked: Asked) -> Decision:
    value = asked.msg.body.heartbeat_interval_ms
    return done(asked, (Put("config", ("heartbeat_interval_ms",), value),), Acknowledged("updated"))


def _retention(asked: Asked) -> Decision:
    value = asked.msg.body.mailbox_ttl_ms
    return done(asked, (Put("config", ("mailbox_ttl_ms",), value),), Acknowledged("updated"))


V1_VERBS: dict[str, Callable[[Asked], Decision]] = {
    "admin.token_create": _create_token,
    "admin.token_revoke": _revoke_all,
    "token.import": _import,
    "repo.default_url": _default_repo,
    "heartbeat.put": _heartbeat,
    "retention.put": _retention,
}
