"""What each frame of a client costs: its tier. A route's is in `routes`. A test finds a frame that has none.

May import: agentcom.protocol, agentcom.core.rates.
"""

from agentcom.core.rates import Tier
from agentcom.protocol import frames

FRAME_TIERS: dict[type, Tier] = {
    frames.Hello: "heavy",
    frames.Heartbeat: "light",
    frames.Status: "light",
    frames.Drain: "light",
    frames.TaskAccept: "normal",
    frames.TaskReject: "normal",
    frames.TaskProgress: "normal",
    frames.TaskBlock: "normal",
    frames.TaskUnblock: "normal",
    frames.TaskComplete: "normal",
    frames.TaskFail: "normal",
    frames.TaskStopped: "normal",
    frames.TaskSubmit: "heavy",
    frames.Send: "normal",
    frames.Ack: "light",
    frames.Subscribe: "normal",
    frames.Unsubscribe: "normal",
}
