"""The first entries of a new epoch: every number that clients remember is raised above all that were ever minted.

They are ordinary journal entries, so that the journal still folds to the rows.
May import: agentcom.protocol, agentcom.store.{drafts,restore_plan,segments,tables}, msgspec.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from agentcom.protocol.rows import Journal
from agentcom.protocol.tokens import token_hash
from agentcom.store.drafts import Draft
from agentcom.store.layout import ADMIN
from agentcom.store.restore_plan import Way
from agentcom.store.segments import RAISE, Entry
from agentcom.store.tables import TABLES, decode_key, decode_row, encode_key, encode_row

Write = tuple[int, bytes, bytes | None]

TASK, HEAD, TOKEN = TABLES["task"], TABLES["head"], TABLES["token"]
OPS = 1_000
"""Of one entry at most."""
LIVES = 1 << 10
"""So many lives of the hub may have been discarded: incarnations are minted from lives, and must not come again."""


def begin_epoch(draft: Draft, way: Way, by: int, ms: int, life: int) -> int:
    """Make the draft the first state of `way`'s own epoch, all its numbers raised `by` so much; the newest seq."""
    ops = (op for rows in _slices(draft) for op in _raised(rows, by))
    return write_epoch(draft, way, _bundles(ops), ms, life)


def write_epoch(
    draft: Draft, way: Way, bundles: Iterable[tuple[str, list[Write]]], ms: int, life: int
) -> int:
    """Entries of the stream "restore" from the first seq of `way`'s own epoch on, and who the file is; the newest seq.

    There is one at least, so that the newest entry of a restored store is always its epoch's.
    """
    seq = way.line[-1][1] + RAISE
    for event, ops in bundles:
        seq += 1
        draft.apply([Entry(seq, encode_row(Journal(ms, "restore", event, tuple(ops))))])
    draft.put_meta(epoch=way.epoch, line=way.line, life=life + LIVES, clean=False)
    return seq


def knows_admin(draft: Draft, folder: Path) -> bool:
    """Whether the token in `admin.token` is the hub's. One that is not would keep its operator out."""
    try:
        secret = (folder / ADMIN).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return False
    with draft.reading() as view:
        return view.get(TOKEN.number, encode_key(TOKEN, (token_hash(secret),))) is not None


def _bundles(ops: Iterator[Write]) -> Iterator[tuple[str, list[Write]]]:
    yield "epoch", list(islice(ops, OPS))
    while some := list(islice(ops, OPS)):
        yield "epoch", some


def _slices(draft: Draft) -> Iterator[list[Write]]:
    """Tasks and heads, read before they are written."""
    for table in (TASK, HEAD):
        start = b""
        while True:
            with draft.reading() as view:
                rows = list(islice(view.forward(table.number, start, None), OPS))
            if not rows:
                break
            yield [(table.number, key, value) for key, value in rows]
            start = rows[-1][0] + b"\0"


def _raised(rows: list[Write], by: int) -> Iterator[Write]:
    for number, key, value in rows:
        table = TASK if number == TASK.number else HEAD
        row = decode_row(table, value or b"", decode_key(table, key))
        if table is TASK:
            row = msgspec.structs.replace(row, generation=row.generation + by)
        else:
            row += by
        yield number, key, encode_row(row)
