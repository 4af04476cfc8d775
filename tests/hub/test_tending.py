"""Requests about the tree that need no tree: names nobody has, blocking the loop, and a reset that comes to nothing."""

import asyncio

import pytest
import structlog

from agentcom import tending
from agentcom.core.routes import CHAOS, ROUTES, offered
from agentcom.protocol.errors import Refused
from agentcom.protocol.live_views import LoopBlocked

NAMES = [
    "hub",
    "registry",
    "store",
    "lane.urgent",
    "lane.high",
    "scheduler",
    "agents",
    "agent.ada",
    "gateway",
]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("schedule", "scheduler"),
        ("gatway", "gateway"),
        ("ada", "agent.ada"),
        ("urgent", "lane.urgent"),
        ("lane.hihg", "lane.high"),
    ],
)
def test_an_unknown_name_is_told_with_what_was_probably_meant(wrong, meant):
    said = tending.unknown(wrong, NAMES)
    assert said.startswith(f"there is no actor {wrong}; did you mean ")
    assert meant in said


@pytest.mark.parametrize("wrong", ["zzz", ""])
def test_a_name_that_resembles_none_is_told_alone(wrong):
    assert tending.unknown(wrong, NAMES) == f"there is no actor {wrong}"


@pytest.mark.parametrize("seconds", ["soon", "0", "-1", "nan", "1e9", ""])
def test_a_block_that_makes_no_sense_is_refused(seconds):
    with pytest.raises(Refused, match="expected seconds"):
        tending.block(seconds)


def test_a_block_takes_its_time_and_says_so():
    assert tending.block("0.001") == LoopBlocked(seconds=0.001)


def test_a_reset_that_fails_is_logged_and_forgotten(monkeypatch):
    """It was answered before it began: the log is the only place that can tell."""
    monkeypatch.setattr(tending, "RESET_S", 0.0)
    monkeypatch.setattr(tending, "log", logger := structlog.testing.CapturingLogger())

    class Root:
        async def restart(self, name):
            raise TimeoutError("the tree has ended")

    async def reset():
        tended = tending.Tending(base=None, root=Root(), lag_s=float)
        await tended.answer("admin.reset", {})
        async with asyncio.timeout(20):
            while len(logger.calls) < 2:
                await asyncio.sleep(0)
        return tended

    tended = asyncio.run(reset())
    said = [(call.method_name, *call.args) for call in logger.calls]
    assert said == [("warning", "hub.reset"), ("error", "hub.reset_failed")]
    assert tended._running == set()


def test_chaos_is_offered_only_where_it_is_enabled():
    assert set(CHAOS) <= set(ROUTES)
    assert {route.name for route in offered(chaos=True)} == set(ROUTES)
    assert {route.name for route in offered(chaos=False)} == set(ROUTES) - CHAOS


def test_only_admins_reach_the_tree():
    of_tree = [route for route in ROUTES.values() if route.path.startswith(("/api/actors", "/api/chaos"))]
    assert len(of_tree) == 5
    assert all(route.roles == {"admin"} for route in of_tree)
