"""How the tree and one actor look: rules about what is seen, at the widths terminals have."""

import io

import pytest
from rich.console import Console

from agentcom.cli import look_tree


def a_node(name, parent="hub", **fields):
    return {
        "name": name,
        "parent": parent,
        "kind": "worker",
        "state": "up",
        "start": 1,
        "incarnation": 1,
        "restarts": 0,
        "last_crash": "",
        "uptime_s": 4_000.0,
        "address": "a1",
        "mailbox": 0,
        "handled": 123_456,
        **fields,
    }


def a_hub(*agents):
    return [
        a_node("hub", "", kind="supervisor"),
        a_node("store"),
        a_node("agents", kind="supervisor"),
        *agents,
        a_node("gateway"),
    ]


ROOT = a_node("hub", "", kind="supervisor", actor="", restart="", needs=[], soft_needs=[], last_exit="", traceback="",
              budget=None)  # fmt: skip


def agents(n, **fields):
    return [a_node(f"agent.worker-of-the-{i:04}", "agents", **fields) for i in range(n)]


def seen(view, width):
    out = io.StringIO()
    Console(file=out, width=width).print(view)
    return out.getvalue()


def tree(nodes, width=80, **options):
    return seen(look_tree.tree_view(nodes, width=width, **options), width)


@pytest.mark.parametrize("width", [80, 120])
def test_a_tree_of_two_thousand_agents_fits_a_terminal(width):
    shown = tree(a_hub(*agents(2_000)), width)
    lines = shown.splitlines()
    assert len(lines) < 30
    assert all(len(line) <= width for line in lines)
    assert "agents: 1,988 more (1,988 up); --all shows them" in shown
    assert "gateway" in shown
    assert shown.count("123,456") == 16


def test_all_shows_them_all():
    shown = tree(a_hub(*agents(200)), everything=True)
    assert shown.count("0199") == 1
    assert "more" not in shown


def test_those_who_crashed_or_do_not_run_are_never_folded_before_others():
    nodes = agents(2_000)
    nodes[1_500] |= {"state": "quarantined", "restarts": 6, "last_crash": "KeyError: 'x'", "address": ""}
    nodes[1_900] |= {"restarts": 1, "last_crash": "ValueError: y"}
    shown = tree(a_hub(*nodes), 120)
    assert "agent.worker-of-the-1500" in shown
    assert "! quarantined" in shown
    assert "agent.worker-of-the-1900  ValueError: y" in shown


def test_one_line_is_never_folded_to_make_room_for_one():
    assert look_tree.fold(list(range(look_tree.SHOWN + 1))) == (list(range(look_tree.SHOWN + 1)), [])


def test_both_ends_of_a_long_name_are_kept():
    assert look_tree.shortened("agent.worker-of-the-0001", 12) == "agent.…-0001"
    assert look_tree.shortened("agent.ada", 12) == "agent.ada"


def test_a_long_crash_takes_one_line():
    nodes = a_hub()
    nodes[1] |= {"last_crash": "ValueError: " + "much ado " * 50}
    assert [line for line in tree(nodes).splitlines() if "much ado" in line] == [
        line for line in tree(nodes).splitlines() if "ValueError" in line
    ]


def test_the_root_has_no_supervisor_that_would_know_more_of_it():
    [line] = [line for line in seen(look_tree.node_view(ROOT), 80).splitlines() if line.startswith("kind")]
    assert line.split() == ["kind", "supervisor"]
    assert "restart budget" not in seen(look_tree.node_view(ROOT), 80)


def test_an_actor_is_shown_with_its_budget_and_where_it_crashed():
    node = a_node(
        "lane.high",
        "lanes",
        actor="actors.lane:LaneActor",
        restart="permanent",
        needs=["store"],
        soft_needs=["agents"],
        last_exit="ValueError: y",
        last_crash="ValueError: y",
        traceback="Traceback (most recent call last):\n" + "  frame\n" * 50 + "ValueError: y\n",
        budget={"intensity": 10, "period_s": 30.0, "spent": 2, "shared": True},
    )
    shown = seen(look_tree.node_view(node), 80)
    assert "2 spent of 10 restarts in 30.0 s, shared by the children of lanes" in " ".join(shown.split())
    assert "actors.lane:LaneActor" in shown
    assert "32 lines, all with --json" in shown
    assert shown.rstrip().endswith("ValueError: y")


def test_a_quarantined_actor_is_shown_with_the_way_out():
    node = a_node("agent.ada", "agents", state="quarantined", address="",
                  budget={"intensity": 5, "period_s": 60.0, "spent": 6, "shared": False})  # fmt: skip
    shown = " ".join(seen(look_tree.node_view(node), 80).split())
    assert "5 restarts in 1 min, its own; over it, until `agentcom-admin restart agent.ada`" in shown
    assert "up for" not in shown
