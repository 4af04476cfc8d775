"""What one lane keeps in memory of its ready tasks: for each bucket some online agent fits, the first N keys.

The invariant: a resident window equals the first `len` keys of (rows on disk + the lane's uncommitted ops), and
`more` is False only when that is all of them. Nothing here decides about a task; a claim is decided on its row.

At most `max_signatures` buckets are resident, those with the oldest heads. `horizon` is a lower bound on the
heads of the others: when a key at or above it is consumed, or many windows ran empty, a survey is `wanted`, which
looks at all signatures again, in slices. Whoever owns the windows begins it, as it knows what time it is.
May import: agentcom.core, agentcom.protocol.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator

from agentcom.core.decision import Output, Rows
from agentcom.core.messages import Bucket, Class, Head, Window, WindowDelta, Workers
from agentcom.protocol.ops import Delete, Key, Op, Put
from agentcom.protocol.rows import Lane

SLICE = 128
"""Signatures looked at in one step of a survey: a millisecond or two of the loop."""
KEEP_EMPTY = 1_024
"""With no more buckets than this an empty one stays, so that the next task costs a delta and no scan."""
NEVER = 1 << 62
LAST = "\U0010ffff"

CapsOf = Callable[[str], tuple[str, ...]]


class Resident:
    """One bucket's window."""

    __slots__ = ("capabilities", "heads", "more")

    def __init__(self, capabilities: tuple[str, ...], heads: list[Head], more: bool) -> None:
        self.capabilities = capabilities
        self.heads = heads
        self.more = more

    def find(self, order: int, task_id: str) -> int:
        at = bisect_left(self.heads, (order, task_id))
        return at if at < len(self.heads) and self.heads[at].task_id == task_id else -1


