"""The plays of the kill test of strategies: one agent or team for each way of composing, checking and steering agents,
with the scripts of their models; and the programs beside the server that are killed: their worker and their client.

python plays.py worker URL LEDGER
python plays.py client URL RESULTS PLAY:NUMBER...
"""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from agentspan.agents import (
    Agent,
    AgentRuntime,
    ApprovalPolicy,
    Budget,
    CallbackHandler,
    Guardrail,
    GuardrailResult,
    OnCondition,
    OnTextMention,
    OnToolResult,
    Op,
    Plan,
    Ref,
    RegexGuardrail,
    ServerUnreachableError,
    Step,
    TerminationCondition,
    TerminationResult,
    TextMentionTermination,
    ToolContext,
    UserProxyAgent,
    agent_tool,
    human_tool,
    plan_execute,
    scatter_gather,
    tool,
    wait_for_message_tool,
)
from agentspan.agents.gate import TextGate
from agentspan.agents.handle import AgentHandle
from agentspan.agents.runtime import AgentConfig, runtime
from tests.acceptance import crew
from tests.acceptance.crew import note, weigh

Json = dict[str, Any]

AT_ONCE = 40
PARTS = 100
LEASE_SECONDS = 4.0
"""Less than usual: a worker that was killed is missed sooner."""
SLOW_MS = 150
AT_ONCE_TEAMS = ("parallel", "third")
"""The teams whose members end in any order."""
SCRIPTS: dict[str, list[Any]] = {}


class Play(NamedTuple):
    """An agent, how often it is run, and whether its members are chosen by chance: then their names count for
    nothing."""

    agent: Agent
    runs: int = 2
    by_chance: bool = False


# How the plays are written


def player(name: str, *answers: Any, **more: Any) -> Agent:
    """An agent whose model says this."""
    return Agent(name, model(name, *answers), **more)


def model(name: str, *answers: Any) -> str:
    SCRIPTS[name] = [
        {"delay_ms": SLOW_MS, **({"content": each} if isinstance(each, str) else each)} for each in answers
    ]
    return f"scripted/{name}"


def uses(*calls: tuple[str, Json], content: str = "") -> Json:
    """An answer that calls tools."""
    return {"content": content, "tool_calls": [{"name": name, "arguments": given} for name, given in calls]}


def noting(text: str) -> Json:
    return uses(("note", {"text": text}))


def noter(name: str, text: str = "", **more: Any) -> Agent:
    """An agent that calls a tool once, and then answers with its result."""
    first = noting(text or f"{name} notes")
    later = [noting(f"{name} again"), f"{name} adds {{result}}.", "Enough."]
    return player(name, first, f"{name} says {{result}}.", *later, tools=[note], **more)


# Functions of the plays


@tool(approval_required=True)
def pay(amount: int, context: ToolContext) -> str:
    """Pay an amount."""
    crew.entered("pay", str(amount), context)
    return f"paid {amount}"


@tool(approval_required=lambda amount: amount > 5)
def lend(amount: int, context: ToolContext) -> str:
    """Lend an amount."""
    crew.entered("lend", str(amount), context)
    return f"lent {amount}"


@tool(approval_required=ApprovalPolicy(when=[("amount", ">", 5)], to="ann"))
def give(amount: int, context: ToolContext) -> str:
    """Give an amount."""
    crew.entered("give", str(amount), context)
    return f"gave {amount}"


@tool(retry_count=2, retry_delay_seconds=0.1)
def shaky(text: str, context: ToolContext) -> str:
    """Fail at the first attempt."""
    if context.attempt == 0:
        raise RuntimeError("not yet")
    crew.entered("shaky", text, context)
    return f"at last {text}"


@tool
def remember(text: str, context: ToolContext) -> str:
    """Keep a text in the shared state."""
    said = [*context.state.get("said", []), text]
    crew.entered("remember", text, context)
    context.state["said"] = said
    return f"{len(said)} texts: {', '.join(said)}"


ask_person = human_tool(
    "ask_person", "Ask a person.", {"type": "object", "properties": {"question": {"type": "string"}}}
)
next_message = wait_for_message_tool("next_message", "Wait for a message.")


