"""Whether a run followed its strategy: who spoke in which order, against the rules of the team."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from agentspan.agents.agent import resolve_agent
from agentspan.agents.result import AgentResult, EventType, Status

LOOPS = 2
"""How often one agent may hand over to the same other before it counts as going round in circles."""


class StrategyViolation(AssertionError):
    """A run did not follow its strategy."""


def validate_strategy(agent: Any, result: AgentResult) -> None:
    """StrategyViolation if the team's members did not speak as its strategy says.

    Works on results of runs, streams, `mock_run` and recordings. A run that did not complete may stop early.
    """
    agent = resolve_agent(agent)
    if not agent.agents or str(agent.strategy) not in RULES:
        return
    spoken = speakers(agent, result)
    for problem in _problems(agent, result, spoken):
        raise StrategyViolation(
            f"{agent.name} ({agent.strategy}): {problem}; the order was {' -> '.join(spoken) or '(nobody)'}"
        )


def speakers(agent: Any, result: AgentResult) -> list[str]:
    """The members of a team that spoke, in their order."""
    names = [agent.name, *(each.name for each in agent.agents)]
    handed = [str(x.target) for x in result.events if x.type == EventType.HANDOFF and len(x.path) <= 1]
    if found := [name for name in handed if name in names]:
        return found
    if result.sub_results:
        return [name for name in result.sub_results if name in names]
    by_tools = [str(call.get("agentName")) for call in result.tool_calls if call.get("agentName") in names[1:]]
    return [name for at, name in enumerate(by_tools) if at == 0 or by_tools[at - 1] != name]


def _problems(agent: Any, result: AgentResult, spoken: list[str]) -> Iterator[str]:
    names = [each.name for each in agent.agents]
    whole = result.status == Status.COMPLETED
    yield from RULES[str(agent.strategy)](agent, names, spoken, whole)
    if str(agent.strategy) not in ("sequential", "parallel", "router"):
        yield from _transitions(agent, spoken)


def _sequential(agent: Any, names: list[str], spoken: list[str], whole: bool) -> Iterator[str]:
    if spoken != names[: len(spoken)]:
        yield f"the agents must run in the order {' -> '.join(names)}, each once"
    elif whole and len(spoken) < len(names) and not (spoken and agent.agents[len(spoken) - 1].gate):
        yield f"{', '.join(names[len(spoken) :])} did not run"


def _parallel(agent: Any, names: list[str], spoken: list[str], whole: bool) -> Iterator[str]:
    if twice := [name for name, count in Counter(spoken).items() if count > 1]:
        yield f"{', '.join(twice)} ran more than once"
    if whole and (missing := [name for name in names if name not in spoken]):
        yield f"{', '.join(missing)} did not run"


def _router(agent: Any, names: list[str], spoken: list[str], whole: bool) -> Iterator[str]:
    if len(spoken) > 1 or (whole and not spoken):
        yield f"a router chooses exactly one agent, {len(spoken)} ran"


def _round_robin(agent: Any, names: list[str], spoken: list[str], whole: bool) -> Iterator[str]:
    yield from _turns(agent, spoken, whole)
    if spoken and spoken[0] != names[0]:
        yield f"the first agent is {names[0]}, not {spoken[0]}"
    for last, following in pairwise(spoken):
        allowed = (agent.allowed_transitions or {}).get(last, names)
        order = [names[(names.index(last) + step) % len(names)] for step in range(1, len(names) + 1)]
        expected = next((name for name in order if name in allowed), None)
        if following != expected:
            yield f"after {last} comes {expected}, not {following}"


def _turns(agent: Any, spoken: list[str], whole: bool) -> Iterator[str]:
    """Any members, at most as often as there are turns."""
    if len(spoken) > agent.max_turns:
        yield f"{len(spoken)} turns are more than max_turns={agent.max_turns}"
    if whole and not spoken:
        yield "nobody spoke"


def _handoff(agent: Any, names: list[str], spoken: list[str], whole: bool) -> Iterator[str]:
    if whole and not spoken and not agent.tools:
        yield "no agent was handed to"
    yield from _circles(spoken)


def _swarm(agent: Any, names: list[str], spoken: list[str], whole: bool) -> Iterator[str]:
    if whole and not spoken:
        yield "nobody spoke"
    yield from _circles(spoken)


def _circles(spoken: list[str]) -> Iterator[str]:
    for (last, following), count in Counter(pairwise(spoken)).items():
        if count > LOOPS:
            yield f"{last} handed over to {following} {count} times"


def _transitions(agent: Any, spoken: Sequence[str]) -> Iterator[str]:
    for last, following in pairwise(spoken):
        allowed = (agent.allowed_transitions or {}).get(last)
        if allowed is not None and following not in allowed:
            yield f"{last} may hand over to {', '.join(allowed) or 'nobody'}, not to {following}"


RULES: dict[str, Callable[[Any, list[str], list[str], bool], Iterator[str]]] = {
    "sequential": _sequential,
    "parallel": _parallel,
    "router": _router,
    "round_robin": _round_robin,
    "random": lambda agent, names, spoken, whole: _turns(agent, spoken, whole),
    "manual": lambda agent, names, spoken, whole: _turns(agent, spoken, False),
    "handoff": _handoff,
    "swarm": _swarm,
}
