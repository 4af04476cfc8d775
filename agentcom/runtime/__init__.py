"""Where actors run: system bases for Thespian, clocks, and blocking work off the loop.

Knows nothing of tasks or agents; imports Thespian, msgspec and uvloop.
"""

from agentcom.runtime.blocking import BlockingDone, BlockingFailed, TimedOut, run_blocking
from agentcom.runtime.cell import ActorFigures
from agentcom.runtime.chooser import Chooser, RandomChooser, ScriptedChooser
from agentcom.runtime.clock import Clock, ManualClock, SystemClock, clock_of, monotonic_of
from agentcom.runtime.faults import Faults, InjectedCrash, Planned
from agentcom.runtime.idling import when_idle
from agentcom.runtime.killing import kill_actor
from agentcom.runtime.loop import LoopSystemBase
from agentcom.runtime.names import register
from agentcom.runtime.pickling import UnpicklableError
from agentcom.runtime.ports import Port
from agentcom.runtime.sim import NeverIdleError, SimSystemBase
from agentcom.runtime.sim_loop import NothingLeftError
from agentcom.runtime.watchdog import LoopWatchdog
from agentcom.runtime.workers import DaemonExecutor

__all__ = [
    "ActorFigures",
    "BlockingDone",
    "BlockingFailed",
    "Chooser",
    "Clock",
    "DaemonExecutor",
    "Faults",
    "InjectedCrash",
    "LoopSystemBase",
    "LoopWatchdog",
    "ManualClock",
    "NeverIdleError",
    "NothingLeftError",
    "Planned",
    "Port",
    "RandomChooser",
    "ScriptedChooser",
    "SimSystemBase",
    "SystemClock",
    "TimedOut",
    "UnpicklableError",
    "clock_of",
    "kill_actor",
    "monotonic_of",
    "run_blocking",
    "when_idle",
]

register()
