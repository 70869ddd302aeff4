"""What a run may use before it is ended; more can be given afterwards."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from agentspan.agents.showing import Shown

Json = dict[str, Any]


@dataclass(frozen=True)
class Budget(Shown):
    """Limits of a whole run, all its sub-agents included; None for no limit.

    `cost` in US dollars; `tokens` of all model calls; `model_calls` and `tool_calls` counted; `seconds` from its start.
    """

    cost: float | None = None
    tokens: int | None = None
    model_calls: int | None = None
    tool_calls: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = {name: limit for name, limit in vars(self).items() if limit is not None}
        if not given:
            raise ValueError(f"a budget needs at least one of {', '.join(NAMES)}")
        for name, limit in given.items():
            kinds, what = ((int, float), "a number") if name in FRACTIONS else ((int,), "a whole number")
            if isinstance(limit, bool) or not isinstance(limit, kinds):
                raise TypeError(f"budget: {name} must be {what}, got {limit!r}")
            if not 0 <= limit < math.inf:
                raise ValueError(f"budget: {name} must be 0 or more, got {limit!r}")

    @classmethod
    def of(cls, given: "Budget | Mapping[str, Any]") -> "Budget":
        """The Budget of a Budget, or of a dict of its fields in either spelling; TypeError names what is unknown."""
        if isinstance(given, Budget):
            return given
        if not isinstance(given, Mapping):
            raise TypeError(f"budget must be a Budget or a dict, got {type(given).__name__}")
        known = {wire: name for name, wire in NAMES.items()} | {name: name for name in NAMES}
        if unknown := [str(key) for key in given if key not in known]:
            raise TypeError(f"budget: unknown limit {', '.join(unknown)}; there are {', '.join(NAMES)}")
        return cls(**{known[key]: limit for key, limit in given.items()})

    def to_config(self) -> Json:
        """The budget on the wire."""
        return {NAMES[name]: limit for name, limit in vars(self).items() if limit is not None}


NAMES = {field.name: field.name.replace("_c", "C") for field in fields(Budget)}
"""The wire's name of each limit."""

FRACTIONS = ("cost", "seconds")
"""The limits that need not be whole."""
