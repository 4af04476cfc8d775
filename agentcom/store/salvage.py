"""Salvage: when a store cannot be restored, what can still be found of it goes on: in its file, in snapshots that are
damaged too, in an archive with gaps, in the redo log.

For who holds the folder's lock.
May import: agentcom.store.{child,layout,restore,salvaging,steps}, msgspec.
"""

import shutil

import msgspec

from agentcom.store.child import Tool, ToolFailed
from agentcom.store.layout import Layout
from agentcom.store.restore import Folders, Record, ask_of, now_ms, put_in_force, scratch_in, told_as
from agentcom.store.restore_plan import Lost, Target
from agentcom.store.salvaging import Salvaged


def salvage(layout: Layout, folders: Folders, why: str, no_restore: str) -> Record:
    """Put a store of what can be found in force; an empty one when that is nothing. `no_restore` says why
    it could not be restored. Raises as `restore` does.
    """
    fresh = layout.fresh()
    try:
        with scratch_in(layout.folder) as scratch:
            ask = ask_of(layout, folders, Target(), scratch, into=fresh)
            made = msgspec.convert(Tool("salvaging").run(ask), Salvaged)
    except ToolFailed as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise told_as(error) from error
    record = Record(
        how="salvaged" if made.rows else "emptied",
        ms=now_ms(),
        why=why,
        epoch=made.epoch,
        line=made.line,
        store=str(fresh),
        aside="",
        summary=(_told(made), *made.unread, *made.dropped, no_restore),
        lost=Lost(1, made.newest),
    )
    return put_in_force(layout, fresh, record, knows_admin=made.knows_admin)


def _told(made: Salvaged) -> str:
    if made.rows:
        lacks = f"{made.tables_unread} tables could not be read whole, {made.rows_dropped} rows were dropped"
        return f"it was put together of what was found: {', '.join(made.found)}; {lacks}"
    if made.was_nothing:
        return "nothing could be read of the store, and there was neither a snapshot nor an archive: it starts empty"
    return (
        "nothing could be read of the store, and nothing of the snapshots and the archive that are there could be "
        f"used ({'; '.join(made.dropped) or 'they have no row'}): it starts empty"
    )
