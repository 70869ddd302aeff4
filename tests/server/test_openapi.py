"""The description says what there is, all of it, and nothing else."""

import re
import subprocess
import sys

import jsonschema

from agentspan.server import openapi, routes
from agentspan.server.openapi import OPERATIONS, describe, verbs
from agentspan.server.unbuilt import UNBUILT

ALL = [*routes.ROUTES, *openapi.ROUTES]
ROUTED = {f"{verb.upper()} {route.path}" for route in ALL for verb, _ in verbs(route.handler)}


def test_every_route_is_described_and_every_description_routed():
    assert OPERATIONS.keys() == ROUTED


def test_nothing_is_both_built_and_not_built():
    assert not ROUTED & UNBUILT.keys()


def test_every_operation_has_a_sentence():
    for path, operations in describe(ALL)["paths"].items():
        for verb, operation in operations.items():
            assert re.fullmatch(r"[A-Z][\s\S]*[.]|Not built yet", operation["summary"]), (verb, path)


def test_no_route_hides_another():
    for index, route in enumerate(ALL):
        sample = re.sub(r"{\w+}", "x", route.path)
        first = next(each for each in ALL if re.fullmatch(routes.pattern(each.path), sample))
        assert first.path == route.path, (route.path, index)


def test_the_parameters_of_a_path_are_declared():
    for path, operations in describe(ALL)["paths"].items():
        for operation in operations.values():
            declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


async def test_the_description_is_served_and_sound(server):
    document = await server.get("/openapi.json")
    assert document == await server.get("/api-docs")
    assert document["openapi"] == "3.1.0"
    references = re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document))
    assert set(references) <= document["components"]["schemas"].keys()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_the_unbuilt_routes_are_printed_for_the_docs():
    command = [sys.executable, "-m", "agentspan.server.openapi", "--unbuilt"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert len(done.stdout.splitlines()) == len(UNBUILT) + 2
    assert "/api/event" in done.stdout
