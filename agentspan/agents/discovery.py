"""Finding the agents that a package defines."""

import importlib
import pkgutil
from collections.abc import Sequence
from types import ModuleType

from agentspan.agents.agent import Agent, AgentDef
from agentspan.agents.exceptions import ConfigurationError
from agentspan.agents.serialize import tree
from agentspan.agents.tool import ToolDef, get_tool_defs

ALONE = "tools"


def discover_agents(packages: Sequence[str]) -> list[Agent]:
    """The agents at the top of the packages' modules, `@agent` functions too, each once by name.

    Modules that cannot be imported are reported together: ConfigurationError names each with its error.
    """
    if isinstance(packages, str):
        raise TypeError(f"packages must be a list of names, such as [{packages!r}]")
    modules, problems = _modules(packages)
    if problems:
        lines = "\n".join(f"  {name}: {type(problem).__name__}: {problem}" for name, problem in problems.items())
        raise ConfigurationError(f"these modules cannot be imported:\n{lines}") from next(iter(problems.values()))
    found: dict[str, Agent] = {}
    for module in modules:
        for value in vars(module).values():
            definition = getattr(value, "_agent_def", None)
            agent = definition.build() if isinstance(definition, AgentDef) else value
            if isinstance(agent, Agent):
                found.setdefault(agent.name, agent)
    return list(found.values())


def discover_served(packages: Sequence[str]) -> list[Agent]:
    """The agents of the packages, and one that has the tools at the top of the modules which no agent has."""
    agents = discover_agents(packages)
    modules, _ = _modules(packages)
    theirs = {tool.name for agent in agents for each in tree(agent) for tool in get_tool_defs(each.tools)}
    found: dict[str, ToolDef] = {}
    for module in modules:
        for value in vars(module).values():
            tool = value if isinstance(value, ToolDef) else getattr(value, "_tool_def", None)
            if isinstance(tool, ToolDef) and tool.func is not None and tool.name not in theirs:
                found.setdefault(tool.name, tool)
    alone = [Agent(ALONE, tools=list(found.values()))] if found else []
    if not agents and not alone:
        raise ConfigurationError(f"there is no agent and no tool at the top of {', '.join(packages)}")
    return [*agents, *alone]


def _modules(packages: Sequence[str]) -> tuple[list[ModuleType], dict[str, Exception]]:
    """The modules of the packages in order of their names, and why others are not among them."""
    modules: dict[str, ModuleType] = {}
    problems: dict[str, Exception] = {}
    waiting = list(packages)
    while waiting:
        name = waiting.pop(0)
        try:
            module = modules.setdefault(name, importlib.import_module(name))
        except Exception as problem:  # a module may fail with anything
            problems[name] = problem
            continue
        below = (each.name for each in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."))
        waiting += [each for each in below if not each.endswith(".__main__")]
    return list(modules.values()), problems
