"""A program of the other SDK: its agents, its functions, its processes, and our server. Prints a JSON line for each."""

import json
import os
import sys
import time

from conductor.ai.agents import (
    Agent,
    AgentRuntime,
    Guardrail,
    GuardrailResult,
    OnTextMention,
    RegexGuardrail,
    TextMentionTermination,
    tool,
)

MODELS = json.loads(os.environ["MODELS"])


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(approval_required=True)
def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


def decent(content: str) -> GuardrailResult:
    return GuardrailResult(passed="bad" not in content, message="no bad words")


def enough(context, **_):
    return context.get("iteration", 0) >= 2


def route(prompt):
    return "bob"


def thinker(name, **options):
    return Agent(name=name, model=MODELS[options.pop("model", name)], **options)


def pair():
    return [thinker("alice"), thinker("bob")]


AGENTS = {
    "tool": lambda: thinker("adder", tools=[add]),
    "guardrail": lambda: thinker("rude", guardrails=[Guardrail(decent, on_fail="retry")]),
    "regex": lambda: thinker("rude2", model="rude", guardrails=[RegexGuardrail(patterns=["bad"], on_fail="retry")]),
    "handoff": lambda: Agent(name="boss", model=MODELS["boss"], agents=pair()),
    "router": lambda: Agent(name="desk", model=MODELS["boss"], agents=pair(), strategy="router", router=route),
    "swarm": lambda: Agent(
        name="swarm",
        model=MODELS["swarm"],
        agents=pair(),
        strategy="swarm",
        handoffs=[OnTextMention(target="alice", text="bob here")],
    ),
    "sequential": lambda: thinker("alice") >> thinker("bob"),
    "parallel": lambda: Agent(name="both", agents=pair(), strategy="parallel"),
    "round_robin": lambda: Agent(name="round", agents=pair(), strategy="round_robin", max_turns=3),
    "stop_when": lambda: thinker("looper", tools=[add], stop_when=enough),
    "termination": lambda: thinker("ender", tools=[add], termination=TextMentionTermination("ENOUGH")),
}


def tell(name, **said):
    print(json.dumps({"name": name, **said}), flush=True)


def main():
    with AgentRuntime() as runtime:
        for name, make in AGENTS.items():
            result = runtime.run(make(), "go", timeout=40)
            tell(name, status=str(result.status), result=result.output.get("result"))
        handle = runtime.start(thinker("payer", tools=[pay]), "go")
        while not (status := handle.get_status()).is_waiting:
            time.sleep(0.1)
        handle.approve()
        tell("approval", asked=status.pending_tool["tool_name"], result=handle.join(timeout=40).output["result"])
        events = [
            getattr(event.type, "value", event.type) for event in runtime.stream(thinker("adder", tools=[add]), "go")
        ]
        tell("stream", events=[each for each in events if each != "token"])


if __name__ == "__main__":
    main()
    sys.exit(0)
