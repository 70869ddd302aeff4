"""What the model calls that this server committed have used, by model, since it started: for its metrics."""

from collections import Counter

from agentspan.core import events as e

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


class Spending:
    """`tokens` by model and kind; `dollars` and `calls` by model; `unpriced` calls have an unknown price."""

    def __init__(self) -> None:
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[str] = Counter()
        self.unpriced: Counter[str] = Counter()
        self.dollars: dict[str, float] = {}

    def add(self, events: list[e.Event]) -> None:
        """Count the model answers among committed events."""
        for event in events:
            output = event.fact.output if isinstance(event.fact, e.TaskCompleted) else None
            if not output or not isinstance(output.get("usage"), dict) or "model" not in output:
                continue
            model, cost = str(output["model"]), output.get("cost")
            self.calls[model] += 1
            self.unpriced[model] += cost is None
            self.dollars[model] = self.dollars.get(model, 0.0) + (cost or 0.0)
            for kind in TOKENS:
                self.tokens[model, kind.removesuffix("_tokens")] += output["usage"].get(kind, 0)
