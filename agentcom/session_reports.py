"""What a user's program says of its tasks over an agent's session: the reports of `AgentSession`.

May import: agentcom.protocol, agentcom.session_state.
"""

from agentcom.protocol import frames
from agentcom.session_state import SessionState


class SessionReports:
    """Mixed into `AgentSession`, which has the connection.

    Each returns whether it concerns a task that is held under this generation and has no final report yet; if not,
    nothing is sent. What does is kept, and sent until the hub answers, with or without a connection now. A refusal is
    not raised but comes as an event: `Settled` with a `code` for a final report, `Stop` for an `accept` or a task that
    is not ours any more, else `Refused`.
    """

    state: SessionState

    async def _flush(self) -> None:
        raise NotImplementedError

    async def accept(self, task_id: str, generation: int) -> bool:
        """Take what was `Assigned`; begin to work at the event `Accepted`."""
        return await self._did(self.state.accept(task_id, generation))

    async def reject(self, task_id: str, generation: int, reason: str = "") -> bool:
        """Give it back unharmed (`Settled`, `requeued`). Of `reason` the first 2,000 characters are sent."""
        return await self._did(self.state.reject(task_id, generation, reason[:2_000]))

    async def progress(
        self,
        task_id: str,
        generation: int,
        *,
        note: str = "",
        percent: int | None = None,
        tokens_used: int = 0,
    ) -> bool:
        """News: `percent` from 0 to 100, `tokens_used` for the task so far, the first 2,000 characters of `note`.

        Alone of all it is sent now or not at all, and never again. It accepts the task too.
        """
        frame = frames.TaskProgress(
            task_id=task_id,
            generation=generation,
            note=note[:2_000],
            percent=percent,
            tokens_used=tokens_used,
        )
        return await self._did(self.state.progress(frame))

    async def block(self, task_id: str, generation: int, question: str) -> bool:
        """Ask its operators (up to 10,000 characters, not none). Their answer is the event `Answered`."""
        return await self._did(self.state.block(task_id, generation, question[:10_000]))

    async def unblock(self, task_id: str, generation: int) -> bool:
        """Go on without an answer."""
        return await self._did(self.state.unblock(task_id, generation))

    async def complete(
        self, task_id: str, generation: int, result: frames.TaskResult | None = None, *, tokens_used: int = 0
    ) -> bool:
        """Done. `Settled` says what it came to; `tokens_used` is for the task so far."""
        report = frames.TaskComplete(
            task_id=task_id,
            generation=generation,
            result=result or frames.TaskResult(),
            tokens_used=tokens_used,
        )
        return await self._did(self.state.finish(report))

    async def fail(
        self, task_id: str, generation: int, reason: str, *, retryable: bool = True, tokens_used: int = 0
    ) -> bool:
        """It failed: `Settled` with `retrying`, or `dead_letter` if not `retryable` or this was its last attempt.

        Of `reason` the first 2,000 characters are sent.
        """
        report = frames.TaskFail(
            task_id=task_id,
            generation=generation,
            reason=reason[:2_000],
            retryable=retryable,
            tokens_used=tokens_used,
        )
        return await self._did(self.state.finish(report))

    async def stopped(self, task_id: str, generation: int) -> bool:
        """After the event `Stop`: nothing of it runs any more, and it is let go."""
        return await self._did(self.state.stopped(task_id, generation))

    async def _did(self, concerned: bool) -> bool:
        await self._flush()
        return concerned
