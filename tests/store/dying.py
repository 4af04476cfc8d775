"""A hub's store that rewrites itself and is killed at a step: `python -m tests.store.dying FOLDER STEP`.

The tool's steps kill the tool, the store's own kill this process. Prints `written N` once N rows are on disk.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from agentcom.protocol.ops import Delete, Put
from agentcom.store import steps, switching
from agentcom.store.messages import SwitchStore
from agentcom.store.rewriting import work
from tests.store.helpers import LmdbStore, Writer, task


def die_at(step: str) -> None:
    def act(name: str) -> None:
        if name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    steps.Hook.act = staticmethod(act)


def tool(step: str, store: str, into: str) -> None:
    die_at(step)
    print(json.dumps({"seq": work({"store": store, "into": into}).seq}))


def hub(folder: str, step: str) -> None:
    store = LmdbStore(Path(folder), sync=False)  # a killed process loses nothing it gave the kernel
    writer = Writer(store)
    for n in range(200):
        writer.commit(Put("task", (f"t{n}",), task(f"t{n}")))
    for n in range(150):
        writer.commit(Delete("task", (f"t{n}",)))
    print("written 50", flush=True)
    env = store.env
    place = switching.place(env)
    args = [sys.executable, "-m", "tests.store.dying", "tool", step, place.store, place.into]
    done = subprocess.run(args, capture_output=True, check=False)
    if done.returncode:
        print(f"tool ended {done.returncode}", flush=True)
        return
    for n in range(200, 210):
        writer.commit(Put("task", (f"t{n}",), task(f"t{n}")))
    print("written 60", flush=True)
    die_at(step)
    switched = switching.switch(env, SwitchStore(place.into, json.loads(done.stdout)["seq"]), env.life)
    assert not switched.problem, switched.problem
    for n in range(210, 220):
        writer.commit(Put("task", (f"t{n}",), task(f"t{n}")))
    print("written 70", flush=True)
    for path in env.close_retired():
        switching._remove([path])


if __name__ == "__main__":
    if sys.argv[1] == "tool":
        tool(*sys.argv[2:])
    else:
        hub(*sys.argv[1:])
