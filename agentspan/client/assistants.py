"""OpenAI's Assistants API, as much of it as one question to one assistant needs."""

import asyncio
import json
import os
import time
from typing import Any

from agentspan.client.errors import AgentAPIError, ServerUnreachableError, api_error
from agentspan.errors import AgentspanError

Json = dict[str, Any]

DEFAULT_URL = "https://api.openai.com/v1"
ANSWER_SECONDS = 60.0
RUN_SECONDS = 600.0
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 2.0
UNDER_WAY = ("queued", "in_progress", "cancelling")


async def create_assistant(api_key: str, description: Json) -> str:
    """A new assistant; its id."""
    return str((await _send(api_key, "POST", "/assistants", description))["id"])


async def ask_assistant(api_key: str, assistant_id: str, message: str) -> str:
    """The assistant's answer to one message, in a thread of its own."""
    thread = (await _send(api_key, "POST", "/threads", {}))["id"]
    await _send(api_key, "POST", f"/threads/{thread}/messages", {"role": "user", "content": message})
    run = await _send(api_key, "POST", f"/threads/{thread}/runs", {"assistant_id": assistant_id})
    run = await _ended(api_key, f"/threads/{thread}/runs/{run['id']}", run)
    if run["status"] != "completed":
        raise AgentspanError(_why(run))
    said = await _send(api_key, "GET", f"/threads/{thread}/messages?order=asc&limit=100&run_id={run['id']}")
    return "\n".join(text for each in said["data"] if each["role"] == "assistant" for text in _texts(each))


async def _ended(api_key: str, path: str, run: Json) -> Json:
    until, pause = time.monotonic() + RUN_SECONDS, FIRST_WAIT_SECONDS
    while run["status"] in UNDER_WAY:
        if time.monotonic() > until:
            raise AgentspanError(f"the assistant's run {run['id']} has not ended after {RUN_SECONDS:g} seconds")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_WAIT_SECONDS)
        run = await _send(api_key, "GET", path)
    return run


def _why(run: Json) -> str:
    if run["status"] == "requires_action":
        return "the assistant calls functions of its own, which nobody serves here: make them tools of an Agent"
    problem = run.get("last_error") or run.get("incomplete_details") or {}
    told = problem.get("message") or problem.get("reason") or "no explanation given"
    return f"the assistant's run ended {run['status']}: {told}"


def _texts(message: Json) -> list[str]:
    return [part["text"]["value"] for part in message["content"] if part["type"] == "text"]


async def _send(api_key: str, method: str, path: str, body: Json | None = None) -> Json:
    import httpx

    url = (os.environ.get("OPENAI_BASE_URL") or DEFAULT_URL).rstrip("/") + path
    headers = {"Authorization": f"Bearer {api_key}", "OpenAI-Beta": "assistants=v2"}
    try:
        async with httpx.AsyncClient(headers=headers, timeout=ANSWER_SECONDS) as http:
            answer = await http.request(method, url, json=body)
    except httpx.HTTPError as problem:
        told = str(problem) or type(problem).__name__
        raise ServerUnreachableError(f"OpenAI's Assistants API does not answer at {url}: {told}") from problem
    if answer.is_error:
        raise _refusal(answer.status_code, answer.text, url)
    return dict(answer.json())


def _refusal(status_code: int, text: str, url: str) -> AgentAPIError:
    """OpenAI says {"error": {"message": ...}}."""
    try:
        problem = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        problem = {}
    return api_error(status_code, problem, text, url)
