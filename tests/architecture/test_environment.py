"""environment.yml asks conda for what pyproject.toml asks pip for: the same packages, the same versions."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = ("server", "dashboard", "notebook")
# conda has no extras: what they bring has names of its own there.
FOR_EXTRAS = {
    ("sqlalchemy", "asyncio"): {"greenlet"},
    ("psycopg", "binary"): {"psycopg-c"},
    ("psycopg", "pool"): {"psycopg-pool"},
}
CONDA_ALONE = {"python", "pip"}


def asked_of_pip() -> tuple[dict[str, SpecifierSet], set[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    brought = {name for each in requirements for extra in each.extras for name in FOR_EXTRAS[each.name, extra]}
    return {canonicalize_name(each.name): each.specifier for each in requirements}, brought


def for_pip(dependencies: list[str | dict[str, list[str]]]) -> list[str]:
    return [line for each in dependencies if isinstance(each, dict) for line in each["pip"]]


def asked_of_conda() -> dict[str, SpecifierSet]:
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    specs = [line for line in dependencies if isinstance(line, str)]
    specs += [line for line in for_pip(dependencies) if not line.startswith("-")]
    asked = {}
    for spec in specs:
        name, versions = re.fullmatch(r"([\w.-]+)\s*(.*)", spec).groups()
        asked[canonicalize_name(name)] = SpecifierSet(versions)
    return asked


def test_conda_is_asked_for_the_packages_and_versions_that_pip_is():
    packages, brought = asked_of_pip()
    conda = asked_of_conda()
    assert {name: versions for name, versions in conda.items() if name not in CONDA_ALONE | brought} == packages
    assert brought <= conda.keys()


def test_conda_is_asked_for_the_same_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert asked_of_conda()["python"] == SpecifierSet(project["requires-python"])


def test_the_project_itself_is_installed_last():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert for_pip(dependencies)[-1] == "-e ."
