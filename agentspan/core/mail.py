"""Messages from outside: who hears one, and what became of it. Pure."""

from collections.abc import Iterable

from agentspan.core import events as e
from agentspan.core.advance import Tree
from agentspan.core.states import Kind, Purpose
from agentspan.spec.agent import AgentSpec

UNREAD_LIMIT = 1000
"""How many messages may wait for one execution."""


def hearers(spec: AgentSpec, tree: Tree, execution: int) -> list[int]:
    """Who hears a message to an execution: itself if it thinks, else who speaks for it now, itself again if nobody
    does: then the next one who speaks hears it. `spec` is the root's."""
    run = tree.runs[execution]
    agents = [task for task, order in run.tasks.items() if order.kind is Kind.AGENT and order.purpose is Purpose.SPEAK]
    speaking = [task for task in agents if task in tree.runs and not tree.runs[task].ended]
    if spec.at(run.path).thinks and not speaking:
        return [execution]
    return [each for task in speaking for each in hearers(spec, tree, task)] or [execution]


def sent(hearing: Iterable[int], first: int, message: e.Json, sender: str) -> list[tuple[int, e.AnyFact]]:
    """The facts of a message to several; the first of them will be event `first`."""
    return [
        (execution, e.MessageReceived(message, sender, first if place else 0))
        for place, execution in enumerate(hearing)
    ]


def seen(events: Iterable[e.Event], message: int) -> tuple[int, int] | None:
    """In which turn a message was first seen, and when; None if nobody has seen it. `events` are the tree's from the
    message on."""
    copies: dict[int, list[int]] = {}
    for event in events:
        mine = copies.get(event.execution, [])
        match event.fact:
            case e.MessageReceived(of=of) if message in (event.seq, of):
                copies.setdefault(event.execution, []).append(event.seq)
            case e.TaskScheduled(purpose=Purpose.THINK, turn=turn, seen=upto) if any(copy <= upto for copy in mine):
                return turn, event.at
            case e.MessagesTaken(turn=turn, messages=taken) if set(taken) & set(mine):
                return turn, event.at
            case e.ExecutionStarted(parent=parent, heard=heard) if _heard(copies.get(parent, []), event, heard):
                return 1, event.at
    return None


def _heard(copies: list[int], event: e.Event, heard: int) -> bool:
    return event.execution != 0 and any(copy <= heard for copy in copies)
