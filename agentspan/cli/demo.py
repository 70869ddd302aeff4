"""`make run`: one agent calls one tool, on the best model that this machine has, and says where the run can be read.

`python -m agentspan.cli.demo [MODEL]`
"""

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import agentspan
from agentspan.cli.extras import needs
from agentspan.client import launch
from agentspan.config import Settings
from agentspan.errors import AgentspanError

if TYPE_CHECKING:
    from agentspan.agents import AgentResult

PROMPT = "Process this data and tell me the sum: 12, 30 and 58."
LOCAL, SCRIPTED = "local/smollm2", "scripted/demo"


class Model(NamedTuple):
    """A model and the honest sentence about it."""

    name: str
    why: str


def demo(arguments: list[str]) -> None:
    settings = Settings.load()
    model = Model(arguments[0], "as you asked.") if arguments else best_model(settings)
    server = launch.find_or_start()
    print(f"agentspan {agentspan.__version__} serves {server.url}{' (started just now)' if server.started else ''}")
    print(f"model: {model.name}, {model.why}\n")
    try:
        result = five_lines(server.url, model.name)
    except AgentspanError as problem:
        if server.started or not model.why.startswith("because"):
            raise
        hint = "If the running server was started without it: agentspan server stop, then run this again."
        raise AgentspanError(f"{problem.message} {hint}") from problem
    print("\n".join(told(result, server.url)))
    if result.is_failed:
        sys.exit(1)


def five_lines(url: str, model: str) -> "AgentResult":
    """The agent of the README."""
    from agentspan.agents import Agent, AgentRuntime, tool

    @tool
    def process_data(data: str) -> dict[str, int]:
        """Process data: count the numbers in it and add them up."""
        numbers = [int(each) for each in re.findall(r"\d+", data)]
        return {"count": len(numbers), "sum": sum(numbers)}

    agent = Agent(name="analyst", model=model, instructions="Use your tool, then answer.", tools=[process_data])
    with AgentRuntime(server_url=url) as runtime:
        return runtime.run(agent, PROMPT, timeout=120)


def told(result: "AgentResult", url: str) -> Iterator[str]:
    """The result, the steps, and where to go from here."""
    yield f"asked:  {PROMPT}"
    for call in result.tool_calls:
        yield f"tool:   {call['name']}({json.dumps(call['args'])}) -> {json.dumps(call['result'])}"
    yield f"answer: {result.output['result'] if not result.is_failed else result.error}"
    if result.token_usage:
        yield f"tokens: {result.token_usage.total_tokens}"
    yield ""
    if launch.has_pages(url):
        yield f"The run in the dashboard, with every step: {url}/ui/runs/{result.execution_id}"
    yield f"The run as JSON: {url}/api/agent/execution/{result.execution_id}"
    yield f"Its log as it was written: {url}/api/agent/{result.execution_id}/events"
    yield "The server goes on when this program ends; stop it with: agentspan server stop"


def best_model(settings: Settings) -> Model:
    """A provider whose key is set, else the local model, else a script."""
    for key, model in PROVIDERS:
        if os.environ.get(key):
            return Model(model, f"because {key} is set: each run is paid for.")
    missing = why_not_local(settings)
    if not missing:
        return Model(
            LOCAL,
            "a very small model in the server itself: it fills arguments and phrases answers under a grammar, a fixed"
            " router chooses the tool, and it is no general brain. Set OPENAI_API_KEY or another key for one.",
        )
    write_script(settings)
    return Model(SCRIPTED, f"a script without any intelligence, because {missing}. Set OPENAI_API_KEY or another key.")


def why_not_local(settings: Settings) -> str:
    """Why the local model cannot be used; "" if it can. Fetches its weights if they are not there."""
    if importlib.util.find_spec("xllamacpp") is None:
        return 'the local model is not installed (pip install "agentspan[local]")'
    with needs("server"):
        from agentspan.server import maintenance
    try:
        maintenance.pull("smollm2", settings)
    except (AgentspanError, OSError) as problem:
        return f"the local model's weights could not be fetched ({problem})"
    return ""


def write_script(settings: Settings) -> None:
    """What the scripted model says: the tool call, then the sum that the tool found."""
    folder = settings.scripts_path
    if folder.suffix == ".json":
        raise AgentspanError(f"AGENTSPAN_SCRIPTS is the file {folder}; the demo needs a folder to put its script in")
    folder.mkdir(parents=True, exist_ok=True)
    script = [
        {"tool_calls": [{"name": "process_data", "arguments": {"data": "12, 30 and 58"}}]},
        {"content": "The tool says {result}."},
    ]
    (folder / "demo.json").write_text(json.dumps({"demo": script}, indent=2))


PROVIDERS = (
    ("OPENAI_API_KEY", "openai/gpt-4o-mini"),
    ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
    ("GEMINI_API_KEY", "gemini/gemini-2.5-flash"),
    ("MISTRAL_API_KEY", "mistral/mistral-small-latest"),
    ("GROQ_API_KEY", "groq/llama-3.1-8b-instant"),
    ("DEEPSEEK_API_KEY", "deepseek/deepseek-chat"),
    ("XAI_API_KEY", "xai/grok-3-mini"),
)
"""Keys, and the small model that their providers' users usually take."""


def main() -> None:
    """Run the demo; what went wrong is one sentence and exit code 1."""
    try:
        demo(sys.argv[1:])
    except AgentspanError as problem:
        print(f"agentspan: {problem.message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
