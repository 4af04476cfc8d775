"""A scenario of a simulation, by its seed: `python -m agentcom.runtime.replay MODULE:FUNCTION SEED`.

A scenario is a function of a SimSystemBase that raises if something is wrong. Imports this package only.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from agentcom.runtime.sim import SimSystemBase

Scenario = Callable[[SimSystemBase], object]


def run_seed(scenario: Scenario, seed: int, **options: Any) -> SimSystemBase:
    """What it raises says how to do it again, and what the simulation did last. `options` are the base's."""
    sim = SimSystemBase(seed, **options)
    try:
        scenario(sim)
    except BaseException as exc:
        exc.add_note(f"the last steps of seed {seed}:\n{sim.trace.tail()}")
        exc.add_note(f"replay it by:  {command(scenario, seed)}")
        raise
    return sim


def run_seeds(scenario: Scenario, seeds: Iterable[int], **options: Any) -> Counter[str]:
    """Stops at the first that fails. Returns how often each kind of fault happened."""
    faults: Counter[str] = Counter()
    for seed in seeds:
        faults += run_seed(scenario, seed, **options).fault_counts
    return faults


def command(scenario: Scenario, seed: int) -> str:
    hash_seed = os.environ.get("PYTHONHASHSEED", "0")
    name = f"{scenario.__module__}:{getattr(scenario, '__qualname__', scenario)}"
    return f"PYTHONHASHSEED={hash_seed} python -m agentcom.runtime.replay {name} {seed}"


def find(name: str) -> Scenario:
    module, _, function = name.partition(":")
    scenario: Scenario = getattr(importlib.import_module(module), function)
    return scenario


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or ":" not in arguments[0] or not arguments[1].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    sim = run_seed(find(arguments[0]), int(arguments[1]))
    print(f"passed: {sim.trace.steps} steps, trace {sim.trace.hash()}, faults {dict(sim.fault_counts)}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    sys.exit(main(sys.argv[1:]))
