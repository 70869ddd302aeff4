"""Scripted models: answers that are written down beforehand, for notebooks, examples and tests."""

import json
import os
import re
import tempfile
from typing import Any

from agentspan.client.launch import scripts_folder


def scripted_model(name: str, answers: list[Any]) -> str:
    """Write a script for the local server, and return what to call it: `Agent(model=scripted_model("NAME", [...]))`.

    The model gives its answers in order, one for each turn. An answer is a text, or an object such as `{"tool_calls":
    [{"name": "add", "arguments": {"a": 1, "b": 2}}]}`; in its texts, `{result}` stands for the last tool's result.
    A script that exists is replaced.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(f"a script's name consists of letters, digits, '_', '.' and '-', got {name!r}")
    text = json.dumps({name: answers}, indent=2)
    folder = scripts_folder()
    folder.mkdir(parents=True, exist_ok=True)
    # All at once: a server may be reading it.
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=f".{name}.", encoding="utf-8", delete=False) as draft:
        draft.write(text)
    os.replace(draft.name, folder / f"{name}.json")
    return f"scripted/{name}"
