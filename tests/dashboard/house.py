"""A server furnished with runs of every kind, as a team's server has them: ended well, failed, waiting, nested."""

import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from agentspan.agents import Agent, AgentConfig, AgentHandle, AgentRuntime, tool
from tests.agents.serving import ServerProcess, tool_call

FORECAST = {
    "content": "In **Paris**: {result}. Stay *in*.",
    "usage": {"prompt_tokens": 900, "completion_tokens": 60},
    "cost": 0.0123,
}
REPORT = "# Report\n\nThe market **grows**, with doubts:\n\n- slower in spring\n- faster in autumn\n"
REFUSAL = {"content": "", "errors": [{"status": 400, "message": "the order is refused: no such shelf"}]}
REASON = "the warehouse is on fire: shelf 7 cannot be reached"


@tool
def get_weather(city: str) -> str:
    """The weather in a city now."""
    return "18 degrees and light rain"


@tool
def look_up(order: int) -> dict[str, Any]:
    """Look an order up."""
    return {
        "order": order,
        "customer": "Ann",
        "lines": [{"sku": "A-1", "n": 2}, {"sku": "B-7", "n": 1}],
        "total": 123.5,
    }


@tool(approval_required=True)
def refund(customer: str, amount: int) -> str:
    """Pay money back to a customer."""
    return f"{customer} got {amount}"


@tool
def ship(order: int) -> str:
    """Send an order away."""
    raise ValueError(REASON)


@tool
def count_stars(galaxy: str) -> int:
    """Count the stars of a galaxy."""
    return 7


@dataclass
class House:
    """The server, the runtime that serves the tools, and the ids of the runs by what they are."""

    server: ServerProcess
    runs: dict[str, str] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runtime = AgentRuntime(config=AgentConfig(server_url=self.server.url, missing_worker_grace_seconds=1))

    @property
    def url(self) -> str:
        """Where its dashboard is."""
        return f"{self.server.url}/ui"

    def furnish(self) -> None:
        """Define the agents, deploy some, and run them."""
        script = self.server.script
        weather = script("weather", tool_call("get_weather", city="Paris"), FORECAST)
        clerk = script(
            "clerk",
            tool_call("look_up", order=17),
            {"tool_calls": [_refund("Bob", 500), _refund("Eve", 9000)]},
            "All settled.",
        )
        shipper = script("shipper", tool_call("look_up", order=3), tool_call("ship", order=3), REFUSAL)
        self.agents = {
            "forecaster": Agent("forecaster", weather, tools=[get_weather], instructions="You forecast. Be brief."),
            "clerk": Agent("clerk", clerk, tools=[look_up, refund]),
            "shipper": Agent("shipper", shipper, tools=[look_up, ship]),
            "astronomer": Agent(
                "astronomer",
                script("astronomer", tool_call("count_stars", galaxy="M31"), "Seven."),
                tools=[count_stars],
            ),
        }
        newsroom = [
            Agent("researcher", script("researcher", "It grows by 4% a year."), instructions="Research."),
            Agent("critic", script("critic", "I doubt the second point."), instructions="Criticise."),
            Agent("writer", script("writer", REPORT), instructions="Write."),
        ]
        self.agents["newsroom"] = Agent("newsroom", agents=newsroom, strategy="sequential")
        self.agents["logistics"] = Agent(
            "logistics", agents=[newsroom[0], self.agents["shipper"]], strategy="sequential"
        )
        for question in ("Do I need an umbrella?", "And this afternoon?"):
            self.runs["weather"] = self.ended("forecaster", question, session_id="weather-desk")
        self.runs["team"] = self.ended("newsroom", "Write about the market.")
        self.runs["failed"] = self.ended("shipper", "Ship order 3.")
        self.runs["failed_team"] = self.ended("logistics", "Ship it.")
        self.runs["waiting"] = self.waiting().execution_id
        self.runs["stuck"] = self.stuck()
        self.runtime.deploy(self.agents["forecaster"], self.agents["newsroom"])
        self.runtime.deploy(
            Agent("forecaster", weather, tools=[get_weather], instructions="You forecast. Be brief and kind.")
        )

    def open(self) -> None:
        """Wait until the dashboard's process is there."""
        until(lambda: answers(f"{self.url}/runs"), 60)

    def ended(self, agent: str, prompt: str, **options: Any) -> str:
        """The id of a run that has ended."""
        return self.runtime.run(self.agents[agent], prompt, **options).execution_id

    def waiting(self) -> AgentHandle:
        """A run that waits for a person, with two requests."""
        handle = self.runtime.start(self.agents["clerk"], "Handle the complaints of order 17.")
        until(lambda: len(handle.requests()) == 2)
        return handle

    def stuck(self) -> str:
        """The id of a run that waits for a worker which is gone."""
        with AgentRuntime(config=AgentConfig(server_url=self.server.url)) as elsewhere:
            agent = Agent(
                "stargazer", self.server.script("stargazer", tool_call("count_stars_again"), "Seven."), tools=[_gone()]
            )
            handle = elsewhere.start(agent, "How many stars?")
            until(lambda: bool(handle.get_status().execution_id))
        return handle.execution_id

    def close(self) -> None:
        self.runtime.shutdown()


def _refund(customer: str, amount: int) -> dict[str, Any]:
    return {"name": "refund", "arguments": {"customer": customer, "amount": amount}}


def answers(url: str) -> bool:
    """Whether a page is there: at first its process is still starting."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as problem:
        if problem.code != 503:
            raise
        return False


def _gone() -> Any:
    @tool
    def count_stars_again() -> int:
        """Count once more, elsewhere."""
        time.sleep(3600)
        return 7

    return count_stars_again


def until(holds: Any, seconds: float = 20.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("it never came about")
        time.sleep(0.02)
