"""How many sessions there may be under the limits that a system sets."""

import subprocess
import sys

import pytest

from agentcom.open_files import SPARE
from tests.system.hub_process import ROOT, clean_env

ASK = """
import resource, sys
from agentcom.open_files import Room, room_for
soft, hard, sessions, http = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(*room_for(Room(sessions, http)), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def asked(soft: int, hard: int, sessions: int, http: int) -> tuple[int, ...]:
    """(sessions, http, soft, hard) of a process that was started with these limits."""
    argv = [sys.executable, "-c", ASK, str(soft), str(hard), str(sessions), str(http)]
    done = subprocess.run(argv, cwd=ROOT, env=clean_env(), capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


@pytest.mark.parametrize(
    ("soft", "hard", "sessions", "room", "soft_after"),
    [
        (1_024, 4_096, 2_000, (2_000, 500), 2_500 + SPARE),
        (1_024, 2_048, 20_000, (2_048 - SPARE - 448, 448), 2_048),
        (1_024, 1_024, 20_000, (576, 192), 1_024),
        (4_096, 4_096, 2_000, (2_000, 500), 4_096),
        (200, 200, 2_000, (1, 1), 200),
    ],
)
def test_the_soft_limit_follows_what_is_wanted_up_to_the_hard_one_and_sessions_get_most(
    soft, hard, sessions, room, soft_after
):
    assert asked(soft, hard, sessions, 500) == (*room, soft_after, hard)
