"""The sentence about what is not there, for names that anybody may have made up."""

import msgspec
import pytest

from agentcom.core.messages import Fault
from agentcom.core.missing import NAMED, missing, no_such


def test_what_is_missing_is_told_with_its_name_and_where_that_was_said():
    assert missing("task", "nope", "task_id") == Fault("not_found", "there is no task nope", "task_id")


def test_a_long_name_is_cut():
    assert no_such("task", "x" * NAMED) == f"there is no task {'x' * NAMED}"
    assert no_such("task", "x" * (NAMED + 1)) == f"there is no task {'x' * NAMED}…"


@pytest.mark.parametrize("name", ["\x00", "\x1b[2J", "a\nb", "\ud800", "\u202e"])
def test_what_a_terminal_would_obey_is_not_said_again(name):
    said = no_such("task", name)
    assert said.isprintable()
    assert msgspec.json.encode(said)
