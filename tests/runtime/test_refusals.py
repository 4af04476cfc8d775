"""Bad use in strict mode is refused at once, naming what and where."""

import msgspec
import pytest
from thespian.actors import Actor

from agentcom.runtime import LoopSystemBase, SimSystemBase, UnpicklableError


class Order(msgspec.Struct, frozen=True):
    lines: tuple
    by: str = "me"

    def __str__(self) -> str:
        return "Order"


class Sends(Actor):
    """Sends what cannot leave, and answers why it could not."""

    def receiveMessage(self, msg, sender):
        try:
            self.send(sender, Order(({"call": lambda: None},)))
        except UnpicklableError as refused:
            self.send(sender, str(refused))


class Forgets(Exception):
    """Pickles, and cannot be made again."""

    def __init__(self, a, b):
        super().__init__(a)


@pytest.fixture(params=["loop", "sim"])
def base(request):
    base = LoopSystemBase(strict=True) if request.param == "loop" else SimSystemBase()
    yield base
    base.shutdown()


def test_a_message_is_refused_with_the_path_to_what_is_wrong(base):
    with pytest.raises(UnpicklableError, match=r"message Order, in it lines\[0\]\['call'\] \(a function\)"):
        base.tell(base.newPrimaryActor(Sends), Order(({"call": lambda: None},)))


def test_an_actor_hears_at_its_send_what_is_wrong(base):
    assert "Order, in it lines[0]['call'] (a function)" in base.ask(base.newPrimaryActor(Sends), "try", 10)


def test_what_pickles_but_cannot_be_made_again_is_refused(base):
    with pytest.raises(UnpicklableError, match="Forgets"):
        base.tell(base.newPrimaryActor(Sends), {"error": Forgets(1, 2)})


def test_an_actor_class_that_has_no_name_to_find_it_by_is_refused(base):
    class Local(Actor):
        pass

    with pytest.raises(UnpicklableError, match=r"actor class .*Local"):
        base.newPrimaryActor(Local)
