"""A really full disk, under the store's own thread: what is refused, what goes on, and how it recovers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentcom.protocol.ops import Delete, Put
from agentcom.runtime import DaemonExecutor
from agentcom.store import Reader, StorageFull
from agentcom.store.disk import Disk, Settings
from agentcom.store.env import opened
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.opening import open_store, patiently
from agentcom.store.preparing import prepare
from tests.small_disk import MIB, SmallDisk, small_disk
from tests.store.helpers import all_rows, folded, task

RESERVE, BALLAST = MIB, 3 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 32) as small:
        yield small


@pytest.fixture(autouse=True)
def _small_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentcom.store.opening.LEAST", 4 * MIB)


class Hand:
    """A store on a folder, and the one actor that writes to it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        given = {"reserve": RESERVE, "ballast": BALLAST, **settings}
        self.disk = Disk(Settings(str(folder), **given), DaemonExecutor(limit=1))
        self.full = self.disk.open().full
        self.ticket = self.n = 0
        self.written: set[str] = set()
        self.open()

    def open(self) -> None:
        [answer] = self.disk.apply([Open("lane.normal")]).answers
        self.incarnation = answer.incarnation

    def commit(self, *ops: Any) -> Any:
        self.ticket += 1
        done = self.disk.apply(
            [prepare(Commit("lane.normal", self.incarnation, self.ticket, "test", tuple(ops)))]
        )
        self.full = done.figures.full
        return done.answers[0]

    def put(self, count: int = 50, size: int = 2_000) -> Any:
        self.n += count
        names = [f"t{n:06}" for n in range(self.n - count, self.n)]
        answer = self.commit(*[Put("task", (name,), task(name, note="x" * size)) for name in names])
        if isinstance(answer, Committed):
            self.written.update(names)
        return answer

    def delete(self, count: int) -> None:
        names = sorted(self.written)[:count]
        for at in range(0, len(names), 50):
            some = names[at : at + 50]
            assert isinstance(self.commit(*[Delete("task", (name,)) for name in some]), Committed)
            self.written.difference_update(some)

    def upkeep(self, times: int = 3) -> Any:
        for _ in range(times):
            figures = self.disk.upkeep()
        self.full = figures.full
        return figures

    def tasks(self) -> set[str]:
        env = opened(self.folder)
        assert env is not None
        with Reader(env).snapshot() as snap:
            return {str(key[0]) for key, _ in snap.scan("task", limit=100_000)}

    def end(self) -> None:
        env = opened(self.folder)
        assert env is not None
        assert folded(env_store(env)) == all_rows(env)
        self.disk.finish()


def env_store(env: Any) -> Any:
    class Store:
        reader = Reader(env)

    return Store


def test_a_full_disk_takes_deletes_only_and_recovers_without_a_restart(disk):
    hand = Hand(disk.path / "data")
    assert hand.upkeep().space.ballast == BALLAST
    assert isinstance(hand.put(), Committed)
    disk.fill()
    while isinstance(hand.put(), Committed):  # free pages, then what half of the ballast gave
        assert hand.n < 5_000
    assert hand.full
    assert hand.upkeep().space.given_up
    assert hand.tasks() == hand.written
    hand.open()
    hand.delete(10)
    assert hand.put().code == "storage_full"
    hand.open()
    disk.clear()
    figures = hand.upkeep()
    assert (figures.full, figures.space.ballast, figures.space.given_up) == (False, BALLAST, False)
    assert isinstance(hand.put(), Committed)
    assert hand.tasks() == hand.written
    hand.end()


def test_what_deletes_free_in_the_file_is_room_again(disk):
    """Nobody else makes room: the file itself has filled the disk."""
    hand = Hand(disk.path / "data", ballast=MIB)
    hand.upkeep()
    while isinstance(hand.put(), Committed):
        pass
    hand.open()
    assert hand.upkeep().full
    hand.delete(len(hand.written) * 3 // 4)
    assert not hand.upkeep().full
    assert isinstance(hand.put(), Committed)
    hand.end()


def test_max_bytes_is_kept_and_deletes_make_room_below_it(tmp_path):
    limit = 8 * MIB
    hand = Hand(tmp_path, max_bytes=limit, ballast=0)
    while not hand.full:
        assert isinstance(hand.put(), Committed)
    figures = hand.upkeep()
    assert figures.space.of_limit
    assert figures.space.file < limit
    hand.delete(1_000)
    assert not hand.upkeep().full
    for _ in range(5):
        assert isinstance(hand.put(count=10), Committed)
    space = hand.upkeep().space
    assert space.file - space.free < limit
    assert hand.tasks() == hand.written
    hand.end()


def test_a_start_on_a_full_disk_gives_up_the_ballast_for_its_first_write(disk):
    hand = Hand(disk.path / "data")
    hand.upkeep()
    hand.put()
    hand.disk.finish()
    (disk.path / "data" / "store" / "lock.mdb").unlink()  # so that there is something to be written
    disk.fill()
    again = Hand(disk.path / "data")
    assert again.full
    assert again.upkeep().space.given_up
    assert again.tasks() == hand.written
    disk.clear()
    assert not again.upkeep().full
    again.end()


def test_a_store_actor_that_starts_again_on_a_full_disk_gives_up_the_ballast_too(disk):
    first = Hand(disk.path / "data")
    first.upkeep()
    first.put()
    disk.fill()
    second = Hand(disk.path / "data")
    assert second.tasks() == first.written
    assert second.upkeep().full
    disk.clear()
    assert not second.upkeep().full
    second.disk.finish()


def test_a_store_that_is_there_waits_for_room_and_says_so(disk):
    folder = disk.path / "data"
    hand = Hand(folder, ballast=0)
    hand.put()
    hand.disk.finish()
    (folder / "store" / "lock.mdb").unlink()  # so that there is something to be written
    disk.fill()
    told: list[tuple[str, float]] = []

    def sleep(seconds: float) -> None:
        if len(told) == 3:
            disk.clear()

    env = patiently(
        folder,
        lambda: open_store(Settings(str(folder))),
        lambda why, wait_s: told.append((why, wait_s)),
        sleep,
    )
    assert [wait_s for _, wait_s in told] == [1.0, 2.0, 4.0]
    assert "there is no room to open the store in" in told[0][0]
    assert {str(key[0]) for key, _ in Reader(env).scan("task")} == hand.written
    env.close()


def test_a_new_store_on_a_full_disk_is_refused_with_a_sentence_and_leaves_nothing(disk):
    folder = disk.path / "data"
    disk.fill(leave=MIB)
    with pytest.raises(StorageFull, match=r"needs 4 MiB of room, its disk has 1 MiB; make room"):
        patiently(folder, lambda: open_store(Settings(str(folder))), lambda *_: None)
    assert not folder.exists()


@pytest.mark.parametrize("leave", [0, 4096, 12_288, 40_960, 300_000])
def test_a_new_store_that_finds_no_room_on_its_way_leaves_none(disk, leave, monkeypatch):
    monkeypatch.setattr("agentcom.store.opening.LEAST", 0)
    folder = disk.path / "data"
    disk.fill(leave)
    with pytest.raises(StorageFull, match="there is no room to open the store"):
        open_store(Settings(str(folder)))
    assert not (folder / "store").exists()
    disk.clear()
    open_store(Settings(str(folder))).close()
