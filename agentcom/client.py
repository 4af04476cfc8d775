"""The hub's HTTP API for Python programs: `Hub` (async) and `Hub.sync()`; agents use `AgentSession`.

Every refusal is raised as `Refused` (the caller acts) or `Unavailable` (try later; the outcome may be
unknown). Requests that are safe to repeat are sent again by themselves until `retry_s` is over; submits
always carry a key, so that the same submit sent twice is one task.
May import: httpx, agentcom.protocol, agentcom.{backoff, answers, endpoint, following, session}.
"""

import asyncio
import inspect
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Self, cast
from urllib.parse import quote

import httpx
import msgspec

from agentcom import following
from agentcom.answers import raise_for, retried
from agentcom.backoff import delay_s
from agentcom.endpoint import is_local, tls_of
from agentcom.protocol import bodies, errors, rows
from agentcom.session import AgentSession
from agentcom.session_talk import new_key

__all__ = ["AgentSession", "Hub", "SyncHub", "new_key", "part"]

Json = dict[str, Any]


class Hub:
    """One hub, as seen with one token. Use as `async with`, or call `close`.

    `ca_file` (PEM) is what signed an https hub's certificate, where this machine does not trust it by itself.
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        retry_s: float = 30.0,
        timeout_s: float = 30.0,
        ca_file: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ca_file = ca_file
        self.retry_s = retry_s
        self._rng = random.Random()  # noqa: S311  # jitter, not a secret
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            transport=transport,
            verify=tls_of(url, ca_file) or True,
            trust_env=not is_local(url),  # a proxy cannot reach our own loopback
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    def sync(self) -> "SyncHub":
        """The same calls for programs without an event loop."""
        return SyncHub(self)

    # --- tasks -------------------------------------------------------------------------------------

    async def submit(
        self, task: bodies.NewTask | str | None = None, *, idempotency_key: str = "", **fields: Any
    ) -> bodies.Submitted:
        """Queue one task: `submit("fix the parser", priority="high")` or `submit(NewTask(...))`."""
        keyed = _keyed(_new_task(task, fields), idempotency_key)
        answer = await self._again("POST", "/api/tasks", keyed)
        return msgspec.json.decode(answer.content, type=bodies.Submitted, strict=False)

    async def submit_batch(
        self, tasks: Sequence[bodies.NewTask]
    ) -> list[bodies.Submitted | bodies.ErrorBody]:
        """Queue up to 1,000 tasks; one answer per task, in order."""
        keyed = [_keyed(task) for task in tasks]
        answers: dict[int, bodies.Submitted | bodies.ErrorBody] = {}
        deadline = time.monotonic() + self.retry_s
        attempt = 0
        while (todo := [i for i in range(len(keyed)) if i not in answers or retried(answers[i])]) and (
            attempt == 0 or time.monotonic() < deadline
        ):
            if attempt:
                await asyncio.sleep(delay_s(attempt, self._rng, base_s=0.05, cap_s=2.0))
            answers.update(zip(todo, await self._batch([keyed[i] for i in todo]), strict=True))
            attempt += 1
        return [answers[i] for i in range(len(keyed))]

    async def _batch(self, tasks: list[bodies.NewTask]) -> list[bodies.Submitted | bodies.ErrorBody]:
        answer = await self._again("POST", "/api/tasks/batch", {"tasks": tasks})
        return [_item(entry) for entry in msgspec.json.decode(answer.content)["tasks"]]

    async def task(self, task_id: str) -> Json:
        return await self._json("GET", f"/api/tasks/{part(task_id)}")

    async def tasks(self, **filters: str | int | None) -> Json:
        """`{tasks, count, next_cursor?}`; filters: status, priority, assigned_to, limit, cursor."""
        return await self._json("GET", "/api/tasks", params=filters)

    async def events(self, task_id: str) -> Json:
        return await self._json("GET", f"/api/tasks/{part(task_id)}/events")

    async def cancel(self, task_id: str, reason: str = "") -> Json:
        return await self._json("POST", f"/api/tasks/{part(task_id)}/cancel", bodies.Reason(reason=reason))

    async def retry(self, task_id: str, reason: str = "") -> Json:
        return await self._json("POST", f"/api/tasks/{part(task_id)}/retry", bodies.Reason(reason=reason))

    async def prioritise(self, task_id: str, lane: rows.Lane) -> Json:
        return await self._json(
            "POST", f"/api/tasks/{part(task_id)}/prioritise", bodies.NewLane(priority=lane)
        )

    async def answer(self, task_id: str, answer: str) -> Json:
        return await self._json("POST", f"/api/tasks/{part(task_id)}/answer", bodies.Answer(answer=answer))

    async def wait(self, task_id: str, timeout_s: float) -> Json:
        """The task as soon as it is final. Raises `TimeoutError`."""
        deadline = time.monotonic() + timeout_s
        pause_s = 0.05
        while (task := await self.task(task_id))["status"] not in rows.FINAL:
            if time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"{task_id} is still {task['status']} after {timeout_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.3, 1.0)
        return task

    # --- agents, repos, pull requests --------------------------------------------------------------

    async def register(
        self, agent_id: str, invite: str = "", capabilities: Sequence[str] = ()
    ) -> bodies.Registered:
        """A new agent and its token, which is shown this once. Never repeated: it is not idempotent."""
        body = bodies.Register(agent_id=agent_id, invite=invite, capabilities=list(capabilities))
        answer = await self._once("POST", "/api/onboard/register", body, None)
        return msgspec.json.decode(answer.content, type=bodies.Registered, strict=False)

    async def agents(self) -> Json:
        return await self._json("GET", "/api/agents")

    async def actors(self) -> Any:
        """The supervision tree."""
        return await self._json("GET", "/api/actors")

    async def actor(self, name: str) -> Json:
        """One actor in full."""
        return await self._json("GET", f"/api/actors/{part(name)}")

    async def repos(self) -> Json:
        return await self._json("GET", "/api/repos")

    async def put_repo(self, repo: bodies.NewRepo | None = None, **fields: Any) -> Json:
        body = repo or msgspec.convert(fields, bodies.NewRepo)
        return await self._json("PUT", f"/api/repos/{part(body.name)}", body)

    async def set_default_repo(self, name: str) -> Json:
        return await self._json("PUT", "/api/repos/default", bodies.DefaultRepo(name=name))

    async def open_pull(self, pull: bodies.NewPull) -> Json:
        """Record a pull request; the same branch again updates its record."""
        return await self._json("POST", "/api/pulls", pull)

    async def pulls(self, **filters: str | int | None) -> Json:
        return await self._json("GET", "/api/pulls", params=filters)

    # --- messages ----------------------------------------------------------------------------------

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
        """To one agent, a channel, or all agents. Sent again by itself under one key, so it is said once."""
        if bool(to) + bool(channel) + broadcast != 1:
            raise ValueError("a message goes to one of: an agent (to), a channel, everyone (broadcast)")
        body = {"payload": payload, "type": message_type, "reply_to": reply_to, "key": key or new_key()}
        if channel:
            return await self._json("POST", f"/api/channels/{part(channel)}/publish", body)
        return await self._json("POST", "/api/message", {**body, "to": to or None})

    async def mailbox(self, agent_id: str, *, since: int = 0, limit: int = 100) -> Json:
        """What waits for an agent: `{messages, last_seq, pending, gaps, …}`; `ack` what was dealt with."""
        query = {"since": since, "limit": limit}
        return await self._json("GET", f"/api/mailbox/{part(agent_id)}", params=query)

    async def ack(self, agent_id: str, seq: int) -> Json:
        return await self._json("POST", f"/api/mailbox/{part(agent_id)}/ack", bodies.MailboxAck(seq=seq))

    async def messages(self, **filters: str | int | None) -> Json:
        """`{messages, cursor}`, newest first; filters: `from_` (the sender), to, channel, start_time, end_time, …"""
        named = {name.rstrip("_"): value for name, value in filters.items()}
        return await self._json("GET", "/api/messages", params=named)

    async def thread(self, message_id: str) -> Json:
        return await self._json("GET", f"/api/threads/{part(message_id)}")

    async def channels(self) -> Json:
        return await self._json("GET", "/api/channels")

    async def channel(self, name: str) -> Json:
        return await self._json("GET", f"/api/channels/{part(name)}")

    async def history(self, channel: str, **filters: str | int | None) -> Json:
        """A channel's newest posts, or with `since` those after that place."""
        return await self._json("GET", f"/api/channels/{part(channel)}/history", params=filters)

    # --- the hub -----------------------------------------------------------------------------------

    async def health(self) -> Json:
        answer = await self._once("GET", "/health", None, None)
        return cast(Json, msgspec.json.decode(answer.content))

    async def snapshot(self, timeout_s: float = 3_600.0) -> Json:
        """Make a snapshot; answered when it is verified. One that is being made already is joined."""
        answer = await self._once("POST", "/api/snapshots", None, None, timeout_s=timeout_s)
        return cast(Json, msgspec.json.decode(answer.content))

    async def snapshots(self) -> Json:
        """`{folder, running, due_at, snapshots, problem}`, newest first."""
        return await self._json("GET", "/api/snapshots")

    async def ready(self) -> bool:
        """Whether the hub serves right now; never raises for a hub that is away."""
        try:
            await self._once("GET", "/ready", None, None)
        except errors.AgentComError:
            return False
        return True

    def follow(self, after: str | int | None = None) -> AsyncIterator[Json]:
        """Everything that changes, as it changes, from now on or after a journal seq or an event's `id`.

        `async for event in hub.follow(): …`; it comes back by itself, see `agentcom.following.follow`.
        """
        return following.follow(self._http, None if after is None else str(after), self.retry_s)

    async def call(self, method: str, path: str, body: Any = None, **params: str | int | None) -> Any:
        """Any other route, sent once; `None` if it answers nothing."""
        answer = await self._once(method, path, body, params)
        return msgspec.json.decode(answer.content) if answer.content else None

    # --- sending -----------------------------------------------------------------------------------

    async def _json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str | int | None] | None = None,
    ) -> Json:
        answer = await self._again(method, path, body, params)
        return cast(Json, msgspec.json.decode(answer.content)) if answer.content else {}

    async def _again(
        self, method: str, path: str, body: Any = None, params: Mapping[str, str | int | None] | None = None
    ) -> httpx.Response:
        """Send until it is answered for good, or `retry_s` is over."""
        deadline = time.monotonic() + self.retry_s
        attempt = 0
        while True:
            try:
                return await self._once(method, path, body, params)
            except errors.Unavailable as exc:
                attempt += 1
                pause_s = delay_s(
                    attempt, self._rng, base_s=0.05, cap_s=2.0, at_least_s=exc.retry_after_ms / 1000
                )
                if time.monotonic() + pause_s > deadline:
                    raise
                await asyncio.sleep(pause_s)

    async def _once(
        self,
        method: str,
        path: str,
        body: Any,
        params: Mapping[str, str | int | None] | None,
        *,
        timeout_s: float | None = None,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        query = {k: v for k, v in (params or {}).items() if v is not None}
        try:
            answer = await self._http.request(
                method,
                path,
                content=content,
                headers=headers,
                params=query,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s,
            )
        except httpx.HTTPError as exc:
            said = f"{method} {path}: no answer from {self.url} ({type(exc).__name__} {exc})"
            raise errors.Unavailable("unavailable", said) from exc
        if answer.status_code >= 400:
            raise_for(answer.status_code, answer.content)
        return answer


def part(text: str) -> str:
    """A name as one part of a path. Dots are escaped as well: `..` would be a step up."""
    return quote(text, safe="").replace(".", "%2E") if set(text) == {"."} else quote(text, safe="")


def _new_task(task: bodies.NewTask | str | None, fields: Json) -> bodies.NewTask:
    if isinstance(task, bodies.NewTask):
        return msgspec.structs.replace(task, **fields)
    return bodies.NewTask(**(fields if task is None else {"description": task, **fields}))


def _item(entry: Json) -> bodies.Submitted | bodies.ErrorBody:
    if "error" in entry:
        return msgspec.convert(entry, bodies.ErrorBody, strict=False)
    return msgspec.convert(entry, bodies.Submitted, strict=False)


def _keyed(task: bodies.NewTask, key: str = "") -> bodies.NewTask:
    if not key and task.idempotency_key:
        return task
    return msgspec.structs.replace(task, idempotency_key=key or new_key())


class SyncHub:
    """`Hub` without `await`: each call runs the same coroutine on a loop of its own, in a thread."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="agentcom-client", daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._hub, name)
        return self._blocking(found) if inspect.iscoroutinefunction(found) else found

    def _blocking(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result()

        return call

    def follow(self, after: str | int | None = None) -> Iterator[Json]:
        events = self._hub.follow(after)

        async def one() -> Json:
            return await anext(events)

        while True:
            yield self._blocking(one)()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._hub.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
