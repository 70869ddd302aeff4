"""Kubernetes manifests as data: rendered by helm and kustomize, and held against the schemas of what they describe."""

import functools
import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from tests.deployment import tools

Json = dict[str, Any]
OLDEST, NEWEST = "1.27", "1.37"

# A resource of an operator: the module of its models.
MODELS = {
    "keda.sh/v1alpha1": "cloudcoil.models.keda.v1alpha1",
    "monitoring.coreos.com/v1": "cloudcoil.models.prometheus_operator.v1",
}


def parsed(text: str) -> list[Json]:
    return [each for each in yaml.safe_load_all(text) if each]


def helm(*words: str, chart: Path, fails: bool = False) -> str:
    """What helm prints; with `fails`, what it complains of."""
    done = subprocess.run([tools.helm(), *words[:1], "trial", str(chart), *words[1:]], capture_output=True, text=True)
    assert bool(done.returncode) == fails, done.stderr + done.stdout
    return done.stderr if fails else done.stdout


def kustomize(folder: Path) -> list[Json]:
    done = subprocess.run([tools.kubectl(), "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return parsed(done.stdout)


def check(manifest: Json, version: str) -> None:
    """Raise ValidationError or ValueError unless it is what that version of Kubernetes, or the operator, knows."""
    if (module := MODELS.get(manifest["apiVersion"])) is not None:
        model = getattr(importlib.import_module(module), manifest["kind"])
        known = model.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_unset=True)
        if unknown := _lost(manifest, known):
            raise ValueError(f"{manifest['kind']} has no {unknown}")
        return
    group, _, api = manifest["apiVersion"].rpartition("/")
    name = "-".join(filter(None, (manifest["kind"].lower(), group.partition(".")[0], api)))
    jsonschema.Draft7Validator(_schema(version, f"{name}.json"), registry=_registry(version)).validate(manifest)


def _lost(given: Any, kept: Any, path: str = "") -> str:
    """Where in what was given the first thing is that was not kept."""
    if isinstance(given, dict):
        for key, value in given.items():
            if key not in kept:
                return f"{path}.{key}"
            if found := _lost(value, kept[key], f"{path}.{key}"):
                return found
    elif isinstance(given, list):
        return next(filter(None, map(_lost, given, kept, (f"{path}[{n}]" for n in range(len(given))))), "")
    return ""


@functools.cache
def _schema(version: str, name: str) -> Json:
    path = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/{name}"
    schema: Json = json.loads(tools.schemas().read(path))
    return schema


@functools.cache
def _registry(version: str) -> Registry[Json]:
    def retrieve(uri: str) -> Resource[Json]:
        return Resource.from_contents(_schema(version, uri.rpartition("/")[2]), default_specification=DRAFT7)

    return Registry(retrieve=retrieve)  # type: ignore[call-arg]


# What is in them


def pods(manifests: list[Json]) -> list[tuple[str, Json, Json]]:
    """Name, labels and spec of every kind of pod."""
    found = []
    for each in manifests:
        if each["kind"] == "Pod":
            found.append((each["metadata"]["name"], each["metadata"]["labels"], each["spec"]))
        elif template := each.get("spec", {}).get("template"):
            name = each["metadata"].get("name") or each["metadata"]["generateName"]
            found.append((name, template["metadata"]["labels"], template["spec"]))
    return found


def of_kind(manifests: list[Json], *kinds: str) -> list[Json]:
    return [each for each in manifests if each["kind"] in kinds]


def named(manifests: list[Json], kind: str, name: str) -> Json:
    (found,) = (each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name)
    return found


def selects(selector: Json, labels: Json) -> bool:
    """Whether a label selector fits."""
    holds = {
        "In": lambda rule: labels.get(rule["key"]) in rule["values"],
        "NotIn": lambda rule: labels.get(rule["key"]) not in rule["values"],
    }
    wanted = selector.get("matchLabels", {})
    return all(labels.get(name) == value for name, value in wanted.items()) and all(
        holds[rule["operator"]](rule) for rule in selector.get("matchExpressions", [])
    )


def environment(container: Json, manifests: list[Json]) -> dict[str, str]:
    """The variables of a container; of what is in a Secret, where it is."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if reference := source.get("configMapRef"):
            found |= named(manifests, "ConfigMap", reference["name"])["data"]
    for each in container.get("env", []):
        reference = each.get("valueFrom", {}).get("secretKeyRef", {})
        found[each["name"]] = each.get("value") or f"{reference['name']}/{reference['key']}"
    return found
