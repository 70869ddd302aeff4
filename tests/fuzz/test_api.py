"""The API against its own description: whatever is sent, no operation fails, hangs, tells how it is made or answers
otherwise than it says. Requests are made by schemathesis out of `/openapi.json`, with ids of things that are there."""

import asyncio
import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi import checks

from tests.server.conftest import KEY
from tests.server.running import ADD, Running, agent, running
from tests.sizes import FULL, size, sized

Json = dict[str, Any]

EXAMPLES = int(os.environ.get("FUZZ") or size(2, 150))
"""Of each operation, valid ones and others."""
PATIENCE_SECONDS, MOST_SECONDS = 0.3, 30
"""How long an answer may take: one that may wait is left."""
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
LEAKS = re.compile(r'Traceback|File "|\w\.py\b|sqlalchemy|\bSELECT \w|INSERT INTO|psycopg|sqlite3|site-packages', re.I)
"""What no answer may hold: how the server is made, where it is, and what it asks its database."""
SERVER_ERRORS = {500, 502, 503, 504}
STREAMS = {"/api/agent/stream/{execution_id}", "/api/changes"}
"""Answers without an end; tests/fuzz/test_streams.py asks for them."""
WAITS = {"waitMs", "timeout", "waitForSeconds", "timeoutMs"}


async def furnished(server: Running) -> dict[str, list[str]]:
    """Things of every sort, by the names that parameters have for them."""
    ended = await server.run()
    asking = await server.start(agent("adder", {**ADD, "approvalRequired": True}, name="asker"))
    adding = await server.start(agent("adder", ADD))
    [task] = await server.poll()
    requests_of = await server.get("/api/inbox")
    await server.http.post("/api/prompts/helper?description=x", content="Hello", headers={"Content-Type": "text/plain"})
    return {
        "execution_id": [ended, asking, adding],
        "task_id": [task["taskId"]],
        "request_id": [each["requestId"] for each in requests_of["requests"]],
        "name": ["helper", "asker", "add"],
        "ref": [task["referenceTaskName"]],
        "status": ["COMPLETED", "FAILED"],
        "version": ["1"],
        "seq": ["1", "2"],
    }


def attempt(case: Case, url: str, session: requests.Session) -> list[str]:
    """What is wrong with the answer to one request."""
    waits = bool(WAITS & {*case.query, *(case.body if isinstance(case.body, dict) else ())}) or "/poll/" in case.path
    try:
        answer = case.call(base_url=url, session=session, timeout=PATIENCE_SECONDS if waits else MOST_SECONDS)
    except requests.Timeout:
        return [] if waits else ["no answer"]
    # What this version does not have yet, it says.
    found = [f"{answer.status_code}: {answer.text[:200]}"] if answer.status_code in SERVER_ERRORS else []
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as group:
        found += [f"{type(each).__name__}: {each}" for each in group.exceptions]
    except Failure as problem:
        found.append(f"{type(problem).__name__}: {problem}")
    if answer.status_code >= 400 and (leak := LEAKS.search(answer.text)):
        found.append(f"it tells {leak[0]!r}: {answer.text[:500]}")
    return found


def fuzz(schema: Any, url: str, session: requests.Session, known: dict[str, list[str]]) -> list[str]:
    """What is wrong with any operation."""
    problems: list[str] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in STREAMS or "501" in operation.definition.raw["responses"]:
            continue
        cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES < 10, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(cases, st.data())
        def each(case: Case, data: st.DataObject) -> None:
            for name in case.path_parameters:
                if (there := known.get(name)) and data.draw(st.booleans()):
                    case.path_parameters[name] = data.draw(st.sampled_from(there))
            found = attempt(case, url, session)
            problems.extend(f"{case.method} {case.formatted_path} {case.query} {case.body!r:.300}: {p}" for p in found)

        each()
    return problems


@sized
@pytest.mark.timeout(300 if not FULL else 7200)
@pytest.mark.parametrize("environ", [pytest.param({}, id="open"), pytest.param(KEY, id="locked")])
async def test_every_operation_answers_as_it_is_described(
    tmp_path: Path, environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"X-API-Key": f"{KEY['AGENTSPAN_AUTH_KEY']}:{KEY['AGENTSPAN_AUTH_SECRET']}"} if environ else {}
    async with running(tmp_path, headers=headers, **environ) as server:
        known = await furnished(server)
        schema = schemathesis.openapi.from_dict(await server.get("/openapi.json"))
        with requests.Session() as session:
            session.trust_env = False
            session.headers.update(headers)
            problems = await asyncio.to_thread(fuzz, schema, server.url, session, known)
        assert (await server.http.get("/readyz")).status_code == 200
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not problems + logged, "\n".join([f"{len(problems)} problems", *problems[:60], *logged[:20]])
