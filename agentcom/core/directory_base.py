"""What every decision of the directory is made of: the request, its answer, and the tokens' rows.

A token is found by the SHA-256 of its secret, which is its row's key. The hash is of 256 random bits, so that it needs
neither salt nor stretching; and a look-up by it compares only hashes. How long that takes may tell how much of a
stored hash was guessed, but who could make secrets with a wanted hash could as well invert SHA-256: so the time of a
look-up tells nothing about a secret, as a comparison in constant time would not.
May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

from msgspec.structs import replace

from agentcom.core.decision import Decision, Output, Rows
from agentcom.core.messages import Administer, Fault, Reply, SubjectRevoked
from agentcom.protocol.ops import Key, Op, Put
from agentcom.protocol.rows import Token
from agentcom.protocol.tokens import token_hash

Registration = Literal["invite", "loopback", "open"]


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


def done(
    asked: Asked,
    ops: tuple[Op, ...],
    body: Any,
    *,
    status: int = 200,
    tell: tuple[Output, ...] = (),
    cookie: str | None = None,
) -> Decision:
    reply = Output(asked.msg.reply_to, Reply(asked.msg.request, body, status, cookie))
    return Decision(ops, (*tell, reply), asked.msg.verb)


def refused(asked: Asked, fault: Fault) -> Decision:
    return Decision(outputs=(Output(asked.msg.reply_to, Reply(asked.msg.request, fault)),))


# --- tokens ----------------------------------------------------------------------------------------


def new_token(
    asked: Asked, subject: str, role: Any, expires_ms: int = 0, parent: str = ""
) -> tuple[str, Put, Token]:
    """A new secret and its row. The id is the head of the hash, so that it finds its row."""
    secret = asked.secrets.secret()
    key = token_hash(secret)
    row = Token(
        token_id=key[:16],
        subject=subject,
        role=role,
        created_ms=asked.now_ms,
        expires_ms=expires_ms,
        parent=parent,
    )
    return secret, Put("token", (key,), row), row


def every_row(rows: Rows, table: str) -> Iterator[tuple[Key, Any]]:
    after: Key | None = None
    while found := rows.scan(table, (), after=after, limit=500):
        yield from found
        after = found[-1][0]


def live_tokens(rows: Rows, subject: str, now_ms: int) -> list[tuple[Key, Token]]:
    return [
        (key, row) for key, row in every_row(rows, "token") if row.subject == subject and row.is_live(now_ms)
    ]


def revoke(asked: Asked, found: list[tuple[Key, Token]]) -> tuple[tuple[Op, ...], tuple[Output, ...]]:
    ops = tuple(Put("token", key, replace(row, revoked_ms=asked.now_ms)) for key, row in found)
    tell = tuple(Output("gateway", SubjectRevoked(str(key[0]))) for key, _ in found)
    return ops, tell