def polite(text: str) -> GuardrailResult:
    return GuardrailResult("please" in text, "say please")


def whole(text: str) -> GuardrailResult:
    return GuardrailResult(text.endswith("."), "no full stop", f"{text}.")


class Watching(CallbackHandler):
    """Changes what passes at all six positions."""

    def on_agent_start(self, prompt: str, **kwargs: Any) -> Json:
        return {"prompt": f"{prompt} (watched)"}

    def on_model_end(self, llm_result: Any, **kwargs: Any) -> Json | None:
        return {"result": "changed by a callback"} if "change me" in str(llm_result) else None

    def on_tool_start(self, args: Json, **kwargs: Any) -> Json:
        return {"args": {"text": f"{args.get('text')} (watched)"}}

    def on_tool_end(self, result: Any, **kwargs: Any) -> Json:
        return {"result": f"{result} (seen)"}

    async def on_model_start(self, **kwargs: Any) -> None:
        await asyncio.sleep(0.05)

    async def on_agent_end(self, result: Any, **kwargs: Any) -> Json:
        return {"result": f"{result} (ended)"}


class Thrice(TerminationCondition):
    """Ends after three turns."""

    def should_terminate(self, context: Any) -> TerminationResult:
        return TerminationResult(context["iteration"] >= 3, "three turns")


class Stone(BaseModel):
    """What a structured answer is."""

    name: str
    weights: list[int]


def route(prompt: str, last_agent: str = "") -> str:
    return "router_one" if "7" in prompt[-1:] else "router_two"


def told(prompt: str, context: Json) -> str:
    return f"Answer {prompt!r} with care."


# The plays


def handoff() -> Agent:
    members = [noter("handoff_one", description="first"), noter("handoff_two", description="second")]
    return player("handoff", "handoff_one", "I choose handoff_two.", "DONE", "All in all: {prompt}", "Enough.",
                  agents=members)  # fmt: skip


def sequential() -> Agent:
    stages = [
        noter("stage_one", gate=TextGate("STOP")),
        noter("stage_two", gate=lambda given: "stage_three" not in given["result"]),
        player("stage_three", "stage_three STOPS here.", gate=TextGate("STOPS")),
        player("stage_four", "never said"),
    ]
    return Agent("sequential", agents=stages, strategy="sequential")


def parallel() -> Agent:
    failing = player("branch_failing", {"errors": [{"status": 400, "message": "no such thing"}] * 30})
    branches = [noter(f"branch_{each}") for each in range(4)]
    return Agent("parallel", agents=[*branches, failing], strategy="parallel", width=3)


def router() -> Agent:
    return Agent("router", agents=[noter("router_one"), noter("router_two")], strategy="router", router=route)


def router_by_agent() -> Agent:
    chooses = player("chooser", noting("choosing"), "chosen_two", tools=[note])
    return Agent(
        "router_by_agent", agents=[noter("chosen_one"), noter("chosen_two")], strategy="router", router=chooses
    )


def round_robin() -> Agent:
    members = [noter(f"round_{each}", introduction=f"I am number {each}.") for each in range(3)]
    return Agent("round_robin", agents=members, strategy="round_robin", max_turns=5)


def by_chance() -> Agent:
    members = [
        Agent(f"chance_{each}", model("chance", {"content": "One more.", "times": "forever"})) for each in range(3)
    ]
    return Agent("random", agents=members, strategy="random", max_turns=4)


def swarm() -> Agent:
    members = [
        player(
            "swarm_one", uses(("note", {"text": "one"}), ("swarm_one_transfer_to_swarm_two", {})), "no", tools=[note]
        ),
        player("swarm_two", noting("two"), "HELP is needed.", "nothing", tools=[note]),
        player("swarm_three", noting("three"), "a condition is met", "nothing", tools=[note]),
        player("swarm_four", uses(("weigh", {"text": "four"})), "nothing more", tools=[weigh]),
        player("swarm_five", "This is the end."),
    ]
    handoffs = [
        OnTextMention("swarm_three", "help"),
        OnCondition("swarm_four", lambda context: "condition is met" in str(context["result"])),
        OnToolResult("swarm_five", "weigh", "weight"),
    ]
    first = uses(("swarm_transfer_to_swarm_one", {}), content="One, please.")
    return player("swarm", first, agents=members, strategy="swarm", handoffs=handoffs)


