"""Starts the hub as `agentcom` would, with a sampler that sleeps until it is asked.

SIGUSR1 starts sampling the main thread each 2 ms of CPU time the process uses, SIGUSR2 stops and writes the
counts to the file BENCHMARK_PROFILE. It sees Python frames only: time in a C function counts for its caller.
May import: agentcom.cli.main.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_S = 0.002
DEPTH = 60


class Sampler:
    """Stacks and how often they were seen, leaf last, as in `py-spy -f raw`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stacks: Counter[str] = Counter()

    def install(self) -> None:
        signal.signal(signal.SIGUSR1, self._start)
        signal.signal(signal.SIGUSR2, self._stop)
        signal.signal(signal.SIGPROF, self._sample)

    def _start(self, _number: int, _frame: FrameType | None) -> None:
        self._stacks.clear()
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._stacks))
        part.replace(self._file)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        names: list[str] = []
        while frame is not None and len(names) < DEPTH:
            code = frame.f_code
            names.append(
                f"{code.co_qualname} ({Path(code.co_filename).parent.name}/{Path(code.co_filename).name})"
            )
            frame = frame.f_back
        self._stacks[";".join(reversed(names))] += 1


def main() -> None:
    Sampler(Path(os.environ["BENCHMARK_PROFILE"])).install()
    from agentcom.cli.main import main as agentcom  # the hub's imports belong after the sampler

    sys.argv[0] = "agentcom"
    agentcom()


if __name__ == "__main__":
    main()
