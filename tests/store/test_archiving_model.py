"""Random commits, ships, crashes, torn tails and lost folders: the archive reads back as the journal."""

import os
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentcom.protocol.ops import Put
from agentcom.store import Engine, open_environment
from agentcom.store.archiving import Archivist
from agentcom.store.replay import entries_along
from agentcom.store.steps import STEPS, Hook
from agentcom.store.trimming import trim
from tests.store.helpers import Writer, task

REAL = os.fdatasync, os.fsync
ARCHIVE_STEPS = [step for step in STEPS if step.startswith("archive.")]


class Killed(BaseException):
    """The process ends here."""


class Hub:
    """A store that is fast because it need not survive a power cut."""

    def __init__(self, folder: Path) -> None:
        self.env = open_environment(folder, sync=False)
        self.engine = Engine(self.env)

    def commit(self, *commits: Any) -> Any:
        return self.engine.commit(*commits)

    def journal(self) -> dict[int, bytes]:
        with self.env.reading() as view:
            return {int.from_bytes(key, "big"): row for key, row in view.forward(31, b"", None)}


class ArchivingModel(RuleBasedStateMachine):
    """`rows` is every entry that was ever committed; `promised` the highest that was ever called archived.

    A power cut leaves of each file what was synced and any part of the rest; what a real disk may also do, such as
    writing a later page without an earlier one, is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.data = Path(self._folder.name) / "data"
        self.archive = Path(self._folder.name) / "archive"
        self.away = Path(self._folder.name) / "away"
        self.rows: dict[int, bytes] = {}
        self.promised = 0
        self.synced: dict[int, int] = {}  #: by file: how much of it a power cut leaves
        self.kill_at = ""
        self.syncs_until_failure = -1

    @initialize(segment_bytes=st.sampled_from([1, 400, 2_000, 1 << 20]))
    def start(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        Hook.act = staticmethod(self.reached)  # type: ignore[method-assign]
        os.fdatasync, os.fsync = self.sync, lambda handle: None
        self.start_hub()

    def start_hub(self) -> None:
        self.hub = Hub(self.data)
        self.writer = Writer(self.hub)  # type: ignore[arg-type]
        self.archivist = Archivist(self.hub.env, self.archive, segment_bytes=self.segment_bytes)

    def reached(self, name: str) -> None:
        if name == self.kill_at:
            raise Killed(name)

    def sync(self, handle: int) -> None:
        """One that fails takes along what was not on disk: no later one can write it."""
        found = os.fstat(handle)
        self.syncs_until_failure -= 1
        if self.syncs_until_failure == -1:
            os.truncate(f"/proc/self/fd/{handle}", min(self.synced.get(found.st_ino, 0), found.st_size))
            raise OSError(5, "Input/output error")
        self.synced[found.st_ino] = found.st_size

    def ship(self, budget: int = 1 << 20) -> None:
        report = self.archivist.ship(0, budget)
        assert report.promised <= max(self.rows, default=0)
        self.promised = max(self.promised, report.promised)

    @rule(sizes=st.lists(st.integers(0, 900), min_size=1, max_size=6))
    def commit(self, sizes: list[int]) -> None:
        for size in sizes:
            self.writer.commit(Put("task", ("t",), task("t" * (size + 1))))
        self.rows.update(self.hub.journal())

    @rule(budget=st.integers(1, 3_000))
    def ship_some(self, budget: int) -> None:
        self.ship(budget)

    @rule(step=st.sampled_from(ARCHIVE_STEPS), cut=st.floats(0, 1), power=st.booleans())
    def die_while_shipping(self, step: str, cut: float, power: bool) -> None:
        """What Python still buffers dies with the process; a power cut also takes what was not synced."""
        self.kill_at = step
        try:
            self.ship()
        except Killed:
            pass
        finally:
            self.kill_at = ""
        self.lose_buffers()
        for path in self.archive.glob("*.journal") if power else ():
            found = path.stat()
            synced = min(self.synced.get(found.st_ino, 0), found.st_size)
            os.truncate(path, synced + int((found.st_size - synced) * cut))
        self.hub.env.close()
        self.start_hub()

    def lose_buffers(self) -> None:
        writer = self.archivist._writer
        if writer is not None:
            path, size = writer.path, writer.path.stat().st_size if writer.path.exists() else 0
            writer.close()
            if path.exists():
                os.truncate(path, size)
        self.archivist.close()

    @rule(number=st.integers(0, 2))
    def fail_a_sync(self, number: int) -> None:
        """The disk answers one sync with an error, and nobody knows what of it was written."""
        self.syncs_until_failure = number
        self.ship()
        self.syncs_until_failure = -1

    @rule()
    @precondition(lambda self: self.archive.is_dir())
    def lose_the_folder_for_a_while(self) -> None:
        self.archive.rename(self.away)
        self.archive.write_text("in the way")
        report = self.archivist.ship(0)
        assert "is a file" in report.problem
        assert report.promised == 0
        self.archive.unlink()
        self.away.rename(self.archive)

    @rule(limit=st.integers(1, 4))
    def trim_what_is_archived(self, limit: int) -> None:
        trim(self.hub.env, self.promised, limit)

    @invariant()
    def what_was_promised_is_read_back(self) -> None:
        along = entries_along(self.archive, (), 1)
        found = {entry.seq: entry.row for entry in along}
        assert along.stopped is not None
        assert along.stopped.kind in ("end", "torn"), along.stopped
        assert list(found) == list(range(1, len(found) + 1))
        assert len(found) >= self.promised
        assert all(row == self.rows[seq] for seq, row in found.items())

    def teardown(self) -> None:
        Hook.act = staticmethod(lambda name: None)  # type: ignore[method-assign]
        os.fdatasync, os.fsync = REAL
        try:
            while (report := self.archivist.ship(0)).has_more:
                pass
            assert not report.problem
            assert [entry.seq for entry in entries_along(self.archive, (), 1)] == sorted(self.rows)
        finally:
            self.archivist.close()
            self.hub.env.close()
            self._folder.cleanup()


TestArchivingModel = ArchivingModel.TestCase
TestArchivingModel.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
