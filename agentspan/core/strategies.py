"""Who speaks next in a team: one cell per strategy.

A pipeline and a fan-out know it from the start. The others are discussions: someone is chosen, speaks, and then it is
asked again, until there is nobody left to ask or the team's own rules end it.
"""

from collections.abc import Callable

from msgspec.structs import replace

from agentspan.core.call import WIDTH
from agentspan.core.ending import conclude, stops, synthesis
from agentspan.core.events import (
    NOBODY,
    SELF,
    Branch,
    ExecutionFailed,
    ExecutionStarted,
    Fact,
    Result,
    SpeakerChosen,
    TaskScheduled,
)
from agentspan.core.log import Log
from agentspan.core.retry import chance
from agentspan.core.run import Fault, Run
from agentspan.core.stage import check, stage
from agentspan.core.states import Kind, Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import CHECK_RETRY, MODEL_RETRY
from agentspan.spec.rules import DONE, chosen, mentioned, shut

Strategy = Callable[[AgentSpec, Run, Log, str], list[Fact]]
ANSWER_CHARS = 200


def team(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """What follows for an agent that is a team."""
    return STRATEGIES[spec.strategy](spec, run, log, seed)


# A pipeline and a fan-out


def sequential(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """Each agent in turn, with the prompt and what the one before it said, until a gate shuts."""
    if run.tasks:
        return []
    if faults := _faults(run):
        return [ExecutionFailed(_reason(faults))]
    done = len(run.branches)
    last = run.branches.get(done - 1, Branch(""))
    if run.answer:
        return conclude(spec, run, log, seed, run.finish, Result((run.answer,)))
    if run.stopping:
        return conclude(spec, run, log, seed, "stopped", last.result, may_retry=False)
    gated = _gate(spec.agents[done - 1], run, log, seed, done, last.result) if done else False
    if isinstance(gated, list):
        return gated
    if gated or done == len(spec.agents):
        return conclude(spec, run, log, seed, run.finish or "stop", last.result)
    return [_speak(spec, done)]


def _gate(agent: AgentSpec, run: Run, log: Log, seed: str, done: int, said: Result) -> bool | list[Fact]:
    """Does the gate of the agent that spoke end the pipeline? A function that fails lets it go on."""
    if not agent.gate:
        return False
    if not agent.gate.get("taskName"):
        return shut(agent.gate, log.text(said))
    slot = f"gate.{done}"
    follow = check(run, str(agent.gate["taskName"]), slot, seed, said)
    if follow is not None:
        return follow
    output = log.get(run.marks.get(slot, 0)) or {}
    return str(output.get("decision", output.get("result", "continue"))).lower() == "stop"


def parallel(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """All agents at once, on the same prompt. One that fails is reported beside the results of the others."""
    if run.answer:
        return conclude(spec, run, log, seed, run.finish, Result((run.answer,)))
    failed = {fault.order.index: fault for fault in _faults(run)}
    if failed and spec.fail_fast:
        return [ExecutionFailed(_reason(list(failed.values())), result=so_far(spec, run))]
    open_ = {task.index for task in run.tasks.values() if task.purpose is Purpose.SPEAK}
    begun = open_ | failed.keys() | run.branches.keys()
    waiting = [] if run.stopping else [i for i in range(len(spec.agents)) if i not in begun]
    if waiting or run.tasks:
        return [_speak(spec, i) for i in waiting[: max(0, (spec.width or WIDTH) - len(open_))]]
    if failed and not run.branches:
        return [ExecutionFailed(_reason(list(failed.values())))]
    branches = tuple(
        run.branches.get(i) or Branch(agent.name, error=failed[i].error if i in failed else "stopped")
        for i, agent in enumerate(spec.agents)
    )
    finish = "stopped" if run.stopping else "stop"
    return conclude(spec, run, log, seed, finish, Result(branches=branches), may_retry=not run.stopping)


# Discussions


def discussion(choose: Strategy) -> Strategy:
    """A team in which one speaks at a time, whom `choose` names by a SpeakerChosen."""

    def strategy(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
        if run.tasks:
            return []
        if faults := _faults(run):
            return [ExecutionFailed(_reason(faults), result=so_far(spec, run))]
        if run.answer:
            return conclude(spec, run, log, seed, run.finish, Result((run.answer,)))
        if run.stopping:
            return conclude(spec, run, log, seed, "stopped", so_far(spec, run), may_retry=False)
        if run.choice == NOBODY:
            return _closing(spec, run, log, seed)
        if run.choice is not None:
            return [_speak(spec, run.choice, run.spoken)]
        if run.spoken:
            ends = stops(spec, run, log, seed, so_far(spec, run))
            if isinstance(ends, list):
                return ends
            if ends is not None:
                return conclude(spec, run, log, seed, "stop", so_far(spec, run))
        if run.spoken >= spec.max_turns:
            return conclude(spec, run, log, seed, "max_turns", so_far(spec, run), may_retry=False)
        return choose(spec, run, log, seed)

    return strategy


def _closing(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """The end of a discussion: one speaker's words stand as they are, those of several are put together."""
    alone = len(run.branches) == 1
    if alone or spec.strategy != "handoff" or not spec.model or (run.branches and spec.synthesize is False):
        finish = "stop" if run.finish == "transfer" else run.finish or "stop"
        return conclude(spec, run, log, seed, finish, so_far(spec, run))
    follow = synthesis(spec, run, seed)
    return [ExecutionFailed(run.faults["synthesis"].error, result=so_far(spec, run))] if follow is None else follow


def handoff(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """The agent's model says who is next, until it says that the work is done."""
    turn = run.spoken + 1
    order = TaskScheduled(Kind.LLM, Purpose.CHOOSE, spec.model, "", turn=turn, retry=MODEL_RETRY, seen=run.seq)
    return _asked(spec, run, log, seed, order, [*allowed(spec, run), DONE])


def router(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """An agent or a function of the user's says once who is to answer."""
    if run.spoken:
        return [SpeakerChosen(NOBODY, by="router")]
    given = spec.router or {}
    if given.get("taskName"):
        kind, name, policy = Kind.WORKER, str(given["taskName"]), CHECK_RETRY
    else:
        kind, name, policy = Kind.AGENT, str(given.get("name") or "router"), MODEL_RETRY
    order = TaskScheduled(kind, Purpose.CHOOSE, name, "", turn=1, retry=policy)
    return _asked(spec, run, log, seed, order, allowed(spec, run))


def _asked(spec: AgentSpec, run: Run, log: Log, seed: str, order: TaskScheduled, names: list[str]) -> list[Fact]:
    """Ask who is next; a model whose answer names nobody is asked once more, then its answer ends the run."""
    said = ""
    slots = (f"choose.{run.spoken}", f"choose.{run.spoken}.again")[: 1 if order.kind is Kind.WORKER else 2]
    for slot in slots:
        follow = stage(run, replace(order, slot=slot), seed)
        if follow is not None:
            return follow
        if fault := run.faults.get(slot):
            problem = f"{spec.name} could not choose who is next: {fault.error}"
            return [ExecutionFailed(problem, result=so_far(spec, run))]
        said = choice_text(log.get(run.marks[slot]) or {})
        if name := chosen(said, names):
            return [SpeakerChosen(NOBODY, by=order.name)] if name == DONE else [_chosen(spec, name, order.name)]
    return [
        ExecutionFailed(
            f"{spec.name} asked {order.name} who is next; the answer {said[:ANSWER_CHARS]!r} names none of "
            f"{', '.join(names)}",
            result=so_far(spec, run),
        )
    ]


def choice_text(output: dict[str, object]) -> str:
    """The words of who was asked for a choice: a model, an agent, a function or a person."""
    calls = output.get("tool_calls")
    if isinstance(calls, list) and calls and isinstance(calls[0], dict):
        return str(calls[0].get("name"))
    keys = ("selected_agent", "selected", "agent", "content", "result", "message")
    return str(next((output[key] for key in keys if output.get(key) not in (None, "")), ""))


def round_robin(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """One after the other, from the first, over and over."""
    names = allowed(spec, run)
    order = [(run.last + 1 + step) % len(spec.agents) for step in range(len(spec.agents))] if run.spoken else [0]
    following = next((i for i in order if spec.agents[i].name in names), None)
    return [SpeakerChosen(NOBODY if following is None else following, by="rotation")]


def random(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """Anybody; the same run draws the same."""
    names = allowed(spec, run)
    if not names:
        return [SpeakerChosen(NOBODY, by="chance")]
    return [_chosen(spec, names[chance(f"{seed}:{run.spoken}", len(names))], "chance")]


def manual(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """A person says who is next, or that it is over."""
    names = allowed(spec, run)
    slot = f"choose.{run.spoken}"
    follow = stage(run, TaskScheduled(Kind.HUMAN, Purpose.CHOOSE, spec.name, slot, turn=run.spoken + 1), seed)
    if follow is not None:
        return follow
    if fault := run.faults.get(slot):
        return [ExecutionFailed(f"nobody chose who is next: {fault.error}", result=so_far(spec, run))]
    said = log.get(run.marks[slot]) or {}
    by = f"{spec.name}: a person"
    name = selected(spec, said, names)
    if name is None:
        return [ExecutionFailed(f"the choice {said!r} names none of {', '.join(names)}", result=so_far(spec, run))]
    return [SpeakerChosen(NOBODY, by=by) if name == DONE else _chosen(spec, name, by)]


def selected(spec: AgentSpec, answer: dict[str, object], names: list[str]) -> str | None:
    """The agent, or DONE, that a person's answer chooses: by name or by its place among the agents."""
    value = answer.get("selected", answer.get("agent", answer.get("result")))
    if answer.get("done") is True or answer.get("approved") is False:
        return DONE
    if isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit()):
        place = int(value)
        name = spec.agents[place].name if 0 <= place < len(spec.agents) else ""
        return name if name in names else None
    return chosen(str(value or ""), [*names, DONE])


def swarm(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact]:
    """Its members hand over to each other, the team's own agent first, until one answers and nobody takes over."""
    if not run.spoken:
        index, name = (SELF, spec.name) if spec.model else (0, spec.agents[0].name)
        return [SpeakerChosen(index, name, "start")]
    names = _members(spec)
    allowed = _reachable(spec, run)
    if run.transfer in allowed:
        return [SpeakerChosen(names[run.transfer], run.transfer, "transfer")]
    said = log.text(so_far(spec, run))
    target = mentioned((c for c in spec.handoffs if c.get("target") in allowed), said)
    if target:
        return [SpeakerChosen(names[target], target, "on_text_mention")]
    if not any(each.get("type") == "on_condition" for each in spec.handoffs):
        return [SpeakerChosen(NOBODY)]
    slot = f"choose.{run.spoken}"
    order = TaskScheduled(
        Kind.WORKER, Purpose.CHOOSE, f"{spec.name}_handoff_check", slot, turn=run.spoken, about=so_far(spec, run),
        retry=CHECK_RETRY, seen=run.seq,
    )  # fmt: skip
    follow = stage(run, order, seed)
    if follow is not None:
        return follow
    output = log.get(run.marks.get(slot, 0)) or {}
    target = _numbered(spec, output.get("active_agent"))
    taken = output.get("handoff") is True and target in allowed
    return [SpeakerChosen(names[target], target, "on_condition") if taken else SpeakerChosen(NOBODY)]


def _members(spec: AgentSpec) -> dict[str, int]:
    own = {spec.name: SELF} if spec.model else {}
    return {**own, **{agent.name: place for place, agent in enumerate(spec.agents)}}


def _reachable(spec: AgentSpec, run: Run) -> list[str]:
    """The members to whom the last speaker may hand over."""
    last = spec.name if run.last == SELF else spec.agents[run.last].name
    allowed = (spec.allowed_transitions or {}).get(last)
    return [name for name in _members(spec) if name != last and (allowed is None or name in allowed)]


def _numbered(spec: AgentSpec, active: object) -> str:
    """A member by its name, or by the number that the wire gives it: 0 is the team's own agent."""
    text = str(active if active is not None else "")
    if text.isdigit():
        place = int(text) - 1
        return spec.name if place == SELF else spec.agents[place].name if place < len(spec.agents) else ""
    return text


# What they share


def allowed(spec: AgentSpec, run: Run) -> list[str]:
    """The agents that may speak after the last one."""
    names = [agent.name for agent in spec.agents]
    if not run.spoken or not spec.allowed_transitions or run.last < 0:
        return names
    allowed = spec.allowed_transitions.get(names[run.last])
    return names if allowed is None else [name for name in names if name in allowed]


def _chosen(spec: AgentSpec, name: str, by: str) -> SpeakerChosen:
    return SpeakerChosen(next(i for i, agent in enumerate(spec.agents) if agent.name == name), name, by)


def _speak(spec: AgentSpec, index: int, spoken: int = 0) -> TaskScheduled:
    name = spec.name if index == SELF else spec.agents[index].name
    return TaskScheduled(Kind.AGENT, Purpose.SPEAK, name, f"agent.{index}", turn=spoken)


def _faults(run: Run) -> list[Fault]:
    return [fault for slot, fault in run.faults.items() if slot.startswith("agent.")]


def _reason(faults: list[Fault]) -> str:
    return "; ".join(f"{fault.order.name}: {fault.error}" for fault in faults)


def so_far(spec: AgentSpec, run: Run) -> Result:
    """What a team has to show: the last speaker's words, or the branches of a fan-out."""
    if spec.strategy == "parallel" and run.branches:
        return Result(branches=tuple(run.branches[i] for i in sorted(run.branches)))
    if spec.strategy == "sequential" and run.branches:
        return run.branches[max(run.branches)].result
    return run.branches[run.last].result if run.last in run.branches else Result()


def beginning(spec: AgentSpec, run: Run, task: int, order: TaskScheduled) -> ExecutionStarted:
    """The start of the sub-agent that a task stands for. `spec` is the team's."""
    path = (*run.path, _step(spec, order))
    if order.purpose is Purpose.ACT:
        return ExecutionStarted(path=path, parent=run.id, source=order.source, index=order.index, signal=run.signal)
    given = {"context": run.state} if run.state else None
    line = (run.asked, -1) if run.asked else (run.source, run.index) if run.source else run.line
    if spec.at((path[-1],)).include_contents == "none":
        return ExecutionStarted(given, path=path, parent=run.id, alone=True, signal=run.signal, line=line)
    before = run.branches.get(order.index - 1) if spec.strategy == "sequential" else None
    after = (*run.after, before.result) if before else run.after
    if order.slot.endswith(".again"):
        after = (*after, Result((run.marks[order.slot.removesuffix(".again")],)))
    listens = spec.strategy not in ("sequential", "parallel") or run.extra > 0 or bool(run.unread)
    said = run.spoken or run.extra or spec.hybrid or any(agent.introduction for agent in spec.agents) or run.unread
    return ExecutionStarted(
        given, path=path, parent=run.id, after=after, heard=task if listens and said else 0,
        reply=so_far(spec, run) if listens else Result(), signal=run.signal, line=line,
    )  # fmt: skip


def _step(spec: AgentSpec, order: TaskScheduled) -> int | str:
    """The way from an agent to the one that its task stands for."""
    match order.purpose:
        case Purpose.CHOOSE:
            return "router"
        case Purpose.BRIEF:
            return "planner"
        case Purpose.ACT:
            return f"tool:{order.name}"
        case _ if spec.thinks and not spec.hybrid:
            return "fallback"
        case _:
            return "self" if order.index == SELF else order.index


STRATEGIES: dict[str, Strategy] = {
    "sequential": sequential,
    "parallel": parallel,
    "handoff": discussion(handoff),
    "router": discussion(router),
    "round_robin": discussion(round_robin),
    "random": discussion(random),
    "swarm": discussion(swarm),
    "manual": discussion(manual),
}
