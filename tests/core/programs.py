"""Random programs for the laws: a tape of bytes decides the agent, what its workers report, and who interferes."""

from collections.abc import Callable
from typing import Any

import msgspec

from agentspan.core import events as e
from agentspan.core.advance import ROOT, Tree, advance
from agentspan.core.asking import question
from agentspan.core.fork import fold
from agentspan.core.log import Log
from agentspan.core.material import Material
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose, Status
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import Budget
from tests.core.agents import Maker, Tape

Json = dict[str, Any]
MOST_STEPS = 60
LONGEST_END = 600


class Program:
    """One execution of a random agent under random interference, and everything that was ever scheduled in it.

    As in the store, an execution that has ended is forgotten unless it is the root.
    """

    def __init__(self, data: bytes) -> None:
        self.tape = Tape(data)
        maker = Maker(self.tape)
        spec = maker.agent()
        self.begin(spec, maker.budget())

    def begin(self, spec: AgentSpec, budget: Budget | None = None) -> None:
        """Start from nothing."""
        self.spec = spec
        self.now = 1_000
        self.take(Tree("T"), [])
        self.ever: list[tuple[int, int]] = []
        limits = {"budget": msgspec.to_builtins(budget)} if budget else {}
        self.commit([(ROOT, e.ExecutionStarted({"prompt": "go", "context": {"n": 1}, **limits}))])

    def take(self, tree: Tree, log: list[e.Event]) -> None:
        """Go on from a state that came about elsewhere."""
        self.tree, self.log = tree, list(log)
        self.trees: list[Tree] = []

    def commit(self, facts: list[tuple[int, e.AnyFact]]) -> list[e.Event]:
        self.now += self.tape.below(3)
        self.tree, events = advance(self.spec, self.tree, facts, self.now, self.facts())
        self.log += events
        self.trees.append(self.tree)
        self.ever += [(each.execution, each.seq) for each in events if isinstance(each.fact, e.TaskScheduled)]
        living = {number: run for number, run in self.tree.runs.items() if number == ROOT or not run.ended}
        self.tree = Tree("T", self.tree.seq, living)
        return events

    def facts(self) -> Log:
        return Log(lambda seqs: {seq: self.log[seq - 1].fact for seq in seqs if seq <= len(self.log)})

    def material(self, upto: int = 0) -> Material:
        """What tasks are about, as far as the log goes, or went at an event."""
        log = self.log[: upto or len(self.log)]
        whole = fold("T", log).runs
        return Material(self.spec, self.facts(), whole.__getitem__, lambda n: [x for x in log if x.execution == n])

    def shown(self, seq: int, execution: int, order: e.TaskScheduled) -> list[Json] | None:
        """What whoever performs a task is shown, put together as at event `seq`: the messages for a model."""
        material = self.material(seq)
        run = material.run_of(execution)
        spec = self.spec.at(run.path)
        if order.kind is Kind.LLM and order.purpose is not Purpose.THINK:
            return question(material, spec, run, order).messages
        material.given(run, order)
        return material.transcript(run).messages(spec) if order.kind is Kind.LLM else None

    def run(self) -> "Program":
        for _ in range(MOST_STEPS):
            if not self.tree.runs[ROOT].ended:
                self.step()
            elif not self.retried():
                break
        self.settle()
        return self

    def step(self) -> None:
        match self.tape.below(24):
            case 23:
                self.commit([(n, e.ExecutionPaused()) for n in self.living() if self.status(n) is Status.RUNNING])
            case 22 | 21:
                self.resume()
            case 20:
                self.repeat()
            case 19:
                self.commit([(n, e.SignalReceived(self.tape.pick(("hurry", "")))) for n in self.living()])
            case 18 if self.tape.odds(4):
                at = self.any_living()
                self.commit([(n, e.StopRequested()) for n in self.tree.below(at)])
            case 17 if self.tape.odds(12):
                self.commit([(self.any_living(), e.ExecutionTerminated("enough"))])
            case 16 if self.tape.odds(12):
                self.commit([(self.any_living(), e.ExecutionTimedOut("too long"))])
            case 15 | 14:
                self.commit([(self.any_living(), e.MessageReceived({"message": "one more thing"}, "ann"))])
            case _:
                self.report()

    def living(self) -> list[int]:
        return [n for n, run in self.tree.runs.items() if not run.ended]

    def retried(self) -> bool:
        """An ended execution is retried sometimes, with a greater budget if it had used its own up."""
        if self.status(ROOT) is Status.COMPLETED or not self.tape.odds(3):
            return False
        self.retry()
        return True

    def retry(self) -> None:
        if self.tree.runs[ROOT].finish_reason == "budget":
            self.commit([(ROOT, e.BudgetChanged(Budget()))])
        self.tree = fold("T", self.log)
        self.commit([(ROOT, e.ExecutionRetried())])

    def status(self, number: int) -> Status:
        return self.tree.runs[number].status

    def any_living(self) -> int:
        return self.tape.pick(self.living())

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
            run, number, order = self.tape.pick(tasks)
            self.commit([(run.id, self.outcome(run, number, order))])

    def repeat(self) -> None:
        """A second, late or misdirected report of something that was scheduled at any time."""
        execution, number = self.tape.pick(self.ever)
        order = self.log[number - 1].fact
        assert isinstance(order, e.TaskScheduled)
        if execution in self.tree.runs and order.kind is not Kind.AGENT:
            self.commit([(execution, self.outcome(self.tree.runs[execution], number, order))])

    def outcome(self, run: Run, number: int, order: e.TaskScheduled) -> e.AnyFact:
        tape = self.tape
        match tape.below(32):
            case 31:
                return e.TaskFailed(number, "hopeless", terminal=True, cause=tape.pick(("", "timeout", "length")))
            case 30 | 29:
                return e.TaskFailed(number, "broken", retry_after_ms=10 * tape.below(3))
            case 28 | 27:
                limits = ("deadline",) if order.kind is Kind.HUMAN else ("lease", "server", "attempt", "start")
                return e.TaskTimedOut(number, tape.pick(limits))
            case 26:
                return e.TaskCompleted(number, oddity(tape))
        answer = ANSWERS.get((order.purpose, order.kind)) or ANSWERS[order.purpose]
        return e.TaskCompleted(number, answer(tape, self.spec.at(run.path), number))

    def settle(self) -> None:
        """Let everything end well: resume, then complete whatever is open."""
        for _ in range(LONGEST_END):
            self.resume()
            tasks = self.open_tasks()
            if not tasks:
                return
            run, number, order = tasks[0]
            output = {**GOOD, **(GOOD_CHOICE if order.purpose is Purpose.CHOOSE else {})}
            self.commit([(run.id, e.TaskCompleted(number, output))])


