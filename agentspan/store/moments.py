"""A tree as it stood right after one of its events: its runs folded up to there, and what its tasks were about then."""

from functools import cached_property
from typing import Any

from msgspec import Struct
from sqlalchemy.engine import Connection

from agentspan.core import events as e
from agentspan.core import timeline
from agentspan.core.advance import ROOT
from agentspan.core.ids import execution_id, split_execution, task_id
from agentspan.core.material import Material
from agentspan.core.run import Run, evolve
from agentspan.core.states import Kind
from agentspan.core.steps import step
from agentspan.errors import BadInput, NotFound
from agentspan.spec import mask
from agentspan.store.reads import Reads, Scene
from agentspan.store.scroll import Scroll

Json = dict[str, Any]


class Past:
    """The tree of `scene` as it stood right after event `seq`. `scroll` is its log, if that is at hand."""

    def __init__(
        self, reads: Reads, connection: Connection, scene: Scene, seq: int, scroll: Scroll | None = None
    ) -> None:
        self.seq, self.root, self.hidden = seq, scene.root, scene.hidden
        self.scroll = Scroll(connection, scene.meta.tree, seq) if scroll is None else scroll
        self._runs: dict[int, Run] = {}
        self._history = lambda given: reads.history(connection, given)

    @cached_property
    def event(self) -> e.Event:
        """The event itself."""
        return self.scroll[self.seq - 1]

    def run(self, execution: int) -> Run:
        """The state of an execution then."""
        if execution not in self._runs:
            run = Run(id=execution)
            for event in self.events(execution):
                run = evolve(run, event)
            self._runs[execution] = run
        return self._runs[execution]

    def events(self, execution: int) -> list[e.Event]:
        """What had happened in one execution."""
        return self.scroll.of(execution, self.seq)

    @cached_property
    def material(self) -> Material:
        """What the tasks of the tree were about."""
        return Material(self.root, self.scroll.log, self.run, self.events, self._history)

    def messages(self, execution: int) -> list[Json]:
        """The transcript of an agent that thinks; of a team, what its agents had said."""
        run = self.run(execution)
        spec = self.root.at(run.path)
        said = self.material.transcript(run).messages(spec) if spec.thinks else self.material.discussion(run)
        return [mask.masked(message, self.hidden) for message in said]

    @cached_property
    def ended(self) -> bool:
        """Had the whole run ended?"""
        return self.run(ROOT).ended


class Pending(Struct, frozen=True, rename="camel"):
    """A task that was open then."""

    task_id: str
    name: str
    kind: str
    purpose: str
    arguments: Json
    since: int


class Moment(Struct, frozen=True, rename="camel", kw_only=True):
    """A run right after an event. `messages` and `state` are those of the agent that the event is about, the rest is
    the whole run's. `edits`: what a fork here can change of the event."""

    seq: int
    at: int
    kind: str
    summary: str
    agent: str
    path: list[str]
    execution_id: str
    turn: int
    status: str
    state: Json
    messages: list[Json]
    pending: list[Pending]
    prompt_tokens: int
    completion_tokens: int
    cost: float
    cost_unknown: bool
    elapsed_ms: int
    forkable: bool
    edits: list[str]


def moment(reads: Reads, connection: Connection, name: str, seq: int) -> Moment:
    """The run as it stood right after an event. BadInput if there is no such event, or if it is another run's."""
    tree, number = split_execution(name)
    if number:
        raise BadInput(f"{name} is a part of the run {tree}; name that one: its log has the events of all its agents")
    scene = reads.scene(connection, tree)
    if not 1 <= seq <= scene.seq:
        raise BadInput(f"run {tree} has the events 1 to {scene.seq}, not {seq}")
    past = Past(reads, connection, scene, seq)
    event, run = past.event, past.run(past.event.execution)
    line = step(past.root, past.scroll, event, run, past.scroll.log, past.hidden, ended=past.ended)
    orders, spent = _so_far(past)
    return Moment(
        seq=seq, at=event.at, kind=line.kind, summary=line.summary, agent=line.agent, path=line.path,
        execution_id=execution_id(tree, event.execution), turn=line.turn, status=str(past.run(ROOT).status),
        state=mask.masked(run.state, past.hidden), messages=past.messages(event.execution),
        pending=[_pending(tree, past, each) for each in orders], elapsed_ms=event.at - past.run(ROOT).since,
        forkable=line.forkable, edits=line.edits, **spent,
    )  # fmt: skip


def _so_far(past: Past) -> tuple[list[e.Event], Json]:
    """The events that scheduled the tasks that were open then, and what the answers of models had taken by then."""
    orders: dict[int, e.Event] = {}
    open_: dict[int, e.Event] = {}
    answers: dict[int, e.TaskScheduled] = {}
    for event in past.scroll.sketches(past.scroll.fresh):
        match event.fact:
            case e.TaskScheduled():
                orders[event.seq] = open_[event.seq] = event
            case e.ExecutionRetried() if event.execution in orders:
                open_[event.execution] = orders[event.execution]
            case e.TaskCompleted() | e.TaskFailed() | e.TaskTimedOut() | e.TaskCanceled() | e.MessagesTaken() as fact:
                order = open_.pop(fact.task, None)
                asked = order.fact if order else None
                if isinstance(fact, e.TaskCompleted) and isinstance(asked, e.TaskScheduled) and asked.kind is Kind.LLM:
                    answers[event.seq] = asked
    past.scroll.log.have(answers)
    outputs = [timeline.answer(order, past.scroll.log.get(seq)) for seq, order in answers.items()]
    return list(open_.values()), timeline.spent(each for each in outputs if each and "overflow" not in each)


def _pending(tree: str, past: Past, event: e.Event) -> Pending:
    order = event.fact
    assert isinstance(order, e.TaskScheduled)
    given = past.scroll.log.call(order.source, order.index) if order.source else {}
    return Pending(
        task_id(tree, event.seq), order.name, order.kind, order.purpose, mask.masked(given, past.hidden),
        event.at + order.delay_ms,
    )  # fmt: skip


def before(reads: Reads, connection: Connection, scene: Scene, number: int, scroll: Scroll) -> "Past":
    """The tree as it stood when task `number` was scheduled. What a fork shares with another run and what was done
    there is as it was there."""
    source, at = scene.meta.forked_from, scene.meta.forked_at
    if source and number <= at and _was_settled(scroll, number, at):
        try:
            other = reads.scene(connection, source)
        except NotFound:  # the run that it was forked from is gone, or was never here
            return Past(reads, connection, scene, number, scroll)
        return before(reads, connection, other, number, Scroll(connection, source, other.seq))
    return Past(reads, connection, scene, number, scroll)


def _was_settled(scroll: Scroll, number: int, at: int) -> bool:
    after = scroll.sketches(range(number + 1, at + 1))
    return any(getattr(event.fact, "task", 0) == number for event in after)
