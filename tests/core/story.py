"""Given a spec and what happened, what follows: a small language for the core's tests."""

from collections.abc import Sequence
from typing import Any, TypeVar

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.run import Run
from agentspan.core.states import Purpose, Status
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec

F = TypeVar("F", bound=e.Fact)
TOOLS = (ToolSpec("look"), ToolSpec("pay", approval_required=True))


def lone(**changes: Any) -> AgentSpec:
    """An agent with a free tool and one that needs approval."""
    return AgentSpec(**{"name": "lone", "model": "scripted/any", "tools": TOOLS, **changes})


def team(strategy: str, *names: str, **changes: Any) -> AgentSpec:
    members = tuple(AgentSpec(name=name, model="scripted/any") for name in names)
    return AgentSpec(**{"name": "team", "agents": members, "strategy": strategy, **changes})


class Story:
    def __init__(self, spec: AgentSpec, prompt: str = "go", tree: str = "T", **given: Any) -> None:
        self.spec = spec
        self.prompt = prompt
        self.now = 1_000
        self.tree = Tree(tree)
        self.log: list[e.Event] = []
        self.when(e.ExecutionStarted({"prompt": prompt, **given}))

    def when(self, *facts: e.AnyFact, execution: int = ROOT) -> list[e.AnyFact]:
        """These things happen; gives what follows from them."""
        happened = [(execution, fact) for fact in facts]
        self.tree, events = advance(self.spec, self.tree, happened, self.now, self.facts())
        self.log += events
        return [event.fact for event in events[len(facts) :]]

    def facts(self) -> Log:
        """The log as those who decide read it."""
        return Log(lambda seqs: {seq: self.log[seq - 1].fact for seq in seqs if seq <= len(self.log)})

    def think(self, content: str = "", *calls: str, execution: int = ROOT, **output: Any) -> list[e.AnyFact]:
        """The model answers: words, and calls of these tools."""
        asked = [{"name": name, "arguments": {"n": place}} for place, name in enumerate(calls)]
        answer = {"content": content, "tool_calls": asked, "finish_reason": "stop", "cost": None, **output}
        return self.when(e.TaskCompleted(self.task("think", execution), answer), execution=execution)

    def act(self, index: int = 0, result: Any = "ok", execution: int = ROOT) -> list[e.AnyFact]:
        """A tool's result."""
        return self.when(
            e.TaskCompleted(self.task(f"call.{index}", execution), {"result": result}), execution=execution
        )

    def decide(self, index: int = 0, **answer: Any) -> list[e.AnyFact]:
        """A person answers a request for approval."""
        return self.when(e.TaskCompleted(self.task(f"approve.{index}"), answer))

    def settle(self, slot: str, execution: int = ROOT, **output: Any) -> list[e.AnyFact]:
        """Whoever has the task of this slot reports this."""
        return self.when(e.TaskCompleted(self.task(slot, execution), output), execution=execution)

    def fail(self, slot: str, error: str = "broken", execution: int = ROOT, **changes: Any) -> list[e.AnyFact]:
        return self.when(e.TaskFailed(self.task(slot, execution), error, **changes), execution=execution)

    def task(self, slot: str, execution: int = ROOT) -> int:
        """The open attempt in that slot."""
        return next(number for number, order in self.run(execution).tasks.items() if order.slot == slot)

    def run(self, execution: int = ROOT) -> Run:
        return self.tree.runs[execution]

    def child(self, name: str) -> int:
        """The newest execution of the sub-agent of that name."""
        return max(n for n, run in self.tree.runs.items() if run.path and self.spec.at(run.path).name == name)

    def messages(self, execution: int = ROOT) -> list[dict[str, Any]]:
        """What a model of this execution would be sent now."""
        run = self.run(execution)
        return self.material().transcript(run).messages(self.spec.at(run.path))

    def material(self) -> Material:
        return Material(
            self.spec, self.facts(), self.run, lambda number: [x for x in self.log if x.execution == number]
        )

    def given(self, slot: str, execution: int = ROOT) -> dict[str, Any]:
        """The input of the open task of that slot."""
        run = self.run(execution)
        return self.material().given(run, run.tasks[self.task(slot, execution)])

    def text(self, execution: int = ROOT) -> str:
        """The text of an execution's result."""
        return self.facts().text(self.run(execution).result)

    @property
    def end(self) -> tuple[Status, str, str]:
        """Status, finish reason and text of the root, which has ended."""
        run = self.run()
        assert run.ended
        return run.status, run.finish_reason, self.text()

    @property
    def speakers(self) -> list[str]:
        """Who has been chosen to speak, in order."""
        return [
            x.fact.name for x in self.log if isinstance(x.fact, e.TaskScheduled) and x.fact.purpose is Purpose.SPEAK
        ]


def only(kind: type[F], facts: Sequence[e.AnyFact]) -> list[F]:
    """The facts of a kind."""
    return [fact for fact in facts if isinstance(fact, kind)]


def slots(facts: list[e.AnyFact]) -> list[str]:
    """The slots of the tasks that were scheduled."""
    return [fact.slot for fact in facts if isinstance(fact, e.TaskScheduled)]
