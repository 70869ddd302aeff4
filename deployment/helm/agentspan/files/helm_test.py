"""What `helm test` does: an agent with a tool runs to its end, through the Service, with the scripted model."""

from agentspan.agents import Agent, AgentRuntime, tool


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def main() -> None:
    agent = Agent(name="helm_test", model="scripted/helm_test", tools=[add], instructions="Add.")
    with AgentRuntime() as runtime:
        result = runtime.run(agent, "What is 40 and 2?")
    print(result.output)
    if "The sum is 42." not in str(result.output):
        raise SystemExit("the agent did not come to its answer")


if __name__ == "__main__":
    main()
