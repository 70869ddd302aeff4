"""An agentConfig as Python code: what Agent and `@tool` say again, with stand-ins for the functions.

The code is tried out when it is made, so who gets it knows whether it says all of the definition.
"""

import json
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pprint import pformat
from typing import Any

from agentspan.agents.agent import Agent
from agentspan.agents.serialize import config_of

Json = dict[str, Any]

WIDTH = 110


@dataclass
class Code:
    """The code of an agent: `tools` (functions and ToolDefs), then `agents`, the last of which is `name`.

    `functions`: the tools that can be called there, by their names on the wire. `left_out`: what of the definition the
    code does not say. `is_whole`: the code makes the very definition.
    """

    name: str
    imports: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    is_whole: bool = False

    @property
    def text(self) -> str:
        """All of it."""
        head = f"from agentspan.agents import {', '.join(sorted(set(self.imports)))}"
        if typing := [each for each in ("Any", "Literal") if any(re.search(rf"\b{each}\b", t) for t in self.tools)]:
            head = f"from typing import {', '.join(typing)}\n\n{head}"
        return "\n\n\n".join(["\n\n\n".join([head, *self.tools]), "\n\n".join(self.agents)])


def as_code(config: Json, *, stand_in: str = "...") -> Code:
    """The code of a definition. `stand_in`: what a tool's function does; `{name}`, `{arguments}` stand for its own."""
    code = Code("", ["Agent"])
    code.name = _agent(code, config, stand_in, set())
    code.is_whole = not code.left_out and _makes(code, config)
    return code


def _agent(code: Code, config: Json, stand_in: str, taken: set[str]) -> str:
    """Write an agent and all below it; gives its variable."""
    below = [_agent(code, each, stand_in, taken) for each in config.get("agents") or ()]
    tools = [_tool(code, each, stand_in, taken) for each in config.get("tools") or ()]
    given_keys = [key for key in PARAMETERS if _says(config, key) and not _is_made(config, key)]
    given = {PARAMETERS[key]: repr(config[key]) for key in given_keys}
    given |= {"tools": f"[{', '.join(tools)}]"} if tools else {}
    given |= {"agents": f"[{', '.join(below)}]"} if below else {}
    told = {"tools", "agents", "external", *(key for key in PARAMETERS if key in given_keys)}
    code.left_out += [_words(key) for key in config if key not in told and _says(config, key)]
    variable = _free(config["name"], taken, "agent")
    lines = [f"    {name}={value}," for name, value in given.items()]
    code.agents.append("\n".join([f"{variable} = Agent(", *lines, ")"]))
    return variable


def _tool(code: Code, config: Json, stand_in: str, taken: set[str]) -> str:
    """Write a tool; gives what stands for it in `tools=`."""
    kind = config.get("toolType") or "worker"
    if kind == "agent_tool":
        return _agent_tool(code, config, stand_in, taken)
    name = str(config["name"])
    unknown = [key for key in config if key not in (*TOOL, *OPTIONS, *OF_THE_SOURCE) and _says(config, key)]
    code.left_out += [f"the {_words(key)} of the tool {name}" for key in unknown]
    variable = _free(name, taken, "tool")
    if kind != "worker":
        code.imports.append("ToolDef")
        code.tools.append(_definition(variable, config, kind))
        return variable
    code.functions[name] = variable
    written = _function(variable, config, stand_in)
    if written is not None and _same_tool(written, variable, config):
        code.imports.append("tool")
        code.tools.append(written)
        return variable
    code.imports.append("ToolDef")
    body = stand_in.format(name=name, arguments="**arguments")
    code.tools.append(f"def {variable}(**arguments):\n    {body}")
    described = _free(f"{variable}_tool", taken, "tool")
    code.tools.append(_definition(described, config, kind, func=variable))
    return described


