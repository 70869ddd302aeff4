"""When a person must approve a tool call, whom to ask, and what happens when nobody answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentspan.agents.showing import Shown
from agentspan.spec.rules import COMPARISONS

Json = dict[str, Any]

DEFAULTS = ("reject", "approve")


@dataclass(frozen=True)
class ApprovalPolicy(Shown):
    """`@tool(approval_required=ApprovalPolicy(...))`.

    `when`: nothing for every call; conditions on the arguments as data, `("amount", ">", 100)` or
    `{"argument": "amount", "op": ">", "value": 100}`, of which any asks (inside another: `"order.total"`);
    or a function of the arguments that says whether to ask. `deadline_seconds`: how long to wait for an answer, then
    `on_deadline` ("reject" or "approve") counts. `to`: whom to ask. `escalation`: whom to ask later,
    `[{"to": ["boss"], "after_seconds": 600}]`. `requester_may_not_approve`: who started the run (see `by` of
    `approve`) may not say yes. `audit`: nobody is asked; what would have been asked is kept with the run.
    """

    when: Sequence[Any] | Callable[..., Any] | None = None
    deadline_seconds: float | None = None
    on_deadline: str = "reject"
    escalation: Sequence[Mapping[str, Any]] = ()
    to: str | Sequence[str] = ()
    requester_may_not_approve: bool = False
    audit: bool = False

    def __post_init__(self) -> None:
        if self.on_deadline not in DEFAULTS:
            raise ValueError(f"on_deadline must be 'reject' or 'approve', got {self.on_deadline!r}")
        if self.deadline_seconds is not None and not self.deadline_seconds > 0:
            raise ValueError(f"deadline_seconds must be more than 0, got {self.deadline_seconds!r}")
        object.__setattr__(self, "to", people(self.to))
        object.__setattr__(self, "escalation", tuple(_step(each) for each in self.escalation))
        if self.when is not None and not callable(self.when):
            object.__setattr__(self, "when", tuple(_condition(each) for each in self.when))

    @classmethod
    def of(cls, value: object) -> "ApprovalPolicy | None":
        """The policy of `approval_required=`: True, a predicate or a policy; None for False."""
        if isinstance(value, ApprovalPolicy):
            return value
        if callable(value):
            return cls(when=value)
        if not isinstance(value, bool):
            raise TypeError(
                f"approval_required must be a bool, a function or an ApprovalPolicy, got {type(value).__name__}"
            )
        return cls() if value else None

    @property
    def predicate(self) -> Callable[..., Any] | None:
        """The function that says whether to ask, if there is one."""
        return self.when if callable(self.when) else None

    @property
    def arguments(self) -> list[str]:
        """The arguments of the tool that the conditions look at."""
        conditions = () if self.when is None or callable(self.when) else self.when
        return [str(each["argument"]).partition(".")[0] for each in conditions]

    def to_config(self, tool_name: str) -> Json | None:
        """The policy on the wire, for the tool of that name; None if it only says that a person is asked."""
        config: Json = {}
        if self.predicate is not None:
            config["taskName"] = f"{tool_name}_approval"
        elif self.when is not None and not callable(self.when):
            config["when"] = [dict(each) for each in self.when]
        if self.deadline_seconds is not None:
            config.update(deadlineSeconds=self.deadline_seconds, onDeadline=self.on_deadline)
        if self.to:
            config["to"] = list(self.to)
        if self.escalation:
            config["escalation"] = [dict(each) for each in self.escalation]
        if self.requester_may_not_approve:
            config["requesterMayNotApprove"] = True
        if self.audit:
            config["audit"] = True
        return config or None


def people(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Whom to ask, from one name or several."""
    names = (given,) if isinstance(given, str) else tuple(given or ())
    if wrong := next((each for each in names if not isinstance(each, str) or not each), None):
        raise ValueError(f"`to` must be names, got {wrong!r}")
    return names


def _condition(given: Any) -> Json:
    """A condition as data, from a dict or a triple."""
    if isinstance(given, Mapping):
        each = dict(given)
    elif isinstance(given, (tuple, list)) and len(given) == 3:
        each = dict(zip(("argument", "op", "value"), given, strict=True))
    else:
        raise ValueError(f'a condition must be ("argument", "op", value), got {given!r}')
    if not isinstance(each.get("argument"), str) or set(each) - {"argument", "op", "value"}:
        raise ValueError(f"a condition has the keys argument, op and value, got {given!r}")
    if each.get("op") not in COMPARISONS:
        raise ValueError(f"op must be one of {' '.join(COMPARISONS)}, got {each.get('op')!r}")
    return {"argument": each["argument"], "op": each["op"], "value": each.get("value")}


def _step(given: Mapping[str, Any]) -> Json:
    """A step of an escalation as data."""
    after = given.get("after_seconds", given.get("afterSeconds"))
    to = people(given.get("to"))
    if not to or isinstance(after, bool) or not isinstance(after, (int, float)) or not after > 0:
        raise ValueError(f'a step of an escalation is {{"to": [...], "after_seconds": 600}}, got {dict(given)!r}')
    return {"to": list(to), "afterSeconds": after}