class Windows:
    """The windows of one lane."""

    def __init__(self, lane: Lane, size: int, max_buckets: int) -> None:
        self.lane = lane
        self.size = size
        self.max_buckets = max_buckets
        self.resident: dict[Bucket, Resident] = {}
        self.horizon = NEVER
        self.emptied = 0  #: windows that ran empty since the last survey, while other buckets had no place
        self.wanted = False  #: what is not in memory may be older than what is
        self._by_age: list[tuple[int, Bucket]] = []  #: heap, the youngest head first
        self._classes: tuple[Class, ...] = ()
        self._agents: frozenset[str] = frozenset()
        self._survey: list[
            tuple[str, Key | None]
        ] = []  # (least capability, signature row reached), next one last
        self._targets: list[tuple[str, Key | None]] = []

    # --- who is online -----------------------------------------------------------------------------

    def workers(self, news: Workers) -> list[Output]:
        """Take the new set of online agents: close what none of them fits, look for what now fits."""
        before, self._classes = self._classes, news.classes
        agents = frozenset(name for of in news.classes for name in of.agents)
        came, self._agents = agents - self._agents, agents
        closed = [bucket for bucket, of in self.resident.items() if not self.fits(bucket, of.capabilities)]
        outputs = [self._close(bucket) for bucket in closed]
        if {of.capabilities for of in news.classes} - {of.capabilities for of in before}:
            self.survey()
        self._targets += [(name, None) for name in sorted(came)]
        return outputs

    def fits(self, bucket: Bucket, capabilities: tuple[str, ...]) -> bool:
        """Whether some online agent could take a task of this bucket."""
        return any(
            of.capabilities.issuperset(capabilities) and (not bucket.target or bucket.target in of.agents)
            for of in self._classes
        )

    def fitting_agents(self, target: str, capabilities: tuple[str, ...]) -> Iterator[str]:
        """Every online agent that could take such a task."""
        for of in self._classes:
            if of.capabilities.issuperset(capabilities):
                yield from (name for name in of.agents if not target or name == target)

    def resend(self) -> list[Output]:
        """Everything resident, for a scheduler that has forgotten."""
        return [self._whole(bucket) for bucket in self.resident]

    # --- surveys -----------------------------------------------------------------------------------

    def survey(self) -> None:
        """Start (again) to look at every signature the online agents could fit."""
        least = {"", *(name for of in self._classes for name in of.capabilities)}
        self._survey = [(name, None) for name in sorted(least, reverse=True)] if self._classes else []
        if self.horizon < NEVER:  # some found no place, maybe of tasks aimed at one agent
            self._targets = [(name, None) for name in sorted(self._agents)]
        self.horizon = NEVER
        self.emptied = 0
        self.wanted = False

    @property
    def is_surveying(self) -> bool:
        return bool(self._survey or self._targets)

    def survey_step(self, rows: Rows) -> list[Output]:
        """One slice of the survey under way."""
        if self._targets:
            return list(self._step_target(rows))
        return list(self._step_signatures(rows)) if self._survey else []

    def _step_signatures(self, rows: Rows) -> Iterator[Output]:
        least, after = self._survey.pop()
        found = rows.scan("signature", (self.lane, least), after=after, limit=SLICE)
        if len(found) == SLICE:
            self._survey.append((least, found[-1][0]))
        for key, row in found:
            yield from self._consider(Bucket("", str(key[2])), row.capabilities, rows)

    def _step_target(self, rows: Rows) -> Iterator[Output]:
        agent, after = self._targets.pop()
        found = rows.scan("ready", (self.lane, agent), after=after, limit=1)
        if not found:
            return
        key = found[0][0]
        bucket = Bucket(agent, str(key[2]))
        self._targets.append((agent, (self.lane, agent, bucket.signature, NEVER, LAST)))
        yield from self._consider(bucket, rows.get("body", (key[4],)).needed, rows)

    def _consider(self, bucket: Bucket, capabilities: tuple[str, ...], rows: Rows) -> Iterator[Output]:
        if bucket in self.resident or not self.fits(bucket, capabilities):
            return
        found = rows.scan("ready", (self.lane, *bucket), limit=1)
        if found:
            yield from self._open(bucket, capabilities, int(found[0][0][3]), rows)

    # --- opening and closing -----------------------------------------------------------------------

    def _open(
        self, bucket: Bucket, capabilities: tuple[str, ...], order: int, rows: Rows
    ) -> Iterator[Output]:
        if len(self.resident) >= self.max_buckets:
            youngest = self._youngest()
            if self._head_order(youngest) <= order:
                self.horizon = min(self.horizon, order)
                return
            self.horizon = min(self.horizon, self._head_order(youngest))
            yield self._close(youngest)
        self.resident[bucket] = Resident(capabilities, [], True)
        self._refill(bucket, rows)
        heapq.heappush(self._by_age, (-order, bucket))
        yield self._whole(bucket)

    def _youngest(self) -> Bucket:
        """The bucket whose head is the newest: of all in memory it can wait the longest.

        Entries say what was true when they were made; one that no longer is makes room for what is. An entry too old
        keeps a bucket in memory a little longer, which `horizon` allows for.
        """
        if len(self._by_age) > 4 * self.max_buckets or not self._by_age:
            self._by_age = [(-self._head_order(bucket), bucket) for bucket in self.resident]
            heapq.heapify(self._by_age)
        while True:
            age, bucket = self._by_age[0]
            if bucket not in self.resident:
                heapq.heappop(self._by_age)
            elif age != -self._head_order(bucket):
                heapq.heapreplace(self._by_age, (-self._head_order(bucket), bucket))
            else:
                return bucket

    def _head_order(self, bucket: Bucket) -> int:
        heads = self.resident[bucket].heads
        return heads[0].order if heads else NEVER

    def _close(self, bucket: Bucket) -> Output:
        of = self.resident.pop(bucket)
        return Output("scheduler", Window(self.lane, bucket, of.capabilities, (), bool(of.heads)))

    def _whole(self, bucket: Bucket) -> Output:
        of = self.resident[bucket]
        return Output("scheduler", Window(self.lane, bucket, of.capabilities, tuple(of.heads), of.more))

    def _refill(self, bucket: Bucket, rows: Rows, size: int = 0) -> tuple[Head, ...]:
        """Read on after the tail: what lies below it is in the window already."""
        of = self.resident[bucket]
        room = (size or self.size) - len(of.heads)
        prefix: Key = (self.lane, *bucket)
        after = (*prefix, of.heads[-1].order, of.heads[-1].task_id) if of.heads else None
        found = rows.scan("ready", prefix, after=after, limit=room)
        came = tuple(Head(int(key[3]), str(key[4]), row.excluded) for key, row in found)
        of.heads.extend(came)
        of.more = len(found) == room
        return came

    def extend(self, bucket: Bucket, rows: Rows) -> list[Output]:
        """An agent may take none of this window: read as much again. Told whole, as the scheduler may not know it."""
        of = self.resident.get(bucket)
        if of is None:
            return []
        if of.more:
            self._refill(bucket, rows, len(of.heads) + self.size)
        return [self._whole(bucket)]

    # --- adopting ops ------------------------------------------------------------------------------

    def adopt(self, ops: Iterable[Op], rows: Rows, needed: CapsOf) -> list[Output]:
        """Fold the `ready` ops of a decision in; what the scheduler must hear comes back."""
        outputs: list[Output] = []
        for op in ops:
            if op.table == "ready" and op.key[0] == self.lane:
                outputs += self._adopt_one(op, rows, needed)
        return outputs

    def _adopt_one(self, op: Op, rows: Rows, needed: CapsOf) -> Iterator[Output]:
        _, target, sig, order, task_id = op.key
        bucket = Bucket(str(target), str(sig))
        if isinstance(op, Delete):
            yield from self._remove(bucket, int(order), str(task_id), rows)
        elif isinstance(op, Put):
            head = Head(int(order), str(task_id), op.row.excluded)
            if bucket in self.resident:
                yield from self._insert(bucket, head)
            elif self._classes:
                yield from self._arrived(bucket, head, rows, needed)

    def _arrived(self, bucket: Bucket, head: Head, rows: Rows, needed: CapsOf) -> Iterator[Output]:
        capabilities = needed(head.task_id)
        if self.fits(bucket, capabilities):
            yield from self._open(bucket, capabilities, head.order, rows)

    def _insert(self, bucket: Bucket, head: Head) -> Iterator[Output]:
        of = self.resident[bucket]
        if of.more and of.heads and head[:2] > of.heads[-1][:2]:
            return  # it lies beyond the tail: on disk only
        at = of.find(head.order, head.task_id)
        if at >= 0:
            of.heads[at] = head
        else:
            insort(of.heads, head)
        gone: tuple[str, ...] = ()
        if len(of.heads) > 2 * self.size:
            gone = tuple(old.task_id for old in of.heads[self.size :])
            del of.heads[self.size :]
            of.more = True
        if head.task_id not in gone:
            yield Output("scheduler", WindowDelta(self.lane, bucket, gone, (head,)))

    def _remove(self, bucket: Bucket, order: int, task_id: str, rows: Rows) -> Iterator[Output]:
        of = self.resident.get(bucket)
        if of is None:
            return
        at = of.find(order, task_id)
        if at >= 0:
            del of.heads[at]
        came: tuple[Head, ...] = ()
        if of.more and len(of.heads) <= self.size // 4:
            came = self._refill(bucket, rows)
        if not of.heads and len(self.resident) > KEEP_EMPTY:
            yield self._close(bucket)
        elif at >= 0 or came:
            yield Output("scheduler", WindowDelta(self.lane, bucket, (task_id,), came))
        if not of.heads and self.horizon < NEVER:
            self.emptied += 1
        self.wanted = self.wanted or order >= self.horizon or self.emptied > self.max_buckets // 4