def _agent_tool(code: Code, config: Json, stand_in: str, taken: set[str]) -> str:
    inner = config.get("config") or {}
    child = _agent(code, inner.get("agentConfig") or {"name": config["name"]}, stand_in, taken)
    code.imports.append("agent_tool")
    given = {"name": config.get("name"), "description": config.get("description")}
    given |= {"retry_count": inner.get("retryCount"), "retry_delay_seconds": inner.get("retryDelaySeconds")}
    told = "".join(f", {key}={value!r}" for key, value in given.items() if value is not None)
    return f"agent_tool({child}{told})"


def _function(variable: str, config: Json, stand_in: str) -> str | None:
    """A tool as a function with a signature; None if its schema says more than a signature can."""
    schema = config.get("inputSchema") or {}
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    if any(not _is_name(each) for each in properties):
        return None
    ordered = sorted(properties, key=lambda each: each not in required)
    parameters = [_parameter(each, properties[each], each in required) for each in ordered]
    returns = _hint(config.get("outputSchema")) if config.get("outputSchema") else None
    options = {name: repr(config[key]) for key, name in OPTIONS.items() if _says(config, key)}
    options |= {} if variable == config["name"] else {"name": repr(config["name"])}
    head = f"@tool({', '.join(f'{key}={value}' for key, value in options.items())})" if options else "@tool"
    arrow = f" -> {returns}" if returns else ""
    body = stand_in.format(name=config["name"], arguments=", ".join(f"{each}={each}" for each in ordered))
    lines = [head, f"def {variable}({', '.join(parameters)}){arrow}:", *_docstring(config.get("description") or "")]
    return "\n".join([*lines, f"    {body}"])


def _parameter(name: str, schema: Json, is_required: bool) -> str:
    hint = _hint(schema)
    told = f"{name}: {hint}" if hint else name
    return told if is_required else f"{told} = {schema.get('default')!r}"


def _hint(schema: Any) -> str:
    """The type of a schema; "" where there is none to write."""
    if not isinstance(schema, Mapping):
        return ""
    if options := schema.get("anyOf"):
        hints = [_hint(each) for each in options]
        return " | ".join(hints) if all(hints) else ""
    if values := schema.get("enum"):
        return f"Literal[{', '.join(map(repr, values))}]"
    if schema.get("type") == "object" and "additionalProperties" in schema:
        inner = schema["additionalProperties"]
        hint = "Any" if inner in ({}, True) else _hint(inner)
        return f"dict[str, {hint}]" if hint else ""
    if schema.get("type") == "array":
        inner = _hint(schema.get("items"))
        return f"list[{inner}]" if inner else "list"
    return HINTS.get(str(schema.get("type")), "")


def _docstring(text: str) -> list[str]:
    if not text:
        return []
    lines = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("\\n", "\n").split("\n")
    lines = [line.replace('"""', '\\"\\"\\"') for line in lines]
    if len(lines) == 1 and not lines[0].endswith(('"', "\\")):
        return [f'    """{lines[0]}"""']
    return [f'    """{lines[0]}', *(f"    {line}".rstrip() for line in lines[1:]), '    """']


def _definition(variable: str, config: Json, kind: str, func: str = "") -> str:
    """A tool as a ToolDef."""
    given: Json = {"name": config["name"], "description": config.get("description") or ""}
    given |= {"input_schema": config.get("inputSchema") or {}, "output_schema": config.get("outputSchema") or {}}
    given |= {} if kind == "worker" else {"tool_type": kind, "config": config.get("config") or {}}
    given |= {name: config[key] for key, name in OPTIONS.items() if _says(config, key)}
    lines = [f"    {key}={_literal(value)}," for key, value in given.items() if value not in ("", {})]
    lines += [f"    func={func},"] if func else []
    return "\n".join([f"{variable} = ToolDef(", *lines, ")"])


def _same_tool(written: str, variable: str, config: Json) -> bool:
    """Does the function say what the definition says?"""
    code = Code("probe", ["Agent", "tool"], [written], [f"probe = Agent('probe', 'a/b', tools=[{variable}])"])
    return _makes(code, {"name": "probe", "model": "a/b", "tools": [config]})


