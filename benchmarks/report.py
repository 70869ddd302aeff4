"""Figures, the table of them, and the file they are kept in."""

import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results") / "latest.json"


@dataclass(frozen=True)
class Figure:
    """One line: the values of all rounds. `most` and `least` are the target, if there is one."""

    name: str
    values: Sequence[float]
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def target(self) -> str:
        if self.least is not None:
            return f">= {_number(self.least)}"
        return f"<= {_number(self.most)}" if self.most is not None else ""

    @property
    def met(self) -> bool | None:
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.median >= self.least) and (self.most is None or self.median <= self.most)

    def line(self) -> str:
        spread = f"{_number(min(self.values))} .. {_number(max(self.values))}" if len(self.values) > 1 else ""
        verdict = {None: "", True: "yes", False: "NO"}[self.met]
        value = f"{_number(self.median)} {self.unit}"
        return f"  {self.name:<62} {value:>16}  {spread:<18} {self.target:<9} {verdict}".rstrip()


class Report:
    """Prints each figure as it comes, and keeps all of them."""

    def __init__(self) -> None:
        self._sections: dict[str, list[Figure]] = {}

    def begin(self, section: str) -> None:
        self._sections[section] = []
        print(f"\n{section}\n  {'':<62} {'median':>16}  {'range':<18} {'target':<9} met")

    def add(self, *figures: Figure) -> None:
        for figure in figures:
            next(reversed(self._sections.values())).append(figure)
            print(figure.line(), flush=True)

    def write(self, options: dict[str, Any]) -> None:
        RESULTS.parent.mkdir(exist_ok=True)
        sections = {
            section: [
                {
                    "name": f.name,
                    "unit": f.unit,
                    "median": f.median,
                    "values": f.values,
                    "target": f.target,
                    "met": f.met,
                }
                for f in figures
            ]
            for section, figures in self._sections.items()
        }
        load = round(os.getloadavg()[1], 1)
        about = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "python": sys.version.split()[0], "load": load}
        RESULTS.write_text(json.dumps({**about, "options": options, "sections": sections}, indent=1) + "\n")
        print(f"\nwritten to {RESULTS}; the machine's load was {load} on {os.cpu_count()} cores")


def ratios(name: str, over: Sequence[float], under: Sequence[float], **target: float) -> Figure:
    """One figure over another, round by round."""
    return Figure(name, [a / b for a, b in zip(over, under, strict=True)], "x", **target)


def percentile(values: Sequence[float], percent: int) -> float:
    """nan if there are none."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def _number(value: float | None) -> str:
    if value is None or value != value:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
