"""The embedded model, with its real weights: a tool call and a sentence, twice over."""

import platform
import sys
from pathlib import Path
from typing import Any

import pytest

from agentspan.engine.providers import ModelAnswer, ModelRequest, complete, local, pull, weights_path
from agentspan.errors import BadInput, ModelFailure
from tests.engine.providers.settings import Limits

# Kept from run to run: it is 98 MB.
CACHE = Path.home() / ".cache" / "agentspan-test"
# A machine under load is many times slower than a quiet one.
PATIENT = Limits(data_dir=CACHE, first_token_seconds=200, idle_seconds=200, total_seconds=280)

pytestmark = [pytest.mark.xdist_group("local-model"), pytest.mark.timeout(300)]


def has_wheel() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.fixture
def weights() -> Path:
    # Where there is a wheel, a missing one is a fault of the environment and must not pass for a pass.
    if not has_wheel():
        pytest.importorskip("xllamacpp")
    return pull("smollm2", CACHE / "models")


def tool(name: str, description: str, field: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {field: {"type": "string"}}, "required": [field]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    tool("get_weather", "Get the current weather of a city.", "city"),
    tool("process_data", "Process a data set.", "input"),
]


async def ask(messages: list[dict[str, Any]], heard: list[str]) -> ModelAnswer:
    return await complete(
        ModelRequest(model="local/smollm2", messages=messages, tools=TOOLS), PATIENT, heard.append, environ={}
    )


@pytest.mark.parametrize(
    ("question", "tool_name", "arguments", "result", "facts"),
    [
        ("What is the weather in Paris?", "get_weather", ({"city": "Paris"},), "22C and sunny", ["22C and sunny"]),
        ("What is the weather in Paris?", "get_weather", ({"city": "Paris"},), '{"temp": 22}', ["22"]),
        (
            "Process this dataset",
            "process_data",
            ({"input": "dataset"}, {"input": "this dataset"}),
            '{"rows": 120, "status": "ok"}',
            ["120", "ok"],
        ),
    ],
)
async def test_it_calls_the_tool_that_fits_and_tells_what_the_tool_said(
    weights: Path, question: str, tool_name: str, arguments: tuple[Any, ...], result: str, facts: list[str]
) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
    heard: list[str] = []
    first = await ask(messages, heard)
    call = first.tool_calls[0]
    assert (call.name, first.finish_reason, heard, first.cost) == (tool_name, "tool_calls", [], 0.0)
    assert call.arguments in arguments
    assert first.usage.prompt_tokens > first.usage.completion_tokens > 0

    function = {"name": call.name, "arguments": "{}"}
    messages += [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call.id, "content": result},
    ]
    second = await ask(messages, heard)
    assert all(fact in second.content for fact in facts)
    assert (second.finish_reason, second.tool_calls) == ("stop", ())
    assert "".join(heard).strip() == second.content
    assert len(heard) > 1


async def test_without_a_fitting_tool_it_talks_within_its_limit(weights: Path) -> None:
    request = ModelRequest(
        model="local/smollm2", messages=[{"role": "user", "content": "Tell me a long story."}], max_tokens=5
    )
    answer = await complete(request, PATIENT, environ={})
    assert answer.content
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 5)


async def test_a_call_over_its_limit_ends_and_the_next_one_is_served(weights: Path) -> None:
    request = ModelRequest(model="local/smollm2", messages=[{"role": "user", "content": "Tell me a long story."}])
    hasty = Limits(data_dir=CACHE, total_seconds=0.01)
    with pytest.raises(ModelFailure, match="AGENTSPAN_TOTAL_SECONDS"):
        await complete(request, hasty, environ={})
    assert (await ask([{"role": "user", "content": "What is the weather in Paris?"}], [])).tool_calls


async def test_missing_weights_say_how_to_get_them(weights: Path, tmp_path: Path) -> None:
    request = ModelRequest(model="local/smollm2", messages=[{"role": "user", "content": "Hello"}])
    with pytest.raises(ModelFailure, match="agentspan model pull smollm2") as caught:
        await complete(request, Limits(data_dir=tmp_path), environ={})
    assert not caught.value.retryable


async def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelFailure, match=r'pip install "agentspan\[local\]"'):
        await local.prepare(Limits(data_dir=tmp_path))


def test_pulling_again_keeps_what_is_there(weights: Path) -> None:
    made = weights.stat().st_mtime_ns
    assert pull("smollm2", CACHE / "models") == weights == weights_path("smollm2", CACHE / "models")
    assert weights.stat().st_mtime_ns == made


def test_an_unknown_model_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="known are smollm2"):
        pull("llama", tmp_path)
