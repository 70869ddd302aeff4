"""No version that is known to be bad is installed or may be. `make audit` asks the index as well."""

import importlib.util
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
assert SPEC
assert SPEC.loader
audit = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(audit)


def requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(each) for listed in lists for each in listed]


def test_nothing_that_is_known_to_be_bad_is_installed() -> None:
    assert list(audit.known()) == []


def test_the_list_is_sound() -> None:
    entries = list(audit.bad())
    assert len(entries) > 5
    assert all(versions and why for _, versions, why in entries)


def test_nothing_that_is_known_to_be_bad_may_be_installed() -> None:
    """The versions at the edges of what is bad, against what is asked for."""
    edges = {
        (name, Version(each.version)) for name, versions, _ in audit.bad() for each in versions if each.operator == "=="
    }
    allowed = [
        f"{each} allows {version}"
        for each in requirements()
        for name, version in edges
        if each.name.lower() == name and each.specifier.contains(version)
    ]
    assert allowed == []


def test_what_is_bad_below_a_version_is_below_our_floor() -> None:
    limits = {name: Version(each.version) for name, specs, _ in audit.bad() for each in specs if each.operator == "<"}
    low = []
    for each in requirements():
        floors = [Version(spec.version) for spec in each.specifier if spec.operator == ">="]
        if floors and each.name.lower() in limits and max(floors) < limits[each.name.lower()]:
            low.append(f"{each} allows less than {limits[each.name.lower()]}")
    assert low == []
