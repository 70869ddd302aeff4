"""Alerts and the dashboard ask for what a server tells, and each alert has an entry in the runbook."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from agentspan.server.metrics import BY_NAME, Family

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deployment" / "observability"
RUNBOOK = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SUFFIXES = ("_bucket", "_count", "_sum", "_total")
SCRAPED = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
"""What Prometheus and the process collector add."""
ADDED = {"instance", "job", "tenant", "le"}
PARTS = ("What it means.", "How to look.", "What to do.", "When to wake somebody.")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PLACE / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Where each query stands, and its text as Prometheus gets it."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    board = json.loads((PLACE / "grafana" / "agentspan.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", filled(target["expr"])


def filled(query: str) -> str:
    """A query of the dashboard with its variables filled in."""
    for name, value in {"$__rate_interval": "5m", "$instance": ".*", "$tenant": ".*"}.items():
        query = query.replace(name, value)
    return query


def selectors(node: Any) -> Iterator[Any]:
    """Every series that a query asks for."""
    match type(node).__name__:
        case "VectorSelector":
            yield node
        case "MatrixSelector":
            yield node.vector_selector
        case "BinaryExpr":
            yield from selectors(node.lhs)
            yield from selectors(node.rhs)
        case "Call":
            for each in node.args:
                yield from selectors(each)
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            yield from selectors(node.expr)
        case "NumberLiteral" | "StringLiteral":
            pass
        case other:
            raise AssertionError(f"not known here: {other}")


def groupings(node: Any) -> Iterator[str]:
    """The labels by which a query groups."""
    if type(node).__name__ == "AggregateExpr" and node.modifier:
        yield from node.modifier.labels
    for name in ("lhs", "rhs", "expr"):
        if (below := getattr(node, name, None)) is not None:
            yield from groupings(below)
    for each in getattr(node, "args", ()):
        yield from groupings(each)


def family(name: str) -> Family | None:
    """The family that a series belongs to."""
    for stem in (name, *(name.removesuffix(each) for each in SUFFIXES)):
        found = BY_NAME.get(stem)
        if found and name in shown(found):
            return found
    return None


def shown(found: Family) -> set[str]:
    if found.kind == "histogram":
        return {f"{found.name}{each}" for each in ("_bucket", "_count", "_sum")}
    return {found.shown}


@pytest.mark.parametrize(("place", "query"), list(queries()))
def test_each_query_asks_for_what_there_is(place: str, query: str) -> None:
    tree = promql_parser.parse(query)
    asked = list(selectors(tree))
    assert asked
    known = set(ADDED)
    for each in asked:
        found = family(each.name)
        assert found or each.name in SCRAPED, f"{place} asks for {each.name}"
        labels = set(found.labels if found else ()) | ADDED
        assert {matcher.name for matcher in each.matchers.matchers} <= labels, f"{place}: labels of {each.name}"
        known |= labels
    assert set(groupings(tree)) <= known, place


def test_the_dashboard_shows_every_metric() -> None:
    trees = [promql_parser.parse(query) for place, query in queries() if place.startswith("panel")]
    asked = {each.name for tree in trees for each in selectors(tree)}
    used = {found.name for name in asked if (found := family(name))}
    assert sorted(BY_NAME.keys() - used) == []


def test_the_dashboard_fits_its_grid() -> None:
    panels = json.loads((PLACE / "grafana" / "agentspan.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells
        assert panel["type"] == "row" or panel["description"]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_how_grave_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert (ROOT / page).exists()
    assert anchor == rule["alert"].lower()
    entry = re.search(rf"^### {rule['alert']}\n(.*?)(?=^### |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert entry, f"no entry for {rule['alert']}"
    assert [part for part in PARTS if f"- **{part}** " not in entry[1]] == []


def test_the_runbook_has_no_entry_for_what_is_no_alert() -> None:
    entries = re.findall(r"^### (Agentspan\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(entries) == sorted(rule["alert"] for rule in alerts())


def test_prometheus_reads_its_credentials_from_a_file_and_the_alerts_beside_it() -> None:
    config = yaml.safe_load((PLACE / "prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    assert job["authorization"]["credentials_file"].startswith("/")
    assert "credentials" not in job["authorization"]
    assert config["rule_files"] == ["alerts.yml"]
    text = (PLACE / "prometheus.yml").read_text() + (PLACE / "alerts.yml").read_text()
    assert "password" not in text.lower()
