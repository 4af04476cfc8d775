import sys; sys.path.insert(0,"/tmp")
from minisim import MiniSim
NEVER=float("inf")
STEP_S = 0.00005
class Machine:
    def __init__(self, clock, chooser, draw, *, strict):
        self.clock, self.chooser, self.draw, self.strict = clock, chooser, draw, strict
        self.base=None; self.stalled={}
    def new_base(self):
        self.base = MiniSim(self.clock, self.chooser, self.strict, self.job_s)
        return self.base
    def job_s(self): return self.draw.choice((0.0005,0.002,0.005,0.02,0.2)) * self.draw.random()
    def lose(self): self.base=None; self.stalled.clear()
    def stall(self, cell, until): self.stalled[cell]=until
    def release(self): self.stalled.clear()
    @property
    def is_stalling(self): return bool(self.stalled)
    def step(self, note):
        base=self.base; base.fire()
        now=self.clock.monotonic()
        ready=base._ready
        if self.stalled:
            for c in [c for c,u in self.stalled.items() if u<=now]: del self.stalled[c]
            ok=[i for i,c in enumerate(ready) if c not in self.stalled]
            if not ok: return None
            i=ok[self.chooser.choose(len(ok))]
        else:
            if not ready: return None
            i=self.chooser.choose(len(ready))
        cell=ready.pop(i)
        if cell._mailbox: note(cell, cell._mailbox[0][0])
        base.dispatcher.run(cell,1)
        self.clock.pass_until(now+STEP_S)
        return cell
    def next_due(self):
        due=self.base.next_due()
        due=NEVER if due is None else due
        ready=self.base._ready
        if self.stalled and ready: due=min(due,*[self.stalled.get(c,0) for c in ready])
        return due
