"""Finding the agents that a package defines."""

import importlib
import pkgutil
from types import ModuleType

from agentspan.agents.agent import Agent, AgentDef


def discover_agents(packages: list[str]) -> list[Agent]:
    """The agents at the top of the packages' modules, each once by name; a module that cannot be imported raises."""
    found: dict[str, Agent] = {}
    for package in packages:
        for module in _modules(package):
            for value in vars(module).values():
                definition = getattr(value, "_agent_def", None)
                agent = definition.build() if isinstance(definition, AgentDef) else value
                if isinstance(agent, Agent):
                    found.setdefault(agent.name, agent)
    return list(found.values())


def _modules(package: str) -> list[ModuleType]:
    root = importlib.import_module(package)
    below = pkgutil.walk_packages(getattr(root, "__path__", ()), f"{package}.")
    return [root, *(importlib.import_module(each.name) for each in below if not each.name.endswith("__main__"))]