def _think(tape: Tape, spec: AgentSpec, number: int) -> Json:
    """A model's answer: right, cut short, refused, empty, too long, or with calls of tools that there are or not."""
    if tape.odds(16):
        return {"overflow": "the context is too long"}
    names = [*(tool.name for tool in spec.own_tools), "nothing"]
    calls = [
        {"name": tape.pick(names), **({"raw": "{"} if tape.odds(8) else {"arguments": {"i": i}})}
        for i in range(tape.pick((0, 1, 1, 2, 3)))
    ]
    return {
        "content": tape.pick((*WORDS, *(a.name for a in spec.agents), *(PLANS if "_planner" in spec.name else ()))),
        "tool_calls": calls,
        "finish_reason": tape.pick(("stop", "stop", "stop", "length", "content_filter", "tool_calls")),
        "usage": {"prompt_tokens": 5 * tape.below(3), "completion_tokens": tape.below(9)},
        "cost": tape.pick((None, 0.1)),
    }


def _person(tape: Tape, spec: AgentSpec, number: int) -> Json:
    return {"content": tape.pick(("my words", "TERMINATE")), "finish_reason": "stop", "cost": 0.0}


def _act(tape: Tape, spec: AgentSpec, number: int) -> Json:
    state: Json = tape.pick(({}, {"_state_updates": {"last": number}}, {"_state_deletions": ["n", "last"]}))
    return {"result": tape.pick(("well", number, None, "ok", [1], {"a": {"b": 1}})), **state}


def _approve(tape: Tape, spec: AgentSpec, number: int) -> Json:
    edits = {"arguments": {"edited": True}} if tape.odds(3) else {}
    return {"approved": bool(tape.below(3)), "reason": "no", **edits}


def _judge(tape: Tape, spec: AgentSpec, number: int) -> Json:
    """What may be said of a text, a call, a turn: a guardrail's, a gate's, a predicate's, a termination's words."""
    return tape.pick(JUDGEMENTS)


def _model_judge(tape: Tape, spec: AgentSpec, number: int) -> Json:
    said = tape.pick(('{"passed": true}', '```json\n{"passed": false, "reason": "rude"}\n```', "I think so", "[]", ""))
    return {"content": said, "finish_reason": "stop", "cost": 0.1, "usage": {"prompt_tokens": 4}}


