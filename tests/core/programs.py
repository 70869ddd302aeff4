"""Random programs for the laws: a tape of bytes decides the agent, what its workers report, and who interferes."""

from collections.abc import Iterator

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.log import Log
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose, Status
from agentspan.spec.agent import AgentSpec
from agentspan.spec.tool import ToolSpec

TOOLS = (
    ToolSpec("look", retry_count=1, retry_delay_seconds=1),
    ToolSpec("pay", approval_required=True, retry_count=2, retry_logic="exponential_backoff", retry_jitter_ms=50),
    ToolSpec("once", retry_count=0, timeout_seconds=5, start_timeout_seconds=5),
)
MOST_STEPS = 60


class Tape:
    """Choices read off bytes; at the end all choices are 0."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def below(self, n: int) -> int:
        return next(self._data, 0) % n


class Program:
    """One execution of a random agent under random interference, and everything that was ever scheduled in it."""

    def __init__(self, data: bytes) -> None:
        self.tape = Tape(data)
        self.spec = agent(self.tape, 0)
        self.now = 1_000
        self.log: list[e.Event] = []
        self.trees: list[Tree] = []
        self.tree = Tree("T")
        self.ever: list[tuple[int, int]] = []
        self.commit([(ROOT, e.ExecutionStarted({"prompt": "go", "context": {"n": 1}}))])

    def commit(self, facts: list[tuple[int, e.AnyFact]]) -> list[e.Event]:
        self.now += self.tape.below(3)
        log = Log(lambda seqs: {seq: self.log[seq - 1].fact for seq in seqs if seq <= len(self.log)})
        self.tree, events = advance(self.spec, self.tree, facts, self.now, log)
        self.log += events
        self.trees.append(self.tree)
        self.ever += [(each.execution, each.seq) for each in events if isinstance(each.fact, e.TaskScheduled)]
        return events

    def run(self) -> "Program":
        for _ in range(MOST_STEPS):
            if self.tree.runs[ROOT].ended:
                break
            self.step()
        self.settle()
        return self

    def step(self) -> None:
        match self.tape.below(16):
            case 0:
                self.commit(
                    [(n, e.ExecutionPaused()) for n in self.tree.below(ROOT) if self.status(n) is Status.RUNNING]
                )
            case 1 | 2:
                self.resume()
            case 3:
                self.repeat()
            case 4:
                self.commit(
                    [(n, e.SignalReceived("hurry")) for n in self.tree.below(ROOT) if not self.tree.runs[n].ended]
                )
            case 5 if self.tape.below(4) == 0:
                self.commit([(n, e.StopRequested()) for n in self.tree.below(ROOT) if not self.tree.runs[n].ended])
            case 6 if self.tape.below(4) == 0:
                self.commit([(self.any_living(), e.ExecutionTerminated("enough"))])
            case 7 if self.tape.below(4) == 0:
                self.commit([(self.any_living(), e.ExecutionTimedOut("too long"))])
            case _:
                self.report()

    def status(self, number: int) -> Status:
        return self.tree.runs[number].status

    def any_living(self) -> int:
        living = [n for n, run in self.tree.runs.items() if not run.ended]
        return living[self.tape.below(len(living))]

    def resume(self) -> None:
        if facts := [(n, e.ExecutionResumed()) for n in self.tree.runs if self.status(n) is Status.PAUSED]:
            self.commit(list(facts))

    def open_tasks(self) -> list[tuple[Run, int, e.TaskScheduled]]:
        """Tasks that somebody other than a sub-agent must settle."""
        return [
            (run, number, order)
            for run in self.tree.runs.values()
            for number, order in run.tasks.items()
            if order.kind is not Kind.AGENT
        ]

    def report(self) -> None:
        """Some open task is settled, in any order."""
        if tasks := self.open_tasks():
            run, number, order = tasks[self.tape.below(len(tasks))]
            self.commit([(run.id, self.outcome(number, order))])

    def repeat(self) -> None:
        """A second, late or misdirected report of something that was scheduled at any time."""
        execution, number = self.ever[self.tape.below(len(self.ever))]
        order = self.log[number - 1].fact
        assert isinstance(order, e.TaskScheduled)
        if execution in self.tree.runs and order.kind is not Kind.AGENT:
            self.commit([(execution, self.outcome(number, order))])

    def outcome(self, number: int, order: e.TaskScheduled) -> e.AnyFact:
        match self.tape.below(8):
            case 0:
                return e.TaskFailed(number, "broken", retry_after_ms=10 * self.tape.below(3))
            case 1:
                return e.TaskFailed(number, "hopeless", terminal=True)
            case 2:
                return e.TaskTimedOut(number, ("start", "attempt", "lease", "server")[self.tape.below(4)])
        match order.purpose:
            case Purpose.THINK:
                return e.TaskCompleted(number, self.answer())
            case Purpose.APPROVE:
                edits = {"arguments": {"edited": True}} if self.tape.below(2) else {}
                return e.TaskCompleted(number, {"approved": bool(self.tape.below(3)), "reason": "no", **edits})
            case _:
                return e.TaskCompleted(number, {"result": number, "_state_updates": {"last": number}})

    def answer(self) -> e.Json:
        names = ("look", "pay", "once", "nothing")
        calls = [
            {
                "name": names[self.tape.below(4)],
                **({"raw": "{"} if self.tape.below(6) == 5 else {"arguments": {"i": i}}),
            }
            for i in range((0, 0, 1, 1, 2, 3)[self.tape.below(6)])
        ]
        finish = "length" if self.tape.below(8) == 7 else "stop"
        return {
            "content": "well" if self.tape.below(3) else "",
            "tool_calls": calls,
            "finish_reason": finish,
            "cost": None,
        }

    def settle(self) -> None:
        """Let everything end well: resume, then complete whatever is open."""
        for _ in range(400):
            self.resume()
            tasks = self.open_tasks()
            if not tasks:
                return
            run, number, _ = tasks[0]
            output = {"content": "done", "finish_reason": "stop", "approved": True, "result": 1, "cost": 0.0}
            self.commit([(run.id, e.TaskCompleted(number, output))])

    def prefixes(self) -> Iterator[list[e.Event]]:
        for n in range(1, len(self.log) + 1):
            yield self.log[:n]


def agent(tape: Tape, depth: int) -> AgentSpec:
    """A lone agent, or a team of two or three, nested three deep at most."""
    name = f"a{depth}_{tape.below(250)}"
    if depth < 3 and tape.below(4) == 3:
        members = tuple(
            AgentSpec(name=f"{name}_{i}", model=each.model, tools=each.tools, agents=each.agents,
                      strategy=each.strategy, max_turns=each.max_turns)
            for i in range(2 + tape.below(2))
            for each in [agent(tape, depth + 1)]
        )  # fmt: skip
        return AgentSpec(name=name, agents=members, strategy=("sequential", "parallel")[tape.below(2)])
    return AgentSpec(name=name, model="scripted/any", tools=TOOLS, max_turns=1 + tape.below(4))
