"""Random programs of everything that the SDK offers, each drawn from a seed and its number alone: the same agent, with
the same functions and the same misbehaving models, in whichever process it is made.

python improv.py worker URL SEED NUMBER
"""

import asyncio
import random
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from agentspan.agents import (
    Agent,
    AgentRuntime,
    ApprovalPolicy,
    Budget,
    CallbackHandler,
    ConversationMemory,
    Guardrail,
    GuardrailResult,
    LLMGuardrail,
    MaxMessageTermination,
    OnCondition,
    OnTextMention,
    OnToolResult,
    PrefillToolCall,
    RegexGuardrail,
    StopMessageTermination,
    TerminalToolError,
    TerminationCondition,
    TerminationResult,
    TextMentionTermination,
    TokenUsageTermination,
    ToolContext,
    UserProxyAgent,
    agent_tool,
    human_tool,
    plan_execute,
    scatter_gather,
    tool,
    wait_for_message_tool,
)
from agentspan.agents.callback import POSITIONS
from agentspan.agents.gate import TextGate
from agentspan.agents.runtime import runtime

Json = dict[str, Any]
T = TypeVar("T")

DEPTH = 3
MOST_AGENTS = 7
LEASE_SECONDS = 4.0


class Program(NamedTuple):
    """A random agent, the scripts of its models, and whether people answer what it asks."""

    agent: Agent
    scripts: dict[str, list[Json]]
    answered: bool


def program(seed: int, number: int) -> Program:
    writer = Writer(random.Random(f"{seed}:{number}"), f"p{number}")
    return Program(writer.agent(), writer.scripts, number % 4 > 0)


