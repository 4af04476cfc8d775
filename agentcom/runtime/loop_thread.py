"""An asyncio loop in a daemon thread of its own. Standard library and uvloop."""

from __future__ import annotations

import asyncio
from threading import Event, Thread

STOP_TIMEOUT_S = 10.0


class LoopThread:
    """Runs from its making until `end`."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self._thread = Thread(target=self._run, name="agentcom-actors", daemon=True)
        self._up = Event()
        self._thread.start()
        self._up.wait()
        self.ident = self._thread.ident or 0

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(self._up.set)
        self.loop.run_forever()
        self.loop.close()

    def end(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(STOP_TIMEOUT_S)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
