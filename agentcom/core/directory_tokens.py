"""Tokens: made, rotated, revoked, and the short ones of a login.

May import: agentcom.protocol, agentcom.core.
"""

import re
from collections.abc import Callable

from msgspec.structs import replace

from agentcom.core.decision import Decision, Output
from agentcom.core.directory_base import (
    Asked,
    done,
    every_row,
    live_tokens,
    new_token,
    refused,
    revoke,
)
from agentcom.core.messages import Fault, SubjectRevoked, TokenChanged
from agentcom.core.missing import missing
from agentcom.protocol import views
from agentcom.protocol.bodies import NewToken, Rotate
from agentcom.protocol.ops import Delete, Key, Op, Put
from agentcom.protocol.rows import Agent, Token
from agentcom.protocol.tokens import token_hash

_AGENT_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")
BOOTSTRAP = "admin.token"
"""Subject of the token a hub writes into its own data folder."""


def _create_token(asked: Asked) -> Decision:
    body: NewToken = asked.msg.body
    if body.subject == BOOTSTRAP:
        return refused(asked, Fault("conflict", "this subject is the hub's own", "subject"))
    ops: tuple[Op, ...] = ()
    if body.role == "agent":
        if not is_agent_id(body.subject):
            return refused(
                asked, Fault("bad_frame", "an agent's token needs an agent_id as subject", "subject")
            )
        ops = agent_row(asked, body.subject, ())
    expires_ms = asked.now_ms + body.expires_s * 1000 if body.expires_s else 0
    secret, put, row = new_token(asked, body.subject, body.role, expires_ms)
    return done(asked, (put, *ops), _issued(row, secret), status=201)


def _issued(row: Token, secret: str) -> views.TokenIssued:
    return views.TokenIssued(
        token_id=row.token_id,
        token=secret,
        subject=row.subject,
        role=row.role,
        expires_at=row.expires_ms or None,
    )


def is_agent_id(text: str) -> bool:
    return _AGENT_ID.fullmatch(text) is not None


def _delete_token(asked: Asked) -> Decision:
    found = _by_id(asked)
    if found is None:
        return refused(asked, _unknown(asked))
    ops, tell = revoke(asked, [one for one in (found, *_logins(asked, found[0])) if not one[1].revoked_ms])
    return done(asked, ops, views.Acknowledged("revoked"), tell=tell)


def _unknown(asked: Asked) -> Fault:
    return missing("token", asked.msg.args.get("token_id", ""), "token_id")


def _by_id(asked: Asked) -> tuple[Key, Token] | None:
    """The id is the head of the row's key."""
    token_id = asked.msg.args.get("token_id", "")
    found = asked.rows.scan("token", (), after=(token_id,), limit=1) if is_agent_id(token_id) else []
    return found[0] if len(token_id) == 16 and found and found[0][1].token_id == token_id else None


def _logins(asked: Asked, key: Key) -> list[tuple[Key, Token]]:
    """What was logged in with this token ends with it."""
    return [one for one in every_row(asked.rows, "token") if one[1].parent == key[0]]


def _rotate(asked: Asked) -> Decision:
    """A new secret for the same subject. The old one ends at once, or after the time in which both are good."""
    found, body = _by_id(asked), asked.msg.body
    assert isinstance(body, Rotate)
    if found is None:
        return refused(asked, _unknown(asked))
    key, old = found
    if old.revoked_ms or (old.expires_ms and old.expires_ms <= asked.now_ms):
        return refused(asked, Fault("invalid_state", "this token is revoked or has expired", "token_id"))
    if old.parent or old.subject == BOOTSTRAP:
        said = "a login ends by itself; log in again" if old.parent else "delete its file and restart the hub"
        return refused(asked, Fault("invalid_state", said, "token_id"))
    secret, put, row = new_token(asked, old.subject, old.role, old.expires_ms)
    ending = [found, *_logins(asked, key)]
    ops, tell = _end_later(asked, ending, body.keep_s) if body.keep_s else revoke(asked, ending)
    return done(asked, (put, *ops), _issued(row, secret), status=201, tell=tell)


def _end_later(
    asked: Asked, ending: list[tuple[Key, Token]], keep_s: int
) -> tuple[tuple[Op, ...], tuple[Output, ...]]:
    until = asked.now_ms + keep_s * 1000
    ops = (
        Put("token", key, replace(row, expires_ms=min(until, row.expires_ms or until))) for key, row in ending
    )
    return tuple(ops), tuple(Output("gateway", TokenChanged(str(key[0]))) for key, _ in ending)


# --- logins ----------------------------------------------------------------------------------------


def csrf_of(secret: str) -> str:
    """What a page must send with each write, made from the cookie that it cannot read."""
    return token_hash(f"csrf:{secret}")[:32]


def _login(asked: Asked) -> Decision:
    """A token of its own for one browser, that ends by itself; the rows of logins that ended go with it."""
    parent: Token | None = asked.rows.get("token", (asked.msg.args["token_hash"],))
    if parent is None or parent.revoked_ms:
        return refused(asked, Fault("invalid_token", "unknown or revoked token"))
    until = asked.now_ms + int(asked.msg.args["login_ms"])
    expires = min(until, parent.expires_ms or until)
    secret, put, row = new_token(
        asked, parent.subject, parent.role, expires, parent=asked.msg.args["token_hash"]
    )
    over = [
        Delete("token", key)
        for key, one in every_row(asked.rows, "token")
        if one.parent and (one.revoked_ms or one.expires_ms <= asked.now_ms)
    ]
    said = views.LoggedIn(subject=row.subject, role=row.role, csrf=csrf_of(secret), expires_at=expires)
    return done(asked, (*over, put), said, cookie=secret)


def _logout(asked: Asked) -> Decision:
    """A login ends. A token that somebody logs out with is none, and stays."""
    key = asked.msg.args["token_hash"]
    row: Token | None = asked.rows.get("token", (key,))
    said = views.Acknowledged("logged out")
    if row is None or not row.parent:
        return done(asked, (), said, cookie="")
    return done(
        asked, (Delete("token", (key,)),), said, tell=(Output("gateway", SubjectRevoked(key)),), cookie=""
    )


def _bootstrap(asked: Asked) -> Decision:
    """The hub has no readable admin token of its own: make one; the one it made before is void."""
    ops, tell = revoke(asked, live_tokens(asked.rows, BOOTSTRAP, asked.now_ms))
    secret, put, row = new_token(asked, BOOTSTRAP, "admin")
    return done(asked, (*ops, put), _issued(row, secret), tell=tell)


def agent_row(asked: Asked, agent_id: str, capabilities: tuple[str, ...]) -> tuple[Op, ...]:
    known: Agent | None = asked.rows.get("agent", (agent_id,))
    if known is None:
        row = Agent(agent_id, capabilities, asked.now_ms, asked.now_ms)
    elif capabilities and known.capabilities != capabilities:
        row = replace(known, capabilities=capabilities, updated_ms=asked.now_ms)
    else:
        return ()
    return (Put("agent", (agent_id,), row),)


TOKEN_VERBS: dict[str, Callable[[Asked], Decision]] = {
    "bootstrap": _bootstrap,
    "token.create": _create_token,
    "token.delete": _delete_token,
    "token.rotate": _rotate,
    "login": _login,
    "logout": _logout,
}