class Writer:
    """Writes one program; `name` begins the names of all its agents and models."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self.chance, self.name = chance, name
        self.scripts: dict[str, list[Json]] = {}
        self.made = 0

    def odds(self, n: int) -> bool:
        """True once in n times."""
        return self.chance.randrange(n) == 0

    def pick(self, among: Sequence[T]) -> T:
        return self.chance.choice(among)

    def some(self, among: Sequence[T], n: int = 3) -> list[T]:
        """Each with a chance of one in n."""
        return [each for each in among if self.odds(n)]

    def fresh(self, base: str = "") -> str:
        self.made += 1
        return f"{self.name}_{self.made}{base}"

    def agent(self, depth: int = 0) -> Agent:
        if depth < DEPTH and self.made < MOST_AGENTS and self.chance.random() < (0.7 if not depth else 0.35):
            return self.pick(TEAMS)(self, depth)
        if self.odds(15):
            mode = self.pick(("ALWAYS", "TERMINATE", "NEVER"))
            return UserProxyAgent(self.fresh("-person"), mode, model="scripted/none")
        name, tools = self.fresh(), self.tools(depth)
        more = self.more(name, tools)
        return Agent(name, self.model(name, tools), tools=tools, max_turns=self.chance.randint(1, 5), **more)

    def team(self, strategy: str, depth: int, **given: Any) -> Agent:
        name = self.fresh()
        members = [self.agent(depth + 1) for _ in range(self.chance.randint(1, 3))]
        tools = self.tools(depth) if self.odds(4) and strategy in ("handoff", "swarm") else []
        names = [each.name for each in members]
        says = [f"{name}_transfer_to_{each}" for each in names]
        if strategy in ("handoff", "swarm") or self.odds(3):
            given["model"] = self.model(
                name, tools, words=[*names, "DONE"], calls=says if tools or strategy == "swarm" else []
            )
        if strategy == "router":
            given["router"] = self.router(name, names)
        if strategy == "swarm" or self.odds(8):
            given["handoffs"] = self.handoffs(names)
        if self.odds(4):
            known = [name, *names]
            given["allowed_transitions"] = {each: self.some(known, 2) for each in self.some(known, 2)}
        if self.odds(5):
            given |= self.pick(({"fail_fast": True}, {"width": 1}, {"synthesize": False}))
        more = self.more(name, tools, thinks=bool(tools))
        return Agent(
            name, agents=members, strategy=strategy, tools=tools, max_turns=self.chance.randint(1, 4), **more, **given
        )

    def router(self, name: str, names: list[str]) -> Any:
        if self.odds(3):
            own = self.fresh("-router")
            return Agent(own, self.model(own, [], words=names), max_turns=2)
        chosen = self.pick([*names, *names, *names, "nobody", ""])
        broken = self.odds(10)

        def route(prompt: str) -> str:
            if broken:
                raise ValueError("no way")
            return chosen

        return route

    def handoffs(self, names: list[str]) -> list[Any]:
        return self.some([
            OnTextMention(self.pick(names), "words"),
            OnToolResult(self.pick(names), "look", self.pick(("o", None))),
            OnCondition(self.pick(names), self.yes(3)),
        ], 2)  # fmt: skip

    def planned(self, depth: int) -> Agent:
        name, tools = self.fresh(), [look, slow]
        script = f"{name}_plans"
        self.scripts[script] = [{"content": self.pick(PLANS)}, {"content": self.pick(PLANS), "times": "forever"}]
        planner = Agent(f"{name}_maker", f"scripted/{script}")
        fallback = self.agent(DEPTH) if self.odds(2) else None
        return plan_execute(name, tools, model=self.model(name, tools), planner=planner, fallback=fallback)

    def scattered(self, depth: int) -> Agent:
        name, part = self.fresh(), self.fresh()
        worker = Agent(part, self.model(part, [look]), tools=[look], max_turns=2)
        numbers = range(self.chance.randint(2, 12))
        calls = [{"name": part, "arguments": {"request": f"part {each}"}} for each in numbers]
        self.scripts[name] = [{"tool_calls": calls}, {"content": "Gathered.", "times": "forever"}]
        more: Json = {"width": self.pick((1, 3, None)), "fail_fast": self.odds(3)}
        return scatter_gather(name, worker, model=f"scripted/{name}", **more)

    # What models say

    def model(self, name: str, tools: Sequence[Any], words: Sequence[str] = (), calls: Sequence[str] = ()) -> str:
        names = [*(getattr(each, "name", "") or each._tool_def.name for each in tools), *calls]
        answers = [self.answer(names, words) for _ in range(self.chance.randint(1, 5))]
        last = {"content": self.pick(['{"x": 1}', "TERMINATE", "DONE", "The end.", *words]), "times": "forever"}
        self.scripts[name] = [*answers, last]
        return f"scripted/{name}"

    def answer(self, names: Sequence[str], words: Sequence[str]) -> Json:
        said: Json = {"content": self.pick([*WORDS, *words, *words])}
        if names and not self.odds(3):
            said["tool_calls"] = [self.call(names) for _ in range(self.pick((1, 1, 2, 3)))]
        if self.odds(4):
            said |= self.pick(FAULTS)
        return said

    def call(self, names: Sequence[str]) -> Json:
        name = self.pick([*names, *names, "nothing", "look"])
        return {"name": name, "arguments": self.pick(ARGUMENTS)}

    # What agents may have

    def more(self, name: str, tools: Sequence[Any], thinks: bool = True) -> Json:
        options: list[Callable[[], Json]] = [
            lambda: {"guardrails": self.rails()},
            lambda: {"callbacks": [self.handler()]},
            lambda: {"gate": self.pick((TextGate("words"), self.yes(2)))},
            lambda: {"termination": self.termination()},
            lambda: {"stop_when": self.yes(3)},
            lambda: {"include_contents": "none"},
            lambda: {"introduction": f"I am {name}."},
            lambda: {"output_type": self.pick((Shape, list[Shape]))},
            lambda: {"budget": self.budget()},
            lambda: {"timeout_seconds": 8.0},
        ]
        if thinks:
            options += [
                lambda: {"instructions": instructed},
                lambda: {"fallback": self.fallback(name, tools)},
                lambda: {"memory": self.memory()},
                lambda: {"planner": True},
            ]
        if thinks and tools:
            first = getattr(tools[0], "name", "") or tools[0]._tool_def.name
            options += [
                lambda: {"required_tools": [first]},
                lambda: {"prefill_tools": [PrefillToolCall(first, {"i": 1})]},
            ]
        given: Json = {}
        for option in self.some(options, 8):
            given |= option()
        return given

    def tools(self, depth: int) -> list[Any]:
        chosen: list[Any] = self.some(TOOLS, 4) or [look]
        if depth < DEPTH and self.made < MOST_AGENTS and self.odds(6):
            child = self.agent(depth + 1)
            chosen.append(agent_tool(child, retry_count=self.pick((None, 1)), optional=self.pick((None, False))))
        if self.odds(6):
            guarded = tool(name="guarded", guardrails=[self.rail(), self.rail()])(looks)
            chosen.append(guarded)
        return chosen

    def rails(self) -> list[Guardrail]:
        return [self.rail() for _ in range(self.chance.randint(1, 2))]

    def rail(self) -> Guardrail:
        position = self.pick(("input", "output", "output"))
        on_fail = self.pick(("retry", "raise", "fix", *(("human",) if position == "output" else ())))
        match self.pick(("regex", "function", "llm")):
            case "regex":
                return RegexGuardrail(
                    "words|odd", mode=self.pick(("block", "block", "allow")), position=position, on_fail=on_fail
                )
            case "llm":
                judge = self.fresh("-judge")
                verdicts = ['{"passed": true}', '{"passed": false, "reason": "rude"}', "perhaps", ""]
                self.scripts[judge] = [{"content": self.pick(verdicts), "times": "forever"}]
                return LLMGuardrail(f"scripted/{judge}", "Be kind.", position=position, on_fail=on_fail, max_retries=1)
        verdict = self.pick(
            (True, True, None, GuardrailResult(False, "no", "fixed"), GuardrailResult(False, "no"), ValueError)
        )
        only_first = self.odds(2)

        def judge_(text: str) -> Any:
            if verdict is ValueError:
                raise ValueError("cannot judge")
            return True if only_first and "not accepted" in text else verdict

        return Guardrail(judge_, position, on_fail, name="judge", max_retries=self.chance.randint(1, 2))

    def handler(self) -> CallbackHandler:
        said: dict[str, Any] = {each: self.pick(OVERRIDES) for each in self.some(list(POSITIONS.values()), 3)}

        def method(value: Any) -> Callable[..., Any]:
            def call(self: Any, **kwargs: Any) -> Any:
                if isinstance(value, str):
                    raise RuntimeError(value)
                return value

            return call

        methods = {each: method(value) for each, value in said.items()}
        handler: CallbackHandler = type("Handler", (CallbackHandler,), methods)()
        return handler

    def termination(self, depth: int = 0) -> TerminationCondition:
        if depth < 2 and self.odds(3):
            first, second = self.termination(depth + 1), self.termination(depth + 1)
            return first & second if self.odds(2) else first | second
        return self.pick((
            TextMentionTermination("end"), StopMessageTermination(), MaxMessageTermination(self.chance.randint(2, 6)),
            TokenUsageTermination(max_total_tokens=60), Own(),
        ))  # fmt: skip

    def budget(self) -> Budget:
        return self.pick((Budget(model_calls=2), Budget(tool_calls=1), Budget(tokens=80), Budget(seconds=6)))

    def fallback(self, name: str, tools: Sequence[Any]) -> list[Any]:
        second = self.model(f"{name}_second", tools)
        causes = self.some(("error", "refusal", "timeout", "length", "rate_limit"), 2)
        return [second if self.odds(2) else {"model": second, "on": causes}]

    def memory(self) -> ConversationMemory:
        memory = ConversationMemory()
        memory.add_user_message("Do you remember?")
        memory.add_assistant_message("I do.")
        return memory

    def yes(self, n: int) -> Callable[[Any], bool]:
        """A function that says yes once in n times, the same to the same; now and then it raises."""
        salt, raises = self.chance.random(), self.odds(10)

        def says(context: Any) -> bool:
            if raises:
                raise ValueError("cannot say")
            return zlib.crc32(f"{salt}:{context.get('result')}".encode(errors="replace")) % n == 0

        return says


# Functions


def looks(i: int = 0, context: ToolContext | None = None) -> str:
    """Look."""
    return f"words {i}"


look = tool(name="look")(looks)


@tool
def slow(i: int = 0) -> str:
    """Take time."""
    time.sleep(0.3)
    return "slow words"


@tool
async def later(i: int, context: ToolContext) -> Json:
    """Take time on the loop, and share something."""
    await asyncio.sleep(0.1)
    context.state["later"] = i
    return {"later": i, "odd": [1, {"a": None}]}


@tool(retry_count=2, retry_delay_seconds=0.1, retry_policy="exponential_backoff")
def shaky(i: int, context: ToolContext) -> str:
    """Fail twice."""
    if context.attempt < 2:
        raise RuntimeError("shaken")
    return "at last"


@tool(retry_count=0)
def broken(i: int = 0) -> str:
    """Fail for ever."""
    raise RuntimeError("broken")


@tool
def hopeless(i: int = 0) -> str:
    """Say that no other attempt can succeed."""
    raise TerminalToolError("hopeless")


@tool
def junk(i: int = 0) -> Any:
    """Give back what nobody expects."""
    kinds: list[Any] = [
        None, "", [], {}, float("nan"), object(), b"\xff\xfe", "\x00 nul", "\ud800 lone", 10**30, {1: {2}}, True,
        "x" * 100_000, [[[[[]]]]], {"result": {"result": 1}}, {"_state_updates": 5},
    ]  # fmt: skip
    return kinds[abs(i) % len(kinds)]


@tool(timeout_seconds=1, retry_count=0)
async def sleepy(i: int = 0) -> str:
    """Sleep longer than allowed."""
    await asyncio.sleep(2)
    return "too late"


@tool(max_calls=1)
def once(i: int = 0) -> str:
    """Be called once."""
    return "once"


@tool(approval_required=True)
def pay(i: int = 0) -> str:
    """Pay."""
    return f"paid {i}"


@tool(approval_required=lambda i=0: i > 2)
def lend(i: int = 0) -> str:
    """Lend."""
    return f"lent {i}"


hasty = ApprovalPolicy(when=[("i", ">", 0)], deadline_seconds=2, on_deadline="approve", to="ann")


@tool(approval_required=hasty)
def give(i: int = 0) -> str:
    """Give."""
    return f"gave {i}"


def instructed(prompt: str, context: Json) -> str:
    return f"Answer {prompt[:50]!r}."


class Own(TerminationCondition):
    """Ends after two turns."""

    def should_terminate(self, context: Any) -> TerminationResult:
        return TerminationResult(context["iteration"] >= 2, "two turns")


class Shape(BaseModel):
    """What a structured answer is."""

    x: int


TOOLS: tuple[Any, ...] = (
    look, slow, later, shaky, broken, hopeless, junk, sleepy, once, pay, lend, give,
    human_tool("ask_person", "Ask a person."),
    human_tool("ask_soon", "Ask a person who may not answer.", deadline_seconds=2),
    wait_for_message_tool("next_message", "Wait for a message."),
    wait_for_message_tool("any_message", "Look for a message.", blocking=False),
)  # fmt: skip

STRATEGIES = ("handoff", "sequential", "parallel", "router", "round_robin", "random", "swarm", "manual")
Team = Callable[[Writer, int], Agent]
TEAMS: tuple[Team, ...] = (
    *((lambda writer, depth, strategy=each: writer.team(strategy, depth)) for each in STRATEGIES),  # type: ignore[misc]
    Writer.planned,
    Writer.scattered,
)

WORDS = (
    "words", "Some words.", "", " ", "odd", "TERMINATE", '{"x": 1}', '[{"x": 1}]', '{"x": "no"}', "{prompt}",
    "{results}", "```json\n{\"x\": 2}\n```", "long " * 500, "üñí \U0001f600", "nul \x00 in it",
)  # fmt: skip
ARGUMENTS: tuple[Any, ...] = (
    {"i": 1}, {"i": 2}, {"i": 5}, {"i": 7}, {"i": 8}, {"i": 9}, {"i": 10}, {"i": -3}, {}, {"i": "many"}, {"x": 1}, "{",
    "[1, 2]", '{"i": 1', "null", {"request": "Please."},
)  # fmt: skip
PLANS = (
    '{"steps": [{"id": "a", "ops": [{"tool": "look", "args": {"i": 1}}]}, {"id": "b", "generate": "Tell ${a}"}]}',
    '{"steps": [{"id": "a", "ops": [{"tool": "nothing", "args": {}}]}]}',
    '{"steps": []}',
    "no plan",
)
FAULTS: tuple[Json, ...] = (
    {"finish_reason": "length"},
    {"finish_reason": "content_filter"},
    {"finish_reason": "content_filter", "tool_calls": [], "content": ""},
    {"content": "", "tool_calls": []},
    {"delay_ms": 300},
    {"delay_ms": 50, "chunk_ms": 20},
    {"errors": [{"status": 429, "retry_after_ms": 100}]},
    {"errors": [{"status": "timeout"}]},
    {"errors": [{"status": 500}, {"status": "connection"}]},
    {"errors": [{"status": 400, "message": "a bad request"}] * 30},
    {"usage": {"prompt_tokens": 50, "completion_tokens": 10}, "cost": 0.01},
    {"cost": None},
)
OVERRIDES: tuple[Any, ...] = (
    None, {}, "it raises", {"prompt": "another prompt"}, {"result": "by callback"}, {"args": {"i": 7}},
    {"messages": [{"role": "user", "content": "hi"}]}, {"tool_calls": []}, {"nonsense": 1},
    {"tool_calls": [{"name": "look", "arguments": {"i": 3}}]}, {"result": None}, {"messages": "none"}, {"args": [1]},
)  # fmt: skip


def main(url: str, seed: str, number: str) -> None:
    runtime.LEASE_SECONDS = LEASE_SECONDS
    agents = [program(int(seed), each).agent for each in range(int(number))]
    AgentRuntime(server_url=url).serve(*agents)


if __name__ == "__main__":
    main(*sys.argv[1:])
