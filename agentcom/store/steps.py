"""Names for the moments at which a crash would hurt most.

Durable work calls `reached(NAME)` at each of them. It does nothing here; tests put something in its place that
ends the process, so that "killed exactly there" is a test and not luck.
May import: nothing.
"""

STEPS = (
    "commit.begun", "commit.written", "commit.synced",
    "snapshot.begun", "snapshot.copied", "snapshot.verified", "snapshot.described", "snapshot.named",
    "snapshot.pruned",
    "archive.begun", "archive.written", "archive.synced", "archive.rotated",
    "trim.begun", "trim.done",
    "rewrite.begun", "rewrite.copied", "rewrite.caught_up", "rewrite.synced", "rewrite.switched",
    "rewrite.swept",
    "restore.begun", "restore.copied", "restore.replayed", "restore.raised", "restore.switched",
    "restore.set_aside",
    "migrate.begun", "migrate.done",
)  # fmt: skip


class Hook:
    """What happens at a step; `act` is replaced in tests only."""

    @staticmethod
    def act(name: str) -> None:
        """Nothing."""


def reached(name: str) -> None:
    """A step of `STEPS` is about to begin (`….begun`) or just done."""
    Hook.act(name)
