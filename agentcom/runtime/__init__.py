"""Where actors run: system bases for Thespian, clocks, and blocking work off the loop.

Knows nothing of tasks or agents; imports Thespian, msgspec and uvloop.
"""

from agentcom.runtime.blocking import BlockingDone, BlockingFailed, TimedOut, run_blocking
from agentcom.runtime.cell import ActorFigures
from agentcom.runtime.clock import Clock, ManualClock, SystemClock
from agentcom.runtime.killing import kill_actor
from agentcom.runtime.loop import LoopSystemBase, Port
from agentcom.runtime.watchdog import LoopWatchdog
from agentcom.runtime.workers import DaemonExecutor

__all__ = [
    "ActorFigures",
    "BlockingDone",
    "BlockingFailed",
    "Clock",
    "DaemonExecutor",
    "LoopSystemBase",
    "LoopWatchdog",
    "ManualClock",
    "Port",
    "SystemClock",
    "TimedOut",
    "kill_actor",
    "run_blocking",
]
