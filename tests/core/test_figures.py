"""The figures of agents: counted where things happen, by the hour, for a day."""

from agentcom.protocol.figures import HOUR_MS, agent_figures, hour_of, old_hours, sent_figures
from agentcom.protocol.ops import Add, Delete


def test_a_tasks_end_counts_for_its_agent():
    assert agent_figures("ada", "completed", 7) == (
        Add("counter", ("agent", "ada", "completed"), 1),
        Add("counter", ("agent", "ada", "tokens"), 7),
    )


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
