"""The store's thread side: what a store actor that is gone may still do."""

from agentcom.protocol.ops import Put
from agentcom.runtime import DaemonExecutor
from agentcom.store import open_environment
from agentcom.store.disk import Disk, Settings
from agentcom.store.env import opened
from agentcom.store.messages import Commit, Committed, Open
from agentcom.store.preparing import prepare
from tests.store.helpers import task


def disk_of(folder):
    disk = Disk(Settings(str(folder), sync=False), DaemonExecutor(limit=1))
    disk.open()
    return disk


def test_a_finish_that_comes_late_leaves_the_store_to_its_successor(tmp_path):
    """A store actor that is killed while it ends has its last write still on the way."""
    first = disk_of(tmp_path)
    second = disk_of(tmp_path)
    first.finish()
    [opening] = second.apply([Open("lane.normal")]).answers
    put = Commit("lane.normal", opening.incarnation, 1, "test", (Put("task", ("t",), task("t")),))
    [answer] = second.apply([prepare(put)]).answers
    assert isinstance(answer, Committed)
    assert opened(tmp_path).meta("clean") is False
    second.finish()


def test_a_finish_leaves_the_clean_mark_and_a_free_folder(tmp_path):
    disk_of(tmp_path).finish()
    env = open_environment(tmp_path)
    assert env.was_clean
    env.close()
