"""The hub's HTTP API for Python programs: `Hub` (async) and `Hub.sync()`; agents use `AgentSession`.

Every refusal is raised as `Refused` (the caller acts) or `Unavailable` (try later; the outcome may be unknown). What is
safe to repeat is sent again by itself until `retry_s` is over. That is all but `register`, `snapshot`, `call`, `health`
and `ready`: submits, answers and messages carry a key, and what is already as asked the hub answers as done.
May import: msgspec, agentcom.protocol, agentcom.{answers, backoff, client_http, client_talk, following, session,
session_talk}.
"""

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Self, cast

import msgspec

from agentcom import following
from agentcom.answers import retried
from agentcom.backoff import delay_s
from agentcom.client_http import Json, path_part
from agentcom.client_talk import HubTalk
from agentcom.protocol import bodies, errors, rows
from agentcom.session import AgentSession
from agentcom.session_talk import new_key

__all__ = ["AgentSession", "Hub", "SyncHub", "new_key"]


class Hub(HubTalk):
    """One hub, as seen with one token. Use as `async with`, or call `close`.

    `ca_file` (PEM) is what signed an https hub's certificate, where this machine does not trust it by itself; `OSError`
    if it cannot be used. Each try may take `timeout_s`. What is answered are the hub's JSON objects, whose fields
    docs/reference/http.md lists; times in them are milliseconds since 1970.

    Each call may raise `Unavailable` (`unavailable`, `overloaded`, `storage_full`, `rate_limited`) and `Refused` with
    `invalid_token`, `forbidden` or `bad_frame` (`path` names the field); below are the codes that a call has besides.
    """

    def sync(self) -> "SyncHub":
        """The same calls for programs without an event loop."""
        return SyncHub(self)

    # --- tasks -------------------------------------------------------------------------------------

    async def submit(
        self, task: bodies.NewTask | str | None = None, *, idempotency_key: str = "", **fields: Any
    ) -> bodies.Submitted:
        """Queue one task: `submit("fix the parser", priority="high")` or `submit(NewTask(...))`.

        The same key again is answered with the first task (`repeated`). Raises `conflict` when it was another task's,
        `TypeError` for a field that `NewTask` does not have.
        """
        keyed = _keyed(_new_task(task, fields), idempotency_key)
        answer = await self._again("POST", "/api/tasks", keyed)
        return msgspec.json.decode(answer.content, type=bodies.Submitted, strict=False)

    async def submit_batch(
        self, tasks: Sequence[bodies.NewTask]
    ) -> list[bodies.Submitted | bodies.ErrorBody]:
        """Queue up to 1,000 tasks; one answer per task, in order.

        What is refused is an `ErrorBody` in its place, and so is what could not be taken until `retry_s` was over.
        """
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
        """One task (`TaskView`): status, reason, question, result, …, `history` newest first. Raises `not_found`."""
        return await self._json("GET", f"/api/tasks/{path_part(task_id)}")

    async def tasks(self, **filters: str | int | None) -> Json:
        """`{tasks, count, next_cursor?}`: `next_cursor` is there while there may be more.

        Filters: status, priority, assigned_to, submitter, limit (1 to 1,000), cursor. History is left out.
        """
        return await self._json("GET", "/api/tasks", params=filters)

    async def events(self, task_id: str) -> Json:
        """`{task_id, events: [{event, ms, status, generation, agent_id, reason}]}`, oldest first.

        Raises `not_found`.
        """
        return await self._json("GET", f"/api/tasks/{path_part(task_id)}/events")

    async def cancel(self, task_id: str, reason: str = "") -> Json:
        """Its agent is told to stop: `{task_id, status, previous_status, priority}`; done already if it is cancelled.

        Raises `not_found`, and `invalid_state` for a task that is completed.
        """
        return await self._json(
            "POST", f"/api/tasks/{path_part(task_id)}/cancel", bodies.Reason(reason=reason)
        )

    async def retry(self, task_id: str, reason: str = "") -> Json:
        """A dead-lettered or cancelled task back into its lane, with fresh attempts; answered as `cancel`.

        Done already if it was retried and nothing of these attempts is used. Raises `not_found`, else `invalid_state`.
        """
        return await self._json(
            "POST", f"/api/tasks/{path_part(task_id)}/retry", bodies.Reason(reason=reason)
        )

    async def prioritise(self, task_id: str, lane: rows.Lane) -> Json:
        """Into another lane, whoever works on it; answered as `cancel`, `priority` being the lane.

        Raises `not_found`, and `invalid_state` for a task that has ended in another lane.
        """
        return await self._json(
            "POST", f"/api/tasks/{path_part(task_id)}/prioritise", bodies.NewLane(priority=lane)
        )

    async def answer(self, task_id: str, answer: str, *, key: str = "") -> Json:
        """To a blocked task's question; answered as `cancel`. The same answer under one `key` is told once.

        Raises `not_found`, and `invalid_state` for a task that asks nothing and works by no such answer.
        """
        body = bodies.Answer(answer=answer, key=key or new_key())
        return await self._json("POST", f"/api/tasks/{path_part(task_id)}/answer", body)

    async def wait(self, task_id: str, timeout_s: float) -> Json:
        """The task, as `task` answers it, as soon as it is completed, cancelled or in the dead letter.

        Raises `TimeoutError` after `timeout_s`, and what `task` raises.
        """
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
        """A new agent and its token, which is shown this once. Sent once: it is not safe to repeat.

        Raises `conflict` for a name that is taken, `forbidden` for an invite that is missing or not good (any more).
        """
        body = bodies.Register(agent_id=agent_id, invite=invite, capabilities=list(capabilities))
        answer = await self._once("POST", "/api/onboard/register", body, None)
        return msgspec.json.decode(answer.content, type=bodies.Registered, strict=False)

    async def agents(self) -> Json:
        """`{agents: [{agent_id, state, task_id, generation, capabilities, connected_ms, since_ms, …}]}`, by name."""
        return await self._json("GET", "/api/agents")

    async def actors(self) -> Any:
        """The supervision tree, `{actors: [{name, parent, kind, state, restarts, uptime_s, …}]}`, parents first."""
        return await self._json("GET", "/api/actors")

    async def actor(self, name: str) -> Json:
        """One actor in full: its line of `actors`, its budget, its last crash. Raises `not_found`."""
        return await self._json("GET", f"/api/actors/{path_part(name)}")

    async def repos(self) -> Json:
        """`{repos: [{name, url, base_branch, paused, forge, default}]}`."""
        return await self._json("GET", "/api/repos")

    async def put_repo(self, repo: bodies.NewRepo | None = None, **fields: Any) -> Json:
        """Make a repo, or change it as a whole: `NewRepo`, or its fields. Answers it as `repos` does.

        Raises `msgspec.ValidationError` for fields that do not make one.
        """
        body = repo or msgspec.convert(fields, bodies.NewRepo)
        return await self._json("PUT", f"/api/repos/{path_part(body.name)}", body)

    async def set_default_repo(self, name: str) -> Json:
        """For tasks that name none; "" for no such repo: `{status: "ok"}`. Raises `not_found`."""
        return await self._json("PUT", "/api/repos/default", bodies.DefaultRepo(name=name))

    async def open_pull(self, pull: bodies.NewPull) -> Json:
        """Record a pull request; the same branch again updates its record: `{pr_id, url, …}` (`PullView`).

        Raises `not_found` for the task, `not_owner` for an agent that did not have it, `conflict` for another's branch.
        """
        return await self._json("POST", "/api/pulls", pull)

    async def pulls(self, **filters: str | int | None) -> Json:
        """`{pulls: [{pr_id, url, …}]}`; filters: task_id, limit (1 to 1,000)."""
        return await self._json("GET", "/api/pulls", params=filters)

    # --- the hub -----------------------------------------------------------------------------------

    async def health(self) -> Json:
        """`{status: "ok" or "degraded", alerts, agents_connected, epoch, store, parts, …}`. Sent once."""
        answer = await self._once("GET", "/health", None, None)
        return cast(Json, msgspec.json.decode(answer.content))

    async def snapshot(self, timeout_s: float = 3_600.0) -> Json:
        """Make a snapshot: `{snapshot, seconds, renewed, removed}`, answered when it is verified.

        One that is being made already is joined. Sent once; `Unavailable` after `timeout_s`, though it may be made yet.
        """
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

        `async for event in hub.follow(): …`, each with its `id` and `type`; it comes back by itself. Raises
        `Unavailable` when the hub was away for longer than `retry_s`, `bad_frame` when `after` is no place.
        """
        return following.follow(self._http, None if after is None else str(after), self.retry_s)


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
        """As `Hub.follow`, for a plain `for`."""
        events = self._hub.follow(after)

        async def one() -> Json:
            return await anext(events)

        while True:
            yield self._blocking(one)()

    def close(self) -> None:
        """Close the connections and end the thread."""
        asyncio.run_coroutine_threadsafe(self._hub.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
