"""The rule that chooses a tool for the local model, and the words it may use."""

from typing import Any

import pytest

from agentspan.engine.providers.grammar import arguments_schema, readable, sentence_grammar, spans
from agentspan.engine.providers.router import choose


def tool(name: str, description: str = "", **fields: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": fields, "required": list(fields)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TEXT = {"type": "string"}
TOOLS = [
    tool("get_weather", "Get the current weather of a city.", city=TEXT),
    tool("process_data", "", input=TEXT),
    tool("addNumbers", "Add two numbers.", a={"type": "integer"}, b={"type": "integer"}),
    tool("lookup", "Find an order by its id.", order_id=TEXT),
    tool("set_light", "", color={"enum": ["red", "green"]}),
]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("What is the weather in Paris?", "get_weather"),
        ("Process this dataset", "process_data"),
        ("Clean the data, please", "process_data"),
        ("Please add 5 and 19", "addNumbers"),
        ("Where is my order A-12?", "lookup"),
        ("Make it green", "set_light"),
        ("Hello, how are you?", None),
        ("What is the capital of France?", None),
        ("", None),
    ],
)
def test_the_tool_that_shares_most_words_is_chosen_if_any_does(text: str, name: str | None) -> None:
    chosen = choose(TOOLS, text)
    assert (chosen and chosen["name"]) == name


def test_without_tools_none_is_chosen() -> None:
    assert choose([], "What is the weather?") is None


def test_values_come_out_of_the_text() -> None:
    schema = arguments_schema(
        tool("f", city=TEXT, count={"type": "integer"}, price={"type": "number"}, unit={"enum": ["c", "f"]})[
            "function"
        ],
        "3 rooms in Paris for 250.5",
    )
    fields = schema["properties"]
    assert "Paris" in fields["city"]["enum"]
    assert fields["count"]["enum"] == [3]
    assert fields["price"]["enum"] == [3, 250.5]
    assert fields["unit"] == {"enum": ["c", "f"]}


def test_an_optional_field_is_filled_only_if_the_text_speaks_of_it() -> None:
    function = tool("f", city=TEXT, unit={"type": "string", "enum": ["celsius", "kelvin"]})["function"]
    function["parameters"]["required"] = ["city"]
    assert arguments_schema(function, "Paris")["required"] == ["city"]
    assert arguments_schema(function, "Paris in Kelvin")["required"] == ["city", "unit"]


def test_spans_are_the_runs_of_words_without_punctuation() -> None:
    assert spans("Is it (cold) in Paris?", most=2) == [
        *["Is", "it", "cold", "in", "Paris"],
        *["Is it", "it (cold", "cold) in", "in Paris"],
    ]


def test_results_are_read_without_the_signs_of_json() -> None:
    assert readable('{"temp_c": 22, "sunny": true, "note": null, "days": ["Mon", "Tue"]}') == (
        "temp c: 22, sunny: yes, days: Mon, days: Tue"
    )
    assert readable("22C and\nsunny") == "22C and sunny"


def test_a_sentence_states_every_fact_and_does_not_repeat_the_question() -> None:
    grammar = sentence_grammar("What is the weather in Paris?", ['{"city": "Paris", "temp": 22, "sky": "clear"}'])
    assert grammar is not None
    assert '"temp 22"' in grammar
    assert '"sky is clear"' in grammar
    assert "city" not in grammar


def test_bad_news_is_told_as_such() -> None:
    assert "That did not work: " in (sentence_grammar("Delete the file", ["rejected by the user"]) or "")


def test_a_long_result_is_left_to_the_model() -> None:
    assert sentence_grammar("Summarize it", ["word " * 200]) is None
