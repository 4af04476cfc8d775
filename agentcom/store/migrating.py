"""The tool behind `agentcom-admin migrate`: what a release's start would change in a store, or the change itself.

Argument: {"folder": the data folder, "dry": bool}. Each line before the result is an
`Underway`. Result: `Found`. `python -m agentcom.store.migrating`.
May import: agentcom.store.*, msgspec.
"""

from pathlib import Path
from typing import Any

import msgspec

from agentcom.store import child, pointing
from agentcom.store.env import open_environment
from agentcom.store.errors import NewerSchema, StoreError, StoreUnreadable
from agentcom.store.foreign import Foreign
from agentcom.store.layout import Layout
from agentcom.store.migrations import SCHEMA, Planned, pending, plan


class Found(msgspec.Struct, frozen=True):
    schema: int  #: of the store, as it was found
    known: int  #: what this release writes
    steps: list[Planned]  #: of a dry run only the first is counted: the others begin where it ends


class PointerLost(StoreError):
    """Which store is in force is not for this tool to decide."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"{self.why}: the next start of the hub puts it in force again, and migrates it"


def work(argument: Any) -> Found:
    """Raises `StoreError`."""
    folder = Path(argument["folder"])
    found = look(folder)
    if argument["dry"] or not found.steps:
        return found
    env = open_environment(folder, tell=lambda at: child.say(at._asdict()))
    try:
        if env.was_clean:
            env.mark_clean()
        return msgspec.structs.replace(found, steps=list(env.migrated))
    finally:
        env.close()


def look(folder: Path) -> Found:
    """Changes nothing; also while a hub runs on it, whose store has no steps to go. Raises `PointerLost`."""
    layout = Layout(folder)
    astray = pointing.look(layout, mend=False)
    if astray is not None:
        raise PointerLost(str(astray))
    store = layout.store
    if not (store / "data.mdb").exists():
        raise StoreUnreadable(str(folder), f"there is no {store / 'data.mdb'}")
    with Foreign(store) as foreign:
        schema = foreign.meta("schema") or SCHEMA
        if schema > SCHEMA:
            raise NewerSchema(str(folder), schema, SCHEMA)
        steps = [Planned(*migration[:3]) for migration in pending(schema)]
        if steps:
            with foreign.reading() as view:
                steps[0] = plan(view, pending(schema)[0])
    return Found(schema, SCHEMA, steps)


if __name__ == "__main__":
    child.main(work)
