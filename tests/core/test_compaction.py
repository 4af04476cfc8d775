"""When a rewrite is worth it, and what the directory removes for its age."""

from agentcom.core.compaction import Found, RewriteRules, is_worth_it, lacks_room
from agentcom.core.directory_retention import DirectoryRetention
from agentcom.core.messages import Expire, Keep
from agentcom.core.retention import REST_MS
from agentcom.protocol.ops import Delete, Put
from agentcom.protocol.rows import Audit, Invite, Mark, PullRequest, Token
from agentcom.store.memory import MemoryStore
from tests.store.helpers import Writer, task

MB = 1 << 20
RULES = RewriteRules(free_share=0.5, free_bytes=256 * MB)
DAY = 86_400_000
KEEP = Keep(DAY, DAY, DAY, audit_ms=10 * DAY, messages_ms=4 * DAY, mailbox_ms=2 * DAY)
NOW = 1_000 * DAY


def test_a_rewrite_is_worth_it_when_both_share_and_bytes_are():
    assert is_worth_it(Found(600 * MB, 300 * MB, 0), RULES)
    assert not is_worth_it(Found(601 * MB, 300 * MB, 0), RULES)
    assert not is_worth_it(Found(256 * MB, 255 * MB, 0), RULES)


def test_a_copy_needs_room_for_what_is_used_and_to_go_on_writing():
    assert lacks_room(Found(1_000 * MB, 200 * MB, 964 * MB)) == ""
    assert "has 963 MB left and a copy of the file needs 964 MB" in lacks_room(
        Found(1_000 * MB, 200 * MB, 964 * MB - 1)
    )


def pull(task_id: str, pr_id: str) -> list[Put]:
    row = PullRequest(pr_id, "r", task_id, "b", "main", "c", "t", "", (), "ada", 1, 1)
    return [Put("pull", (pr_id,), row), Put("pull_by_task", (task_id, pr_id), Mark())]


def test_the_directory_removes_what_nobody_can_ask_for_any_more():
    store = MemoryStore()
    Writer(store).commit(Put("task", ("t1",), task("t1")))
    directory = Writer(store, "directory")
    old, young = NOW - 10 * DAY, NOW - 10 * DAY + 1
    directory.commit(
        *pull("t1", "kept"),
        *pull("t2", "gone"),
        Put("token", ("kept",), Token("kept", "ada", "agent", 1)),
        Put("token", ("kept2",), Token("kept2", "ada", "agent", 1, revoked_ms=young)),
        Put("token", ("gone",), Token("gone", "ada", "agent", 1, revoked_ms=old)),
        Put("invite", ("kept",), Invite("kept", (), 1, young)),
        Put("invite", ("gone",), Invite("gone", (), 1, old, used_by="ada")),
        Put("audit", (old, 1), Audit(old, "op", "admin", "token.create")),
        Put("audit", (young, 1), Audit(young, "op", "admin", "token.create")),
    )
    retention, removed = DirectoryRetention(), []
    for limit in (1, 100):
        for turn in range(50):
            decision = retention.expire(Expire("compaction", turn, KEEP, limit), store.reader, NOW)
            assert all(isinstance(op, Delete) for op in decision.ops)
            directory.commit(*decision.ops)
            removed.append(decision.outputs[0].message.removed)
            if not decision.outputs[0].message.more:
                break
    assert sum(removed) == 4
    left = [str(key[0]) for table in ("pull", "token", "invite") for key, _ in store.reader.scan(table)]
    assert left == ["kept", "kept", "kept2", "kept"]
    assert [row.ms for _, row in store.reader.scan("audit")] == [young]
    assert [key for key, _ in store.reader.scan("pull_by_task")] == [("t1", "kept")]
    later = retention.expire(Expire("compaction", 9, KEEP, 1), store.reader, NOW + REST_MS)
    assert later.outputs[0].message.more, "it looks again after its rest"
