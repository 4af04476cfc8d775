"""The figures of agents: counted where things happen, by the hour, for a day."""

import msgspec
import pytest

from agentcom.core import tasks
from agentcom.protocol.figures import GIVEN_UP, HOUR_MS, agent_figures, hour_of, old_hours, sent_figures
from agentcom.protocol.ops import Add, Delete
from tests.store.helpers import task

HELD = task("t", phase="working", holder="ada", last_holder="ada", generation=1)


def test_a_tasks_end_counts_for_its_agent():
    assert agent_figures("ada", "completed", 7) == (
        Add("counter", ("agent", "ada", "completed"), 1),
        Add("counter", ("agent", "ada", "tokens"), 7),
    )


@pytest.mark.parametrize(
    ("step", "counted"),
    [
        (lambda: tasks.give_up(HELD, "deadline", "its deadline has passed", 9), True),
        (lambda: tasks.lose(msgspec.structs.replace(HELD, losses=2), "no news", 9), True),
        (lambda: tasks.lose(HELD, "no news", 9), False),
        (lambda: tasks.cancel(HELD, "olga", "", 9), False),
    ],
)
def test_what_the_hub_gives_up_by_itself_is_counted_for_no_agent(step, counted):
    state, ops = step()
    assert (state.phase == "dead_letter") == counted
    assert (Add("counter", GIVEN_UP, 1) in ops) == counted


def test_a_message_counts_in_total_and_by_its_hour():
    assert [op.key for op in sent_figures("ada", 5 * HOUR_MS)] == [
        ("agent", "ada", "sent"),
        ("hourly", "ada", "0000000005.sent"),
    ]


def test_an_operators_messages_have_no_hours_that_nobody_would_tidy():
    assert [op.key for op in sent_figures("@olga", 0)] == [("agent", "@olga", "sent")]


def test_hours_of_more_than_a_day_ago_go():
    keys = [("hourly", "ada", f"{hour:010d}.sent") for hour in (75, 76, 77, 100)]
    assert old_hours(keys, 100 * HOUR_MS) == tuple(Delete("counter", key) for key in keys[:2])
    assert [hour_of(key) for key in keys] == [75, 76, 77, 100]
