"""A rewritten store takes the place of the one in force, under a hub that goes on serving.

Runs on the store's own thread, between two batches: nobody else writes, and who wants to waits in the queue. Readers go
on: views of the old file keep it open until the last is gone, new ones are of the new file. Killed anywhere, the old
store or the new one is in force, and both hold every commit there is.
May import: agentcom.store.*, operating system.
"""

import contextlib
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import lmdb

from agentcom.store.datafile import DataFile
from agentcom.store.env import Environment
from agentcom.store.errors import StoreError, SupersededStore
from agentcom.store.layout import Layout
from agentcom.store.messages import Place, Switched, SwitchStore
from agentcom.store.rewriting import TooFast, replay
from agentcom.store.steps import reached
from agentcom.store.tables import BY_NUMBER, TABLES
from agentcom.store.transactions import PlainTransaction, ReadView

MAX_TAIL = 20_000
"""Journal entries that a switch applies while everybody waits: about a second. More, and it is not done."""

_META = TABLES["meta"].number


class Differs(StoreError):
    """The copy does not hold what the store in force holds; it is not used."""


def place(env: Environment) -> Place:
    """A new, empty folder for a copy. What earlier attempts left, or a reader kept, is removed first."""
    layout = Layout(env.folder)
    busy = {*env.retired, env.file.folder}
    for path in layout.leftovers():
        if path not in busy:
            shutil.rmtree(path, ignore_errors=True)
    return Place(str(env.file.folder), str(layout.fresh()))


def switch(env: Environment, ask: SwitchStore, life: int) -> Switched:
    """Bring the copy level and put it in force; or remove it, say why, and nothing has changed.

    Raises only when the disk fails so that nobody can know which store the next start would take.
    """
    begun = time.perf_counter()
    fresh, layout = Path(ask.folder), Layout(env.folder)
    before = env.file.bytes
    try:
        applied = _switch(env, layout, fresh, ask.seq, life)
    except (StoreError, lmdb.Error, OSError) as error:
        if layout.store == fresh:
            raise  # its name is in place and perhaps not on disk: either store would do, but only for who reads it anew
        shutil.rmtree(fresh, ignore_errors=True)
        return Switched(str(error) or type(error).__name__)
    took_ms = (time.perf_counter() - begun) * 1000
    return Switched(took_ms=took_ms, entries=applied, bytes_before=before, bytes_after=env.file.bytes)


def _switch(env: Environment, layout: Layout, fresh: Path, seq: int, life: int) -> int:
    new = DataFile(fresh)
    with contextlib.ExitStack() as undo:
        undo.callback(new.raw.close)
        new.open_tables()
        # While this is held nobody writes the old file, also no later life of the store that came meanwhile.
        with env.writing() as turn:
            turn.in_vain()
            if env.life != life:
                raise SupersededStore(f"life {env.life} began after {life}")
            with env.reading() as view:
                applied = _bring_level(view, new, seq)
            new.begin_log(sync=env.sync)  # and so all of it is on disk
            undo.callback(new.redo.close, in_force=False)
            reached("rewrite.synced")
            layout.switch_to(fresh)
            env.replace(new)
            undo.pop_all()
        reached("rewrite.switched")
    env.clear_stale_readers()
    return applied


def _bring_level(view: ReadView, new: DataFile, seq: int) -> int:
    applied = 0
    while (done := replay(view, new, seq)).entries:
        applied, seq = applied + done.entries, done.seq
        if applied > MAX_TAIL:
            raise TooFast(applied)
    with PlainTransaction(new) as txn:
        _copy_meta(view, new, txn)
    _compare(view, new)
    return applied


def _copy_meta(view: ReadView, new: DataFile, txn: PlainTransaction) -> None:
    rows = dict(view.forward(_META, b"", None))
    with ReadView(new) as copy:
        stale = [key for key, _ in copy.forward(_META, b"", None) if key not in rows]
    for key in stale:
        txn.delete(_META, key)
    txn.put(_META, sorted(rows.items()))


def _compare(view: ReadView, new: DataFile) -> None:
    """As many rows in each table, and the same newest journal entry: what no defect of a copy would leave so."""
    journal = TABLES["journal"].number
    with ReadView(new) as copy:
        for number, table in BY_NUMBER.items():
            ours, theirs = view.count(number), copy.count(number)
            if ours != theirs and number != journal:
                raise Differs(f"the copy has {theirs} rows in table {table.name}, the store has {ours}")
        if view.last_key(journal) != copy.last_key(journal):
            raise Differs("the copy ends with another journal entry than the store")


def sweep(env: Environment) -> None:
    """Close earlier files that nobody reads any more and remove them, the latter on a thread of its own: to unlink
    gigabytes takes the disk a while.
    """
    gone = env.close_retired()
    if gone:
        threading.Thread(target=_remove, args=(gone,), name="sweep", daemon=True).start()


def _remove(paths: list[Path]) -> Any:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
    reached("rewrite.swept")
