"""Who is here: agents tell it, the gateway asks it, and hears of changes for the sessions that want them."""

from typing import Any, ClassVar

from agentcom.core.messages import AgentStatus, AskAttendance, AskPresence, PresenceNews, WatchPresence
from agentcom.core.presence import Presence
from supervisors.base import Supervised

COALESCE_S = 1.0
"""Changes are told at most so often: what lies between is of no use to whoever looks."""


class PresenceActor(Supervised):
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway",)

    def on_start(self, args: Any) -> None:
        self.presence = Presence()
        self.is_watched = self.is_waiting = False
        self.ready()

    def on_message(self, msg: Any, sender: Any) -> None:
        match msg:
            case AgentStatus():
                self.presence.note(msg)
                self._tell_later()
            case AskPresence():
                self.send(msg.reply_to, self.presence.answer(msg))
            case AskAttendance():
                self.send(msg.reply_to, self.presence.attendance(msg))
            case WatchPresence(conn):
                self._tell()
                self.is_watched = True
                self.tell("gateway", PresenceNews(tuple(self.presence.everyone()), conn))

    def on_down(self, name: str) -> None:
        self.is_watched = False

    def on_wakeup(self, payload: Any) -> None:
        self.is_waiting = False
        self._tell()

    def _tell_later(self) -> None:
        if self.is_watched and self.presence.has_news and not self.is_waiting:
            self.is_waiting = True
            self.after(COALESCE_S, "tell")

    def _tell(self) -> None:
        news = self.presence.news()
        if news and self.is_watched:
            self.tell("gateway", PresenceNews(tuple(news), restated=self.presence.restated))
