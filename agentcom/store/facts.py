"""What a store's file says of itself, and where its journal may jump.

May import: agentcom.store.{segments,tables,walking}, msgspec.
"""

from typing import Any

import msgspec

from agentcom.store.segments import RAISE, Line
from agentcom.store.tables import TABLES, decode_key
from agentcom.store.walking import Look

_META = TABLES["meta"]


class Facts(msgspec.Struct, frozen=True):
    """What the file says of itself in table `meta`; what cannot be read is as in a new file."""

    schema: int = 0
    epoch: int = 1
    line: Line = ()
    clean: bool = False


def file_facts(look: Look) -> Facts:
    """Read `meta`. A row that is not what it must be is told."""
    found: dict[str, Any] = {}
    for key, row in look.walk(_META):
        name = str(decode_key(_META, key)[0]) if row is not None else ""
        if name not in Facts.__struct_fields__:
            continue
        try:
            found[name] = msgspec.convert(row, Facts.__annotations__[name])
        except msgspec.ValidationError as error:
            look.findings.tell(_META, key, f"the row is not one of this table: {error}")
    return Facts(**found)


def starts(line: Line) -> frozenset[int]:
    """The seqs at which an epoch of this line began: there, and only there, the journal jumps."""
    return frozenset(last + RAISE + 1 for _, last in line)


def follows(seq: int, before: int, line: frozenset[int]) -> bool:
    """Whether a journal entry may come right after another. Epochs between the two may be without entries."""
    while seq != before + 1 and seq in line:
        seq -= RAISE
    return seq == before + 1
