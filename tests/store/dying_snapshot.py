"""A snapshot that is killed at a step: `python -m tests.store.dying_snapshot STEP ORDER`, the order as JSON."""

import sys

import msgspec

from agentcom.store.snapshotting import work
from tests.store.dying import die_at

if __name__ == "__main__":
    die_at(sys.argv[1])
    work(msgspec.json.decode(sys.argv[2]))