def manual() -> Agent:
    return Agent("manual", agents=[noter("manual_one"), noter("manual_two")], strategy="manual")


def hybrid() -> Agent:
    member = noter("hybrid_member", description="It notes.")
    first = [
        uses(("note", {"text": "self"}), ("weigh", {"text": "self"})),
        uses(("hybrid_transfer_to_hybrid_member", {})),
    ]
    return player("hybrid", *first, "Done.", agents=[member], tools=[note, weigh])


def planned() -> Agent:
    steps = [
        Step("look", ops=[Op("note", {"text": "look"}), Op("weigh", {"text": "look"})]),
        Step("tell", generate="Tell about ${look}."),
        Step("keep", ops=Op("note", {"text": Ref("tell")})),
    ]
    plan = {"content": json.dumps(Plan(steps).to_config())}
    says = model("planned", "unused", "Step said.", "The end: {results}.")
    return plan_execute("planned", [note, weigh], model=says, planner=player("planner", plan))


def nested() -> Agent:
    """Five deep: sequential in handoff in parallel in round-robin in router."""
    fifth = Agent("fifth", agents=[noter("deep_one"), noter("deep_two")], strategy="sequential")
    fourth = player("fourth", "fifth", "DONE", "fourth closes.", agents=[fifth])
    third = Agent("third", agents=[fourth, noter("beside")], strategy="parallel")
    second = Agent("second", agents=[third], strategy="round_robin", max_turns=1)
    return Agent("nested", agents=[second, noter("not_chosen")], strategy="router", router=lambda prompt: "second")


def as_tools() -> Agent:
    expert = agent_tool(noter("expert"), description="An expert.")
    calls = uses(("expert", {"request": "first"}), ("expert", {"request": "second"}))
    return player("as_tools", calls, "Experts say {results}.", tools=[expert])


def scattered() -> Agent:
    part = noter("part", "{prompt}")
    calls = uses(*(("part", {"request": f"part {each}"}) for each in range(PARTS)))
    return scatter_gather("scattered", part, model=model("scattered", calls, "Gathered {results}."), width=30)


def guarded() -> Agent:
    rails = [
        Guardrail(lambda text: "bad" not in text, "input", "raise", "decent"),
        Guardrail(polite, name="polite"),
        RegexGuardrail("rude", name="kind"),
        Guardrail(whole, on_fail="fix", name="whole"),
    ]
    safe = tool(guardrails=[Guardrail(lambda text: "secret" not in text, on_fail="raise", name="discreet")])(note_it)
    answers = [uses(("note_it", {"text": "guarded"})), "No.", "please, you rude", "yes please: {result}"]
    return player("guarded", *answers, tools=[safe], guardrails=rails)


def note_it(text: str, context: ToolContext) -> str:
    """Note a text."""
    crew.entered("note_it", text, context)
    return text


def approved() -> Agent:
    calls = [(name, {"amount": amount}) for name in ("pay", "lend", "give") for amount in (1, 9)]
    return player("approved", uses(*calls), "Results: {results}.", tools=[pay, lend, give])


def reviewed() -> Agent:
    rail = Guardrail(lambda text: "odd" not in text, on_fail="human", name="even")
    asks = uses(("ask_person", {"question": "Which colour?"}))
    return player("reviewed", asks, "an odd {result}", tools=[ask_person], guardrails=[rail])


def called_back() -> Agent:
    return player("called_back", noting("a note"), "change me", tools=[note], callbacks=[Watching()])


def structured() -> Agent:
    answers = [noting("weights"), "not json", '{"name": "stone"}', '{"name": "stone", "weights": [1, 2]}']
    return player("structured", *answers, tools=[note], output_type=Stone)


def stopped() -> Agent:
    forever = {**noting("once more {turn}"), "times": "forever"}
    return player("stopped", forever, tools=[note], stop_when=lambda context: context["iteration"] >= 3)


def terminated() -> Agent:
    forever = {**noting("and again {turn}"), "times": "forever"}
    return player("terminated", forever, tools=[note], termination=Thrice() | TextMentionTermination("never"))


