"""A commit's logical ops into bytes: what its tables do not take is found before any transaction begins.

May import: agentcom.protocol, agentcom.store.{errors,messages,tables}, msgspec.
"""

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from agentcom.protocol.ops import Add, Append, AppendMany, Delete, Must, Op, Put
from agentcom.store.errors import KeyRefused
from agentcom.store.messages import Commit
from agentcom.store.tables import TABLES, Table, encode_key, encode_row

Write = tuple[int, bytes, bytes | None]
Appending = tuple[int, bytes, bytes, bytes]  #: table, the key without its sequence, its head's key, row

_HEAD = TABLES["head"]


class Prepared(msgspec.Struct):
    """A commit in bytes; `problem` says why it can never be written."""

    actor: str
    incarnation: int
    ticket: int
    event: str
    writes: list[Write] = []
    adds: list[tuple[bytes, int]] = []
    appends: list[Appending] = []
    must: list[tuple[Table, bytes, Must]] = []
    problem: str = ""


def prepare(commit: Commit) -> Prepared:
    """Check and encode one commit."""
    ready = Prepared(commit.actor, commit.incarnation, commit.ticket, commit.event)
    actor, writes = commit.actor, ready.writes
    try:
        for op in commit.ops:
            kind, table = type(op), _writable(op.table, actor)
            # Nearly all are these: written out, as it is the dearest part of a commit.
            if kind is Put and not table.counter:
                writes.append((table.number, encode_key(table, op.key), encode_row(op.row)))  # type: ignore[attr-defined]
            else:
                _OPS[kind](ready, table, op)
        for must in commit.must:
            table = _table(must.table)
            ready.must.append((table, encode_key(table, must.key), must))
    except (KeyRefused, _UnwritableError) as error:
        ready.problem = str(error)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        ready.problem = f"does not encode: {type(error).__name__}: {error}"
    return ready


class _UnwritableError(Exception):
    """An op that its table does not take."""


def _table(name: str) -> Table:
    table = TABLES.get(name)
    if table is None:
        raise _UnwritableError(f"unknown table {name!r}")
    return table


@functools.lru_cache(maxsize=4096)
def _writable(name: str, actor: str) -> Table:
    table = _table(name)
    if not table.may_write(actor):
        raise _UnwritableError(f"{actor!r} may not write table {name!r}")
    return table


def _refuse_put(ready: Prepared, table: Table, op: Put) -> None:
    raise _UnwritableError(f"table {table.name!r} takes Add only")


def _prepare_delete(ready: Prepared, table: Table, op: Delete) -> None:
    ready.writes.append((table.number, encode_key(table, op.key), None))


def _prepare_add(ready: Prepared, table: Table, op: Add) -> None:
    if not table.counter:
        raise _UnwritableError(f"table {table.name!r} does not count")
    if not isinstance(op.delta, int):
        raise _UnwritableError(f"table {table.name!r} adds whole numbers, not {op.delta!r}")
    ready.adds.append((encode_key(table, op.key), op.delta))


def _prepare_append(ready: Prepared, table: Table, op: Append) -> None:
    if len(op.key) != 1:
        raise _UnwritableError(f"table {table.name!r} does not append at {op.key!r}")
    _prepare_appends(ready, table, op)


def _prepare_appends(ready: Prepared, table: Table, op: Append | AppendMany) -> None:
    if not table.append:
        raise _UnwritableError(f"table {table.name!r} does not append")
    row, number, name = encode_row(op.row), table.number, table.name
    ready.appends += [(number, *_place(name, text), row) for text in op.key]


@functools.lru_cache(maxsize=16_384)
def _place(name: str, text: Any) -> tuple[bytes, bytes]:
    """What every key appended at `text` begins with, and the key of its head."""
    key = encode_key(TABLES[name], (text, 0))  # as long as any key there will be
    return key[:-8], encode_key(_HEAD, (name, text))


_OPS: dict[type[Op], Callable[[Prepared, Table, Any], None]] = {
    Put: _refuse_put,
    Delete: _prepare_delete,
    Add: _prepare_add,
    Append: _prepare_append,
    AppendMany: _prepare_appends,
}