def _review(tape: Tape, spec: AgentSpec, number: int) -> Json:
    yes = ({"approved": True}, {"approved": True, "edited_output": "edited"}, {"approved": True, "arguments": {"i": 5}})
    return tape.pick((*yes, {"approved": False, "reason": "no"}))


def _choose(tape: Tape, spec: AgentSpec, number: int) -> Json:
    name = tape.pick((*(agent.name for agent in spec.agents), spec.name, "DONE", "nobody at all", "0"))
    by_function: Json = {"active_agent": tape.pick(("0", "1", 2, name, None)), "handoff": bool(tape.below(2))}
    by_model: Json = {"content": tape.pick((name, f"I choose {name}.", f'{{"agent": "{name}"}}')), "cost": 0.1}
    return tape.pick(({"selected": name}, {"selected_agent": name}, by_model, by_function, {"result": name}))


def _hook(tape: Tape, spec: AgentSpec, number: int) -> Json:
    calls = [{"name": tape.pick(("look", "nothing")), "arguments": {}} for _ in range(tape.below(3))]
    return tape.pick(
        (
            {},
            {"prompt": "another prompt"},
            {"result": "by callback"},
            {"messages": [{"role": "user", "content": "hi"}]},
            {"args": {"i": 7}},
            {"tool_calls": calls},
            {"result": "by callback", "tool_calls": calls},
        )
    )


def _words(tape: Tape, spec: AgentSpec, number: int) -> Json:
    return {"content": tape.pick(("well", "")), "finish_reason": "stop", "result": "be brief", "cost": 0.1}


def oddity(tape: Tape) -> Json:
    """An output as no worker should send it: the right keys, with values of any JSON type."""
    keys = tape.some(KEYS, 3)
    return {key: tape.pick(VALUES) for key in keys}


Answer = Callable[[Tape, AgentSpec, int], Json]
ANSWERS: dict[Purpose | tuple[Purpose, Kind], Answer] = {
    Purpose.THINK: _think,
    (Purpose.THINK, Kind.HUMAN): _person,
    Purpose.ACT: _act,
    Purpose.WAIT: _act,
    Purpose.APPROVE: _approve,
    Purpose.JUDGE: _judge,
    (Purpose.JUDGE, Kind.LLM): _model_judge,
    (Purpose.JUDGE, Kind.HUMAN): _review,
    Purpose.CHOOSE: _choose,
    Purpose.HOOK: _hook,
    Purpose.BRIEF: _words,
    Purpose.CONDENSE: _words,
    Purpose.SPEAK: _words,
}
JUDGEMENTS: tuple[Json, ...] = (
    {"passed": True, "should_continue": True, "decision": "continue", "approve": False},
    {},
    {"passed": False, "message": "no", "should_continue": False, "reason": "enough", "decision": "stop"},
    {"passed": False, "fixed_output": "fixed", "on_fail": "fix", "approve": True},
    {"passed": False, "on_fail": "human"},
    {"result": False},
    {"result": True},
    {"result": None},
    {"tripwire_triggered": True, "output_info": "trip"},
)
GOOD: Json = {
    "content": '{"x": 1}', "finish_reason": "stop", "approved": True, "result": 1, "cost": 0.0,
}  # fmt: skip
GOOD_CHOICE: Json = {"content": "DONE", "selected": "DONE", "result": "DONE"}
WORDS = ("well", "", '{"x": 1}', "TERMINATE", "a table [1] ")
PLANS = ('{"steps": [{"ops": [{"tool": "look"}]}]}', '{"steps": [{"generate": "a poem"}]}') * 3
KEYS = (
    "content", "tool_calls", "finish_reason", "usage", "cost", "overflow", "result", "approved", "reason", "arguments",
    "args", "prompt", "messages", "passed", "message", "on_fail", "fixed_output", "should_continue", "decision",
    "selected", "selected_agent", "active_agent", "handoff", "approve", "tripwire_triggered", "edited_output", "tokens",
    "_state_updates", "_state_deletions", "transfer_to",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**18, "", "words", "{", [], [None], [1, "a"], [{}], [{"name": 1}], {}, {"a": 1},
    {"name": "look"}, [{"name": "look", "arguments": "i"}], [{"name": "look", "arguments": {}}], "fix", [["a"]],
    {"prompt_tokens": "many"}, {"prompt_tokens": None},
)  # fmt: skip
