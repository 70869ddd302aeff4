"""What the local model may write: grammars that keep a small model to the words of the request and of the results.

Within them the model still makes every choice. A value comes out of the request, never out of thin air; a sentence
holds the whole result.
"""

import json
import re
from typing import Any

LONGEST_FACTS = 400
MOST_FACTS = 8
MOST_WORDS = 60


def arguments_schema(function: dict[str, Any], text: str) -> dict[str, Any]:
    """The tool's schema, with each plain field narrowed to what the text offers for it."""
    schema = function.get("parameters") or {}
    fields = schema.get("properties") or {}
    required = schema.get("required") or []
    narrowed = {
        name: _narrowed(field, text) for name, field in fields.items() if _is_asked(name, field, required, text)
    }
    whole = {"type": "object", "properties": narrowed, "required": list(narrowed), "additionalProperties": False}
    return whole | {key: schema[key] for key in ("$defs", "definitions") if key in schema}


def sentence_grammar(question: str, results: list[str]) -> str | None:
    """A grammar of sentences that open with words of the question and then state the results; None if they are long."""
    facts = [fact for result in results for fact in _facts(result)]
    size = sum(len(str(value)) for _, value in facts)
    if not facts or len(facts) > MOST_FACTS or size > LONGEST_FACTS:
        return None
    # What the question says already need not be said again, such as the city in an answer about the city.
    new = [(key, value) for key, value in facts if not (key and str(value).lower() in question.lower())] or facts
    plain = len(new) == 1 and not isinstance(new[0][1], bool)
    leads = _leads(question, " ".join(results), str(new[0][1]) if plain else None)
    parts = ' ( ", " | " and " ) '.join(_any(_forms(key, value, plain, question)) for key, value in new)
    end = "" if plain and str(new[0][1]).rstrip().endswith(("!", "?", ".")) else ' "."'
    return f"root ::= lead {parts}{end}\nlead ::= {_any(leads)}"


def readable(result: str) -> str:
    """A tool's result as a small model reads it best: names and values, without the signs of JSON."""
    return ", ".join(f"{key}: {_plain(value)}" if key else _plain(value) for key, value in _facts(result))


def spans(text: str, fewest: int = 1, most: int = 8) -> list[str]:
    """Every run of words in the text, the shorter first, without the punctuation around it."""
    words = text.split()[:MOST_WORDS]
    runs = [words[at : at + size] for size in range(fewest, most + 1) for at in range(len(words) - size + 1)]
    return list(dict.fromkeys(filter(None, (" ".join(run).strip("?!.,;:\"'()") for run in runs))))


def _is_asked(name: str, field: dict[str, Any], required: list[str], text: str) -> bool:
    """True if the field must be filled, or if the text speaks of it."""
    words = set(re.findall(r"\w+", text.lower()))
    values = [str(value).lower() for value in field.get("enum") or ()]
    return name in required or bool(words & {*name.lower().split("_"), *values})


def _narrowed(field: dict[str, Any], text: str) -> dict[str, Any]:
    for branch in field.get("anyOf") or ():
        if branch.get("type") != "null":
            return _narrowed(branch, text)
    if "enum" in field or "const" in field or "$ref" in field:
        return field
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
    match field.get("type"):
        case "string" if found := spans(text):
            return {"enum": found if len(text.split()) <= MOST_WORDS else [*found, text]}
        case "integer" if found := [each for each in numbers if "." not in each]:
            return {"enum": [int(each) for each in dict.fromkeys(found)]}
        case "number" if numbers:
            return {"enum": [float(each) if "." in each else int(each) for each in dict.fromkeys(numbers)]}
        case "array":
            return {"type": "array", "items": _narrowed(field.get("items") or {}, text), "minItems": 1, "maxItems": 8}
        case _:
            return field


def _facts(result: str) -> list[tuple[str, Any]]:
    """The values of a result, each with the name it stands under."""
    try:
        return _leaves("", json.loads(result))
    except ValueError:
        return [("", " ".join(result.split()))] if result.strip() else []


def _leaves(key: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, each in value.items() for leaf in _leaves(str(name).replace("_", " "), each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in _leaves(key, each)]
    return [] if value is None else [(key, value)]


def _leads(question: str, results: str, fact: str | None) -> list[str]:
    """How the sentence may begin: with a part of the question, or as it always may."""
    if BAD_NEWS.search(results):
        return ["That did not work: "]
    # A result that is a sentence of its own, or the beginning of one, needs no lead.
    if fact is not None and fact[:1].isupper() and " " in fact:
        return [""]
    about = [span for span in spans(question, fewest=2) if span.split()[0].lower() not in QUESTION_WORDS]
    opened = [span[0].upper() + span[1:] for span in about if span.split()[-1].lower() not in QUESTION_WORDS]
    if fact is None:
        return [*(f"{lead}: " for lead in opened), "Done: ", "The result: "]
    return [*(f"{lead} {verb} " for lead in opened for verb in ("is", "are")), "It is ", "Done: ", "The result is "]


def _forms(key: str, value: Any, plain: bool, question: str) -> list[str]:
    said = _plain(value)
    if not key or plain:
        return [said]
    if isinstance(value, bool):
        return [f"{key}: {said}"]
    named = [f"{key} {said}", f"{key} is {said}"]
    return [said, *named] if key.lower() in question.lower() else named


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _any(choices: list[str]) -> str:
    return f"( {' | '.join(json.dumps(each, ensure_ascii=False) for each in dict.fromkeys(choices))} )"


BAD_NEWS = re.compile(r"\b(error|failed|failure|rejected|denied|refused|exception|not found)\b", re.IGNORECASE)
QUESTION_WORDS = frozenset(
    re.findall(
        r"\S+",
        """a an and are can could did do does for give how i in is it me my of on please show tell that the
        this to was what what's when where which who who's will with would you your""",
    )
) - {"the", "this", "my", "your"}