def _makes(code: Code, config: Json) -> bool:
    """Does the code make this definition?"""
    names: Json = {"__name__": f"{__name__}.tried"}
    try:
        exec(compile(code.text, "<agent>", "exec"), names)
        made = config_of(names[code.name])
    except Exception:  # code that cannot be run does not say it
        return False
    return isinstance(names[code.name], Agent) and _plain(made) == _plain(config)


def _plain(config: Json) -> Json:
    """A definition without what is the same said otherwise, and without what its source was."""
    kept = {key: value for key, value in config.items() if key not in OF_THE_SOURCE and _says(config, key)}
    for key in ("tools", "agents"):
        if key in kept:
            kept[key] = [_plain(each) for each in kept[key]]
    if isinstance(kept.get("config"), dict):
        kept["config"] = {
            key: _plain(value) if key == "agentConfig" else value
            for key, value in kept["config"].items()
            if key not in OF_THE_SOURCE
        }
    return {key: value for key, value in kept.items() if value not in ({}, [], "", None)}


def _says(config: Json, key: str) -> bool:
    """Is it more than a default?"""
    value = config.get(key)
    return value is not False and value not in (None, "", [], {}) and value != DEFAULTS.get(key)


def _is_made(config: Json, key: str) -> bool:
    """Is it not the value itself, but how it is made?"""
    return key == "instructions" and not isinstance(config[key], str)


def _free(name: str, taken: set[str], otherwise: str) -> str:
    """A variable for a name, that is none yet."""
    wanted = re.sub(r"\W", "_", name)
    wanted = wanted if _is_name(wanted) and wanted not in RESERVED else f"{otherwise}_{wanted}"
    found, number = wanted, 2
    while found in taken:
        found, number = f"{wanted}_{number}", number + 1
    taken.add(found)
    return found


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)


def _literal(value: Any) -> str:
    return pformat(value, width=WIDTH, sort_dicts=False).replace("\n", "\n    ")


def _words(key: str) -> str:
    """outputType: output type."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", key).lower()


def left_out(keys: Iterable[str]) -> str:
    """What is not told, as words."""
    return ", ".join(dict.fromkeys(keys))


PARAMETERS = {
    "name": "name",
    "model": "model",
    "instructions": "instructions",
    "strategy": "strategy",
    "maxTurns": "max_turns",
    "maxTokens": "max_tokens",
    "temperature": "temperature",
    "timeoutSeconds": "timeout_seconds",
    "introduction": "introduction",
    "description": "description",
    "metadata": "metadata",
    "reasoningEffort": "reasoning_effort",
    "requiredTools": "required_tools",
    "allowedTransitions": "allowed_transitions",
    "includeContents": "include_contents",
    "baseUrl": "base_url",
    "budget": "budget",
    "width": "width",
    "failFast": "fail_fast",
    "contextWindowBudget": "context_window_budget",
    "synthesize": "synthesize",
    "maskedFields": "masked_fields",
    "credentials": "credentials",
    "fallbackMaxTurns": "fallback_max_turns",
}
"""What of an agentConfig is a parameter of Agent as it is."""

OPTIONS = {
    "approvalRequired": "approval_required",
    "timeoutSeconds": "timeout_seconds",
    "stateful": "stateful",
    "maxCalls": "max_calls",
    "retryCount": "retry_count",
    "retryDelaySeconds": "retry_delay_seconds",
    "retryLogic": "retry_policy",
}
"""What of a tool's definition is a parameter of `@tool` as it is."""

TOOL = ("name", "description", "inputSchema", "outputSchema", "toolType", "config")
"""What else is told of a tool."""

HINTS = {
    "string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "dict", "null": "None",
}  # fmt: skip
DEFAULTS = {"maxTurns": 25, "timeoutSeconds": 0.0, "toolType": "worker"}
OF_THE_SOURCE = ("sourceDigest", "digest", "deployed")
RESERVED = ("Agent", "ToolDef", "agent_tool", "tool", "recorded", "tape", "file", "agent")