def budgeted() -> Agent:
    """Ends over its budget; the client gives it more."""
    turns = [noting(f"turn {turn}") for turn in range(1, 5)]
    return player("budgeted", *turns, "Paid for.", tools=[note], budget=Budget(model_calls=3))


def listening() -> Agent:
    waits = uses(("next_message", {}))
    return player("listening", waits, noting("heard {result}"), waits, "Heard {results}.", tools=[next_message, note])


def instructed() -> Agent:
    return player("instructed", noting("instructed"), {**noting("too long"), "finish_reason": "length"}, "Well done.",
                  tools=[note], instructions=told, max_turns=6)  # fmt: skip


def faulty() -> Agent:
    """Retries of the tool and of the model, a tool that there is not, and a model in the place of one that refuses."""
    second = model("faulty_second", "unused", "unused", "unused", "By the second: {results}.")
    answers = [
        {**uses(("shaky", {"text": "tried"})), "errors": [{"status": 429, "retry_after_ms": 50}]},
        uses(("no_such_tool", {}), ("note", {"text": "right"})),
        uses(("note", {"wrong": "arguments"})),
        {"errors": [{"status": 400, "message": "refused"}] * 30},
    ]
    return player("faulty", *answers, tools=[shaky, note], fallback=[second])


def sharing() -> Agent:
    members = [
        player(
            f"sharing_{each}", uses(("remember", {"text": f"by {each}"})), f"{each} heard {{result}}.", tools=[remember]
        )
        for each in range(3)
    ]
    return Agent("sharing", agents=members, strategy="sequential")


def proxied() -> Agent:
    person = UserProxyAgent("person", "ALWAYS", model="scripted/person")
    return Agent("proxied", agents=[noter("answerer"), person], strategy="round_robin", max_turns=4)


def plays() -> dict[str, Play]:
    """All plays by name. It fills SCRIPTS, too."""
    written: list[Callable[[], Agent]] = [
        handoff, sequential, parallel, router, router_by_agent, round_robin, swarm, manual, hybrid, planned, nested,
        as_tools, guarded, approved, reviewed, called_back, structured, stopped, terminated, budgeted, listening,
        instructed, faulty, sharing, proxied,
    ]  # fmt: skip
    found = {make.__name__: Play(make()) for make in written}
    return {**found, "by_chance": Play(by_chance(), by_chance=True), "scattered": Play(scattered(), 1)}


# The programs


async def drive(url: str, results: Path, numbered: list[str]) -> None:
    """Start these runs, each under a key of its own, and write down what they come to."""
    config = AgentConfig(server_url=url, auto_start_workers=False, missing_worker_grace_seconds=60)
    places = asyncio.Semaphore(AT_ONCE)
    all_plays = plays()
    async with AgentRuntime(config=config) as own:
        await crew.reached(own)

        async def one(name: str, number: str) -> None:
            async with places:
                key = f"{name}:{number}"
                handle = await own.start_async(all_plays[name].agent, f"run-{number}", idempotency_key=key)
                result = await handle.join_async()
                if result.finish_reason == "budget":
                    await more(handle)
                    result = await handle.join_async()
            with results.open("a") as file:
                file.write(json.dumps({"play": name, "number": number, "id": result.execution_id}) + "\n")

        async with asyncio.TaskGroup() as group:
            for each in numbered:
                name, _, number = each.partition(":")
                group.create_task(one(name, number))


async def more(handle: AgentHandle) -> None:
    """Give a run what it needs to end. It may be asked for twice: the server may have died before its answer."""
    while True:
        try:
            await handle.continue_with_async({"model_calls": 100})
            return
        except ServerUnreachableError:
            await asyncio.sleep(0.1)


def main(role: str, url: str, path: str, *numbered: str) -> None:
    if role == "worker":
        crew.LEDGER, runtime.LEASE_SECONDS = Path(path), LEASE_SECONDS
        AgentRuntime(server_url=url).serve(*(play.agent for play in plays().values()))
    else:
        asyncio.run(drive(url, Path(path), list(numbered)))


if __name__ == "__main__":
    main(*sys.argv[1:])
