"""The peer of a submit: the hub's own web server before an app that does nothing. `python -m benchmarks.bare`.

It says its port in one line, and ends when its standard input does: it cannot outlive who started it.
May import: asyncio, msgspec, uvloop, agentcom.protocol, agentcom.web.{connections, server}.
"""

import asyncio
import gc
import sys
import time
from typing import Any

import msgspec
import uvloop

from agentcom.protocol.bodies import Submitted
from agentcom.web.connections import Connections
from agentcom.web.server import listen, make_server, started

MAX_FRAME_BYTES = 1 << 20
MOST = 10_000  #: connections
SUBMITTED = Submitted(
    task_id="task-0123456789abcdef0123", status="queued", priority=2, created_at=1_700_000_000_000
)
BODY = msgspec.json.encode(SUBMITTED)  #: as long as the hub's own answer
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Reads any request to its end, and answers it as if a task had been submitted."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        continue
    await send({"type": "http.response.start", "status": 201, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def serve() -> None:
    with listen("127.0.0.1", 0) as listener:
        server = make_server(app, Connections(lambda: MOST, time.monotonic), max_frame_bytes=MAX_FRAME_BYTES)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await started(server, serving)
        _settle_garbage()
        print(listener.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.buffer.read)
        server.stop()
        await serving


def _settle_garbage() -> None:
    """As the hub does, so that the two differ only in what they do for a request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    uvloop.run(serve())
