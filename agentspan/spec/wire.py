"""agentConfig JSON to AgentSpec and back, and the digest by which a spec is known."""

import hashlib
from typing import Any

import msgspec

from agentspan.errors import InvalidSpec
from agentspan.spec.agent import AgentSpec

ALWAYS_PRESENT = {"maxTurns": "max_turns", "timeoutSeconds": "timeout_seconds", "external": "external"}
"""Keys that clients expect even at their default."""


def decode(config: Any) -> AgentSpec:
    """An AgentSpec from agentConfig JSON. Unknown keys are ignored; a wrong type raises InvalidSpec with its path."""
    if not isinstance(config, dict):
        raise InvalidSpec(f"agentConfig must be a JSON object, got {type(config).__name__}")
    try:
        return msgspec.convert(_without_nulls(config), AgentSpec, strict=False)
    except msgspec.ValidationError as problem:
        raise InvalidSpec(f"agentConfig of {config.get('name') or 'an unnamed agent'!r}: {problem}") from problem


def encode(spec: AgentSpec) -> dict[str, Any]:
    """The agentConfig JSON of a spec: defaults left out, but for the keys that clients always read."""
    config: dict[str, Any] = msgspec.to_builtins(spec)
    for key, field in ALWAYS_PRESENT.items():
        config[key] = getattr(spec, field)
    for tool, each in zip(spec.tools, config.get("tools", ()), strict=False):
        each["toolType"] = tool.tool_type
    if spec.agents:
        config["strategy"] = spec.strategy
        config["agents"] = [encode(agent) for agent in spec.agents]
    return config


def dump(spec: AgentSpec) -> bytes:
    """The one byte form of a spec, the same in every process.

    Keys stay in the order in which they were written: it is the order in which a model reads a schema, and fills it.
    """
    return msgspec.json.encode(spec)


def load(data: bytes) -> AgentSpec:
    """The spec of `dump`."""
    return msgspec.json.decode(data, type=AgentSpec)


def digest(spec: AgentSpec) -> str:
    """SHA-256 of the byte form, in hexadecimal: the spec's address."""
    return hashlib.sha256(dump(spec)).hexdigest()


def _without_nulls(value: Any) -> Any:
    """The peer's clients send null for what is not set."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    return value if not isinstance(value, list) else [_without_nulls(each) for each in value]
