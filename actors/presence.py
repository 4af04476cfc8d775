"""Who is here: agents tell it, the gateway asks it."""

from typing import Any

from agentcom.core.messages import AgentStatus, AskPresence
from agentcom.core.presence import Presence
from supervisors.base import Supervised


class PresenceActor(Supervised):
    def on_start(self, args: Any) -> None:
        self.presence = Presence()
        self.ready()

    def on_message(self, msg: Any, sender: Any) -> None:
        match msg:
            case AgentStatus():
                self.presence.note(msg)
            case AskPresence():
                self.send(msg.reply_to, self.presence.answer(msg))
