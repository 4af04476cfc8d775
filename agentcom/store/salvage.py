"""Salvage: when neither snapshots nor an archive can mend a store, what can still be read of it goes on.

For who holds the folder's lock.
May import: agentcom.store.{child,layout,restore,salvaging,steps}, msgspec.
"""

import shutil

import msgspec

from agentcom.store.child import Tool, ToolFailed
from agentcom.store.layout import Layout
from agentcom.store.restore import Folders, Record, ask_of, now_ms, put_in_force, scratch_in, told_as
from agentcom.store.restore_plan import Target
from agentcom.store.salvaging import Salvaged


def salvage(layout: Layout, folders: Folders, why: str, no_restore: str) -> Record:
    """Put a store of what can be read in force; an empty one when that is nothing. `no_restore` says why
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
    found = f"{made.rows} rows were read out of the damaged store"
    none = (
        "nothing could be read of the store, and there was neither a snapshot nor an archive: it starts empty"
    )
    record = Record(
        how="salvaged" if made.rows else "emptied",
        ms=now_ms(),
        why=why,
        epoch=made.epoch,
        line=made.line,
        store=str(fresh),
        aside="",
        summary=(found if made.rows else none, *made.dropped, no_restore),
    )
    return put_in_force(layout, fresh, record, knows_admin=made.knows_admin)
