"""What programs say and read over HTTP: the part of `Hub` about messages.

May import: agentcom.protocol, agentcom.{client_http, session_talk}.
"""

from agentcom.client_http import HubHttp, Json, path_part
from agentcom.protocol import bodies
from agentcom.session_talk import new_key


class HubTalk(HubHttp):
    """Mixed into `Hub`, whose docstring says what every call raises."""

    async def send(
        self,
        payload: Json,
        *,
        to: str = "",
        channel: str = "",
        broadcast: bool = False,
        message_type: str = "chat",
        reply_to: str = "",
        key: str = "",
    ) -> Json:
        """To one agent, a channel, or all agents: `{message_id, thread_id, status}`, for a channel its place `seq` too.

        Sent again by itself under one key, so it is said once. Raises `ValueError` unless just one of `to`, `channel`,
        `broadcast` is given, `not_found` for whom it goes to, `conflict` when `key` was another message's.
        """
        if bool(to) + bool(channel) + broadcast != 1:
            raise ValueError("a message goes to one of: an agent (to), a channel, everyone (broadcast)")
        body = {"payload": payload, "type": message_type, "reply_to": reply_to, "key": key or new_key()}
        if channel:
            return await self._json("POST", f"/api/channels/{path_part(channel)}/publish", body)
        return await self._json("POST", "/api/message", {**body, "to": to or None})

    async def mailbox(self, agent_id: str, *, since: int = 0, limit: int = 100) -> Json:
        """What waits for an agent behind `since`: `{messages, last_seq, count, pending, acked, dropped, gaps}`.

        At most `limit` (1 to 500) messages; nothing is removed before `ack`. Raises `not_found` for an unknown agent,
        `forbidden` for another agent's mailbox.
        """
        query = {"since": since, "limit": limit}
        return await self._json("GET", f"/api/mailbox/{path_part(agent_id)}", params=query)

    async def ack(self, agent_id: str, seq: int) -> Json:
        """Everything up to `seq` was dealt with and is removed: `{up_to, status}`. Only for the agent itself.

        Raises `invalid_state` for a `seq` that no message has yet, `forbidden` for any other token.
        """
        return await self._json("POST", f"/api/mailbox/{path_part(agent_id)}/ack", bodies.MailboxAck(seq=seq))

    async def messages(self, **filters: str | int | None) -> Json:
        """`{messages, count, cursor?}`, newest first: `cursor` is there while there may be more.

        Filters: `from_` (the sender), to, channel, start_time, end_time (in ms), limit (1 to 200), cursor.
        """
        named = {name.rstrip("_"): value for name, value in filters.items()}
        return await self._json("GET", "/api/messages", params=named)

    async def thread(self, message_id: str) -> Json:
        """The thread a message is in, oldest first, up to 500: `{thread_id, root, messages, count, next_cursor?}`.

        Raises `not_found`.
        """
        return await self._json("GET", f"/api/threads/{path_part(message_id)}")

    async def channels(self) -> Json:
        """The first 1,000 by name: `{channels: [{name, description, subscriber_count, …}], next_cursor?}`."""
        return await self._json("GET", "/api/channels")

    async def channel(self, name: str) -> Json:
        """One channel, its first 1,000 `subscribers`, and `last_seq`, its newest post's place. Raises `not_found`."""
        return await self._json("GET", f"/api/channels/{path_part(name)}")

    async def history(self, channel: str, **filters: str | int | None) -> Json:
        """A channel's newest posts, or with `since` (a `seq`) those after it: `{channel, messages, count, last_seq}`.

        Oldest first, at most `limit` (1 to 1,000). Raises `not_found`.
        """
        return await self._json("GET", f"/api/channels/{path_part(channel)}/history", params=filters)
