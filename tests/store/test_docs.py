"""The reference page lists the tables as they are."""

from pathlib import Path
from typing import Any

from agentcom import store
from agentcom.protocol.rows import PHASES
from agentcom.store.tables import TABLES, Table

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "store.md"


def row_of(table: Table) -> str:
    key = table.key.replace(" ", ", ")
    row = "any" if table.row is Any else table.row.__name__
    writers = ", ".join(table.writers).replace("*", "any") or "store"
    mark = "counter" if table.counter else "append" if table.append else ""
    return f"| {table.number} | `{table.name}` | `{key}` | {row} | {writers} | {mark} |"


def test_the_reference_page_lists_every_table_as_it_is():
    written = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert written == [row_of(table) for table in TABLES.values()]


def test_phases_keep_their_numbers():
    """They are bytes on disk."""
    assert PHASES[:3] == ("queued", "scheduled", "assigned")
    assert PHASES[3:] == ("working", "blocked", "completed", "dead_letter", "cancelled")


def test_everything_the_package_names_is_there():
    assert all(hasattr(store, name) for name in store.__all__)
