"""The shell of the actors that look after the data: slow work off the loop, and what they say of themselves.

What the world does to them (a full or missing disk) is a state with an alert, never a crash.
May import: agentcom.{core, runtime}, supervisors.base.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from agentcom.core.messages import Condition, Fault, Maintain, Reply
from agentcom.runtime import BlockingDone, BlockingFailed, run_blocking
from supervisors.base import Supervised


class Maintainer(Supervised):
    """Subclasses: `after_STEP(value)` for each step they `work` at, `on_failure` when one raised, `on_ask`, `on_time`.

    Their steps run one at a time: each is a blocking call whose result comes back as a message.
    """

    needs: ClassVar[tuple[str, ...]] = ("store",)
    soft_needs: ClassVar[tuple[str, ...]] = ("gateway",)
    working = ""  #: the step under way

    # --- hooks -------------------------------------------------------------------------------------

    def on_ask(self, ask: Maintain) -> None:
        """An operator wants something; answer with `answer`."""
        self.answer(ask, Fault("not_found", f"{self.name} does not answer {ask.verb}"))

    def on_failure(self, step: str, error: str, why: str) -> None:
        """A step raised `error` (its class' name): what the world did, to be tried again later."""

    def on_news(self, msg: Any, sender: Any) -> None:
        """Any other message."""

    def on_time(self, payload: Any) -> None:
        """A time set by `after` has come."""

    # --- what they do ------------------------------------------------------------------------------

    def work(self, step: str, fn: Callable[..., Any], *args: Any) -> None:
        """Call `fn` on a thread. Only when nothing is `working`."""
        self.working = step
        run_blocking(self, fn, *args, token=step)

    def report_condition(self, facts: dict[str, Any], *alerts: str) -> None:
        """What `/health` shows of this part from now on."""
        self._said = Condition(self.name, facts, alerts)
        self.tell("gateway", self._said)

    def answer(self, ask: Maintain, body: Any) -> None:
        self.send(ask.reply_to, Reply(ask.request, body))

    # --- messages ----------------------------------------------------------------------------------

    _said: Condition | None = None

    def on_message(self, msg: Any, sender: Any) -> None:
        match msg:
            case BlockingDone(step, value):
                self.working = ""
                getattr(self, f"after_{step}")(value)
            case BlockingFailed(step, error, text):
                self.working = ""
                self.on_failure(step, error, text)
            case Maintain():
                self.on_ask(msg)
            case _:
                self.on_news(msg, sender)

    def on_up(self, name: str, incarnation: int) -> None:
        if name == "gateway" and self._said is not None:
            self.tell("gateway", self._said)

    def on_wakeup(self, payload: Any) -> None:
        self.on_time(payload)
