"""An agent that counts the words of a task, and answers whoever writes to it."""

import asyncio
import os
from pathlib import Path

from agentcom.client import AgentSession, Hub
from agentcom.protocol.frames import MailboxGap, TaskResult
from agentcom.session_state import Accepted, Assigned, Stop

HUB, NAME, TOKEN = os.environ.get("AGENTCOM_HUB", "http://127.0.0.1:4000"), "words", Path("words.token")


def token() -> str:
    if not TOKEN.exists():
        with Hub(HUB).sync() as hub:
            shown_once = hub.register(NAME).token
        TOKEN.touch(mode=0o600)
        TOKEN.write_text(shown_once)
    return TOKEN.read_text()


async def work(me: AgentSession) -> None:
    texts = {}
    async for event in me:
        match event:
            case Assigned(assign=task):
                texts[task.task_id] = task.description
                await me.accept(task.task_id, task.generation)
            case Accepted(task_id=task_id, generation=generation):  # it is ours from here on
                result = TaskResult(summary=f"{len(texts.pop(task_id, '').split())} words")
                await me.complete(task_id, generation, result)
            case Stop(task_id=task_id, generation=generation):  # cancelled, or another has it
                await me.stopped(task_id, generation)


async def talk(me: AgentSession) -> None:
    async for mail in me.messages():
        if not isinstance(mail, MailboxGap):
            await me.say({"text": f"I read {mail.payload}"}, to=mail.sender, reply_to=mail.message_id)
            await me.ack(mail.seq)  # until then it comes again after every reconnect


async def main() -> None:
    async with AgentSession(HUB, agent_id=NAME, token=token(), capabilities=["counting"]) as me:
        await asyncio.gather(work(me), talk(me))


asyncio.run(main())
