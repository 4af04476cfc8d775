"""An agent in a process of its own that accepts a task and holds it: says what happens to it, line by line."""

import asyncio
import os
import sys

from agentcom.client import AgentSession
from agentcom.session_state import Accepted, Assigned, Offline, Online, Stop


def say(*words: str) -> None:
    print(*words, flush=True)


async def main(url: str, agent_id: str, capability: str) -> None:
    token = os.environ["AGENTCOM_TOKEN"]
    session = AgentSession(
        url, agent_id=agent_id, token=token, capabilities=[capability], backoff_s=(0.05, 0.5)
    )
    async with session:
        async for event in session:
            match event:
                case Online():
                    say("online")
                case Offline():
                    say("offline")
                case Assigned(assign=task):
                    await session.accept(task.task_id, task.generation)
                case Accepted():
                    say("holds", event.task_id)
                case Stop(task_id=task_id, generation=generation):
                    say("stop", task_id)
                    await session.stopped(task_id, generation)


asyncio.run(main(*sys.argv[1:]))
