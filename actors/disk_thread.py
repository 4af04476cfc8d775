"""The thread that alone may touch the store, as its actor drives it: errands go there in order, its silence is noticed.

What counts as silence, and when it is too long, is `agentcom.store.errands`.
May import: agentcom.{exit_codes, store, runtime}, supervisors.base.
"""

import os
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import structlog
from thespian.actors import ActorAddress

from agentcom import exit_codes
from agentcom.runtime import BlockingDone, BlockingFailed, run_blocking
from agentcom.store import errands
from agentcom.store.desk import Letter
from agentcom.store.errands import Errand, Errands
from agentcom.store.errors import StoreError
from supervisors.base import Supervised

log = structlog.get_logger()


def end_process(reason: str) -> None:
    """Nothing can be written any more: end at once, so that the next start verifies what is on disk."""
    os._exit(exit_codes.STORE_PANIC)


class DiskThread(Supervised):
    """Subclasses: `after_STEP(value)` for each errand they `run`, and the hooks."""

    def begin_thread(self, thread: Executor) -> None:
        self.thread = thread
        self.errands = Errands()
        self.after(1.0, "second")

    # --- hooks -------------------------------------------------------------------------------------

    def on_slow(self) -> None:
        """The disk has been silent for long enough to be told of."""

    def tell_gateway(self) -> None:
        """Of figures that change all the time."""

    def keep_up(self) -> None:
        """Upkeep is due."""

    # --- what it does ------------------------------------------------------------------------------

    def run(self, step: Errand, work: Callable[..., Any], *args: Any) -> None:
        self.errands.begun(step)
        run_blocking(self, work, *args, token=step, executor=self.thread)

    def run_for(self, asker: ActorAddress, step: Errand, work: Callable[..., Any], *args: Any) -> None:
        """Between two batches; what comes meanwhile waits for it. The value is a letter to `asker`."""
        self.run(step, _addressed, asker, work, *args)

    def ended(self, end: BlockingDone | BlockingFailed) -> None:
        match end:
            case BlockingDone(step, value):
                self.errands.ended(step)
                getattr(self, f"after_{step}")(value)
            case BlockingFailed("open", "StorageFull", text):
                # The world's doing and no crash: tried again with backoff, outside the restart budget.
                log.error("store.full", reason=text)
                self.exit("aborted")
            case BlockingFailed("open", error, text):
                raise StoreError(f"{error}: {text}")
            case BlockingFailed(step, error, text):
                self.panic(step, f"{error}: {text}")

    def on_wakeup(self, payload: Any) -> None:
        self.after(1.0, payload)
        second = self.errands.second()
        if second.silence == "slow":
            self.on_slow()
        elif second.silence == "stuck":
            self.panic("apply", f"the disk did not answer for {errands.STUCK_S} s")
        if second.tell:
            self.tell_gateway()
        if second.upkeep:
            self.keep_up()

    def panic(self, step: str, why: str) -> None:
        """A failing disk is no crash to restart from in this process: what it holds must be verified."""
        log.critical("store.panicked", step=step, reason=why)
        self.args.on_panic(why)
        self.exit(why)


def _addressed(asker: ActorAddress, work: Callable[..., Any], *args: Any) -> Letter:
    return asker, work(*args)
