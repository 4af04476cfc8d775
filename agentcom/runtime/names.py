"""Makes `ActorSystem("LoopSystemBase")` and `ActorSystem("SimSystemBase")` find our bases.

Thespian imports a base's name from its own package `thespian.system` and takes `ActorSystemBase` from there;
so this puts modules of those names where an import looks first. Imports this package only.
"""

from __future__ import annotations

import logging.config
import sys
from types import ModuleType
from typing import Any

import thespian.system

from agentcom.runtime.loop import LoopSystemBase
from agentcom.runtime.sim import SimSystemBase


class NamedLoopSystemBase(LoopSystemBase):
    """As Thespian makes it: from the ActorSystem it is for."""

    def __init__(self, system: Any, logDefs: Any = None) -> None:
        _set_logging(logDefs)
        super().__init__(system.capabilities)


class NamedSimSystemBase(SimSystemBase):
    """As Thespian makes it; the seed is the capability `Simulation Seed`, or 0."""

    def __init__(self, system: Any, logDefs: Any = None) -> None:
        _set_logging(logDefs)
        super().__init__(system.capabilities.get("Simulation Seed", 0), system.capabilities)


def register() -> None:
    for name, base in (("LoopSystemBase", NamedLoopSystemBase), ("SimSystemBase", NamedSimSystemBase)):
        module = ModuleType(f"{thespian.system.__name__}.{name}", base.__doc__)
        vars(module)["ActorSystemBase"] = base
        sys.modules[module.__name__] = module


def _set_logging(log_defs: Any) -> None:
    """Unlike Thespian's bases, none is set where none is given: the program has its own."""
    if log_defs:
        logging.config.dictConfig(log_defs)
