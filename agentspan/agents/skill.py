"""Skills: agents read from a folder with a SKILL.md. This version cannot load them and says so."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentspan.agents.exceptions import SkillLoadError, unbuilt

if TYPE_CHECKING:
    from agentspan.agents.agent import Agent

__all__ = ["SkillLoadError", "format_prompt_with_params", "format_skill_params", "load_skills", "skill"]


def skill(
    path: str | Path,
    model: str = "",
    agent_models: Mapping[str, str] | None = None,
    search_path: list[str | Path] | None = None,
    params: Mapping[str, Any] | None = None,
) -> "Agent":
    """The agent that the folder `path` describes."""
    raise unbuilt("Loading a skill")


def load_skills(
    path: str | Path, model: str = "", agent_models: Mapping[str, Mapping[str, str]] | None = None
) -> "dict[str, Agent]":
    """All skills below `path`, by folder name."""
    raise unbuilt("Loading skills")


def format_skill_params(params: Mapping[str, Any]) -> str:
    """Parameters as lines for a SKILL.md."""
    raise unbuilt("Skill parameters")


def format_prompt_with_params(prompt: str, params: Mapping[str, Any]) -> str:
    """A prompt with parameters before it."""
    raise unbuilt("Skill parameters")
