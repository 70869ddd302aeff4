"""Programs whose tools are those of an MCP server: they need no worker, outlive their server, and keep their secret."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from agentspan.agents import Agent, AgentRuntime, mcp_tool
from tests.acceptance.processes import Server, eventually, serving
from tests.acceptance.test_http_tools import found
from tests.acceptance.test_workers_apart import worker
from tests.mcp_site import McpSite, mcp_site

CANARY = 'c4n4ry/+=&?"mcp-0123456789'
MASTER_KEY = base64.b64encode(bytes(range(32))).decode()


def looker(server: Server, site: McpSite, tool: str, **arguments: Any) -> Agent:
    """An agent that calls this tool of the site, which knows it by its credential."""
    site.token = CANARY
    assert server.http.put("/api/credentials/SITE", json={"value": CANARY}).status_code == 200
    headers = {"Authorization": "Bearer ${SITE}"}
    tools = mcp_tool(site.url, headers=headers, credentials=["SITE"], tool_names=[tool])
    call = {"tool_calls": [{"name": tool, "arguments": arguments}]}
    return Agent("looker", server.script("looker", [call, {"content": "{result}"}]), tools=[tools])


def test_a_tool_that_changes_nothing_is_called_again_when_its_server_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environ = {"AGENTSPAN_LOG_LEVEL": "debug"}
    with mcp_site() as site, serving(data, f"sqlite:///{data / 'a.db'}", environ) as server:
        agent = looker(server, site, "slow")
        with AgentRuntime(server_url=server.url) as runtime:
            handle = runtime.start(agent, "Look.")
            eventually(lambda: site.called, "the call")
            server.kill()
            site.hold.set()
            server.ready()
            result = handle.join(timeout=30)
        assert "at last" in str(result.output["result"])
        assert len(site.called) == 2
        tasks = server.get(f"/api/workflow/{result.execution_id}")["tasks"]
        assert [(each["taskType"], each["status"]) for each in tasks if each["taskDefName"] == "slow"] == [
            ("CALL_MCP_TOOL", "TIMED_OUT"),
            ("CALL_MCP_TOOL", "COMPLETED"),
        ]
        assert found(server, result.execution_id, CANARY) == []


def test_a_tool_that_pays_is_not_called_again_when_nobody_knows_whether_it_has(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with mcp_site() as site, serving(data, f"sqlite:///{data / 'a.db'}") as server:
        agent = looker(server, site, "pay_slowly", amount=12)
        with AgentRuntime(server_url=server.url) as runtime:
            handle = runtime.start(agent, "Pay.")
            eventually(lambda: site.called, "the call")
            server.kill()
            site.hold.set()
            server.ready()
            result = handle.join(timeout=30)
        assert str(result.output["result"]).startswith("Error: ")
        assert site.called == [("pay_slowly", 12)]


@pytest.mark.timeout(120)
def test_a_process_apart_calls_the_tools_with_the_secret(tmp_path: Path, postgres_url: str) -> None:
    keys = {"AGENTSPAN_MASTER_KEY": MASTER_KEY}
    none = {**keys, "AGENTSPAN_WORKERS": "llm", "AGENTSPAN_UI": "false"}
    with mcp_site() as site, serving(tmp_path / "server", postgres_url, none) as server:
        agent = looker(server, site, "whoami")
        with AgentRuntime(server_url=server.url) as runtime:
            handle = runtime.start(agent, "Who are you?")

            def told() -> str:
                return json.dumps(server.get(f"/api/agent/{handle.execution_id}/why")["reasons"])

            eventually(lambda: "agentspan worker --kinds mcp" in told(), "the reason that nobody calls the tool")
            environ = {**keys, "AGENTSPAN_DATABASE_URL": postgres_url, "AGENTSPAN_OUTGOING_ALLOW": "loopback"}
            with worker(tmp_path / "apart", "--kinds", "mcp", **environ):
                result = handle.join(timeout=60)
        assert "you are Bearer ${SITE}" in str(result.output["result"])
        assert found(server, result.execution_id, CANARY) == []
