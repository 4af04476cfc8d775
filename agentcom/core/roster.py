"""Who is online, as the scheduler sees it: agents, and crews of agents with the same capabilities.

May import: agentcom.core.{messages, shelves}.
"""

from collections import OrderedDict
from collections.abc import Collection

from agentcom.core.messages import Class
from agentcom.core.shelves import Board


class Agent:
    """One online agent. `own` orders the tasks aimed at it alone."""

    __slots__ = ("agent_id", "crew", "idle_since", "incarnation", "own")

    def __init__(self, agent_id: str, incarnation: int, crew: "Crew") -> None:
        self.agent_id = agent_id
        self.incarnation = incarnation
        self.crew = crew
        self.idle_since = 0  #: a number that rises with each agent that becomes idle; 0 while busy
        self.own = Board()


class Crew:
    """The online agents of one capability set, and the board of what they all fit."""

    __slots__ = ("_row", "agents", "board", "capabilities", "idle", "size")

    def __init__(self, capabilities: frozenset[str]) -> None:
        self.capabilities = capabilities
        self.size = len(capabilities)
        self.agents: dict[str, Agent] = {}
        #: longest idle first; a dict would scan what left it
        self.idle: OrderedDict[str, Agent] = OrderedDict()
        self.board = Board()
        self._row: Class | None = None

    def longest_idle(self, excluded: Collection[str]) -> Agent | None:
        if not excluded:
            return next(iter(self.idle.values()), None)
        return next((agent for name, agent in self.idle.items() if name not in excluded), None)

    def row(self) -> Class:
        if self._row is None:
            self._row = Class(self.capabilities, frozenset(self.agents))
        return self._row

    def add(self, agent: Agent) -> None:
        self.agents[agent.agent_id] = agent
        self._row = None

    def remove(self, agent: Agent) -> None:
        del self.agents[agent.agent_id]
        self._row = None


class Roster:
    """Every online agent. A crew exists while it has an agent."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.crews: dict[frozenset[str], Crew] = {}
        self.idle: dict[int, OrderedDict[str, Agent]] = {}  #: by number of capabilities, longest idle first
        self.idle_count = 0
        self._turns = 0

    def join(self, agent_id: str, incarnation: int, capabilities: frozenset[str]) -> tuple[Agent, bool]:
        """Add an agent that is not here yet; True when its crew is new."""
        crew = self.crews.get(capabilities)
        is_new = crew is None
        if crew is None:
            crew = self.crews[capabilities] = Crew(capabilities)
        agent = self.agents[agent_id] = Agent(agent_id, incarnation, crew)
        crew.add(agent)
        return agent, is_new

    def leave(self, agent: Agent) -> bool:
        """Remove an agent; True when its crew ended with it."""
        self.occupy(agent)
        del self.agents[agent.agent_id]
        agent.crew.remove(agent)
        if agent.crew.agents:
            return False
        del self.crews[agent.crew.capabilities]
        return True

    def rest(self, agent: Agent) -> None:
        """It takes work from now on. A repeat keeps its place."""
        if not agent.idle_since:
            self._turns += 1
            agent.idle_since = self._turns
            agent.crew.idle[agent.agent_id] = agent
            self.idle.setdefault(agent.crew.size, OrderedDict())[agent.agent_id] = agent
            self.idle_count += 1

    def occupy(self, agent: Agent) -> None:
        """It takes no work."""
        if agent.idle_since:
            agent.idle_since = 0
            del agent.crew.idle[agent.agent_id]
            del self.idle[agent.crew.size][agent.agent_id]
            self.idle_count -= 1

    def rows(self) -> tuple[Class, ...]:
        return tuple(crew.row() for crew in self.crews.values())
