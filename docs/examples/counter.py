"""A supervised counter that crashes and comes back, with `supervisors` and `agentcom.runtime` and nothing else."""

import asyncio

from agentcom.runtime import LoopSystemBase
from supervisors.base import Supervised
from supervisors.root import Root
from supervisors.specs import ChildSpec, SupervisorSpec


class Counter(Supervised):
    def on_start(self, args):
        self.count = args
        self.ready()  # whoever needs "counter" may start now

    def on_message(self, msg, sender):
        self.count += int(msg)  # int("boom") raises: this life ends, and the next one starts from args
        self.send(sender, f"life {self.incarnation} counts {self.count}")


async def main():
    base = LoopSystemBase(loop=asyncio.get_running_loop())
    counter = ChildSpec(name="counter", actor="counter:Counter", args=40)
    root = await Root.start(base, SupervisorSpec(intensity=3, period_s=10.0, children=(counter,)))
    lives: asyncio.Queue = asyncio.Queue()
    root.watch(["counter"], lives.put_nowait, on_down=lambda name: print(name, "is down"))
    port = base.open_port(lambda msg, sender: print(msg))
    for words in (["1", "1", "boom"], ["2"]):
        up = await lives.get()  # its address is another one in each life
        for word in words:
            port.send(up.address, word)
    await root.stop()  # asks after all mail that came before, and waits
    await base.aclose()


if __name__ == "__main__":
    asyncio.run(main())
