"""New tasks on their way in: what is checked at the edge, and which lane gets which item.

May import: agentcom.protocol, agentcom.core.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from agentcom.core.decision import Now, Output
from agentcom.core.decision import Rows as AnyRows
from agentcom.core.gateway_state import LANE_NAMES, Collection, Part, Rows, State, default_repo
from agentcom.core.messages import Fault, Submit
from agentcom.core.missing import no_such
from agentcom.protocol.bodies import NewTask
from agentcom.protocol.rows import Lane, Repo

STOPPING = Fault("unavailable", "the hub is stopping", retry_after_ms=2_000)
KEY_BYTES = 240
"""Of an idempotency key in UTF-8: beside the longest name of a submitter it fits the 511 bytes of a key on disk."""


def checked(
    state: State, task: NewTask, header_key: str, submitter: str, now: Now, rows: Rows
) -> NewTask | Fault:
    """The task as its lane gets it: aliases resolved, repo known. A Fault names the field."""
    if header_key:
        keyed = _with_key(task, header_key)
        if isinstance(keyed, Fault):
            return keyed
        task = keyed
    if task.max_retries is not None:
        task = replace(task, max_attempts=task.max_attempts or max(1, task.max_retries), max_retries=None)
    if len(task.idempotency_key.encode()) > KEY_BYTES:
        return Fault("bad_frame", f"a key may have {KEY_BYTES} bytes", "idempotency_key")
    # A repeat is answered as the first time, even when its deadline or its repo has gone since.
    if task.idempotency_key and rows.get("idempotency", (submitter, task.idempotency_key)) is not None:
        return _with_repo(state, task, rows, strict=False)
    return _blank(task) or _late(task, now) or _with_repo(state, task, rows, strict=True)


def _with_key(task: NewTask, key: str) -> NewTask | Fault:
    if len(key) > 120 or not key.isprintable():
        return Fault("bad_frame", "Idempotency-Key must be up to 120 printable characters", "idempotency_key")
    if task.idempotency_key not in ("", key):
        return Fault("bad_frame", "header and body give different keys", "idempotency_key")
    return task if task.idempotency_key else replace(task, idempotency_key=key)


def _blank(task: NewTask) -> Fault | None:
    return None if task.description.strip() else Fault("bad_frame", "it says nothing", "description")


def _late(task: NewTask, now: Now) -> Fault | None:
    if not task.complete_by:
        return None
    if task.complete_by <= now.ms:
        return Fault("bad_frame", "the deadline has passed", "complete_by")
    if task.not_before >= task.complete_by:
        return Fault("bad_frame", "it would not start before its deadline", "not_before")
    return None


def _with_repo(state: State, task: NewTask, rows: Rows, *, strict: bool) -> NewTask | Fault:
    if not task.repo.strip():
        default = default_repo(state, rows)
        return replace(task, repo=default) if default != task.repo else task
    repo = find_repo(task.repo, rows)
    if repo is None:
        if not strict:
            return task
        return Fault("bad_frame", no_such("repo", task.repo), "repo")
    return task if repo.name == task.repo else replace(task, repo=repo.name)


def normalised(text: str) -> str:
    """Two ways to write one repo's name or URL come out the same."""
    return text.strip().rstrip("/").removesuffix(".git")


def find_repo(text: str, rows: AnyRows) -> Repo | None:
    """A repo by its name, or by its URL as older clients give it."""
    wanted = normalised(text)
    if not wanted or not wanted.isprintable():
        return None
    if len(wanted.encode()) <= 256:
        found: Repo | None = rows.get("repo", (wanted,))
        if found is not None:
            return found
    every = rows.scan("repo", (), limit=500)
    return next((repo for _, repo in every if normalised(repo.url) == wanted), None)


def send_to_lanes(
    state: State, submitter: str, entries: list[Any], finish: Callable[[list[Any]], list[Output]]
) -> list[Output]:
    """One `Submit` a lane. `entries` holds tasks and Faults in the asker's order; answers take the tasks' places."""
    collection = Collection(entries, finish)
    places: dict[Lane, list[int]] = {}
    for n, entry in enumerate(entries):
        if type(entry) is NewTask:
            places.setdefault(entry.priority, []).append(n)
    outputs = [_part(state, submitter, collection, lane, at) for lane, at in places.items()]
    return outputs or finish(entries)


def _part(state: State, submitter: str, collection: Collection, lane: Lane, places: list[int]) -> Output:
    request = state.next_request()
    name = LANE_NAMES[lane]
    state.parts[request] = Part(collection, name, tuple(places))
    collection.missing += 1
    items = tuple(collection.entries[n] for n in places)
    return Output(name, Submit(reply_to=state.me, request=request, submitter=submitter, items=items))


def on_lane_reply(state: State, request: int, body: Any) -> list[Output]:
    """A lane answered its part: in order, or with one Fault for all of it."""
    part = state.parts.pop(request, None)
    if part is None:
        return state.answered(request, body)
    answers = body if isinstance(body, list | tuple) else [body] * len(part.places)
    for place, answer in zip(part.places, answers, strict=True):
        part.collection.entries[place] = answer
    part.collection.missing -= 1
    finish: Callable[[list[Any]], list[Output]] = part.collection.finish
    return [] if part.collection.missing else finish(part.collection.entries)


def on_lane_down(state: State, lane: str) -> list[Output]:
    """What this lane was asked has no known outcome any more."""
    lost = [request for request, part in state.parts.items() if part.lane == lane]
    fault = Fault(
        "unavailable", "the lane is restarting; send it again with the same key", retry_after_ms=1_000
    )
    return [output for request in lost for output in on_lane_reply(state, request, fault)]
