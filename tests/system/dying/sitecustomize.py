"""Put on a hub's path by a test: its processes kill themselves at the step that a file names, once for each naming."""

import os
import signal
from pathlib import Path

if armed := os.environ.get("DIE_AT_THE_STEP_IN"):
    from agentcom.store import steps

    def act(name: str) -> None:
        file = Path(armed)
        if file.exists() and file.read_text() == name:
            file.rename(f"{armed}.{os.getpid()}")
            os.kill(os.getpid(), signal.SIGKILL)

    steps.Hook.act = staticmethod(act)
