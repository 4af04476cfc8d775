"""Put on a hub's path by a test: its processes kill themselves at the step that a file names, once for each naming."""

import os
import signal
from pathlib import Path

if armed := os.environ.get("DIE_AT_THE_STEP_IN"):
    from agentcom.store import steps

    def act(name: str) -> None:
        """Several processes look at the same file, and whoever renames it is the one; the file may go at any moment."""
        try:
            if Path(armed).read_text() != name:
                return
            Path(armed).rename(f"{armed}.{os.getpid()}")
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    steps.Hook.act = staticmethod(act)
