"""A program whose tools are HTTP requests: it needs no worker, outlives its server, and keeps its secret."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agentspan.agents import Agent, AgentRuntime, http_tool
from agentspan.spec.redact import forms
from tests.acceptance.processes import Server, eventually, serving

Json = dict[str, Any]

CANARY = 'c4n4ry/+=&?"sk-0123456789'
PAGES = ("status", "result", "events", "steps", "export", "requests", "timeline")


class Bank:
    """Takes payments, each once, and repeats what it was sent. It holds the first one back until it may `go`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Json, Json]] = []
        self.paid: dict[str, int] = {}
        self.go = threading.Event()
        self.url = ""

    def pay(self, headers: Json, body: Json) -> Json:
        self.asked.append((headers, body))
        if len(self.asked) == 1:
            self.go.wait(20)
        self.paid[headers["Idempotency-Key"]] = body["amount"]
        return {"paid": body["amount"], "by": headers["Authorization"]}


@contextmanager
def banking() -> Iterator[Bank]:
    bank = Bank()

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = json.dumps({**bank.pay(dict(self.headers), body), "path": self.path}).encode()
            try:
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
            except OSError:  # whoever asked is dead
                return

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as listener:
        bank.url = f"http://127.0.0.1:{listener.server_port}"
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield bank
        finally:
            bank.go.set()
            listener.shutdown()


def found(server: Server, execution: str, secret: str) -> list[str]:
    """Where the secret can be read: files of the server, and what it shows of a run."""
    places = {str(path): path.read_bytes() for path in server.folder.rglob("*") if path.is_file()}
    for page in (*(f"/api/agent/{execution}/{each}" for each in PAGES), f"/api/workflow/{execution}", "/metrics"):
        answer = server.http.get(page)
        assert answer.is_success, (page, answer.text[:300])
        places[page] = answer.content
    wanted = [form.encode() for form in forms(secret)]
    return [place for place, data in places.items() if any(form in data for form in wanted)]


def test_a_payment_whose_server_is_killed_is_made_again_under_the_same_key(tmp_path: Path) -> None:
    """The program of the user lives on; the server is killed while the bank has the request."""
    data = tmp_path / "data"
    environ = {"AGENTSPAN_LOG_LEVEL": "debug"}
    with banking() as bank, serving(data, f"sqlite:///{data / 'a.db'}", environ) as server:
        assert server.http.put("/api/credentials/BANK", json={"value": CANARY}).status_code == 200
        call = {"tool_calls": [{"name": "pay", "arguments": {"account": "a/7", "amount": 12}}]}
        schema = {
            "type": "object",
            "properties": {"account": {"type": "string"}, "amount": {"type": "integer"}},
            "required": ["account", "amount"],
        }
        pay = http_tool(
            "pay", "Pay.", f"{bank.url}/accounts/{{account}}/payments", method="POST", input_schema=schema,
            headers={"Authorization": "Bearer ${BANK}"}, credentials=["BANK"],
        )  # fmt: skip
        agent = Agent("payer", server.script("payer", [call, {"content": "{result}"}]), tools=[pay])
        with AgentRuntime(server_url=server.url) as runtime:
            handle = runtime.start(agent, "Pay 12 to a/7.")
            eventually(lambda: bank.asked, "the payment")
            server.kill()
            server.ready()
            result = handle.join(timeout=30)
        bank.go.set()
        said = json.loads(str(result.output["result"]))
        assert said == {"paid": 12, "by": "Bearer ${BANK}", "path": "/accounts/a%2F7/payments"}
        eventually(lambda: len(bank.paid) == 1, "the first payment to end")
        assert [headers["Authorization"] for headers, _ in bank.asked] == [f"Bearer {CANARY}"] * 2
        assert {headers["Idempotency-Key"] for headers, _ in bank.asked} == set(bank.paid)
        assert [body for _, body in bank.asked] == [{"amount": 12}] * 2
        tasks = server.get(f"/api/workflow/{result.execution_id}")["tasks"]
        assert [(each["taskType"], each["status"]) for each in tasks if each["taskDefName"] == "pay"] == [
            ("HTTP", "TIMED_OUT"),
            ("HTTP", "COMPLETED"),
        ]
        assert found(server, result.execution_id, CANARY) == []


def test_a_tool_that_may_not_be_tried_again_is_not_when_its_server_is_killed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with banking() as bank, serving(data, f"sqlite:///{data / 'a.db'}") as server:
        call = {"tool_calls": [{"name": "pay", "arguments": {"amount": 12}}]}
        schema = {"type": "object", "properties": {"amount": {"type": "integer"}}}
        headers = {"Authorization": "none"}
        pay = http_tool("pay", "Pay.", bank.url, method="POST", headers=headers, input_schema=schema, retry_count=0)
        agent = Agent("payer", server.script("payer", [call, {"content": "{result}"}]), tools=[pay])
        with AgentRuntime(server_url=server.url) as runtime:
            handle = runtime.start(agent, "Pay 12.")
            eventually(lambda: bank.asked, "the payment")
            server.kill()
            server.ready()
            result = handle.join(timeout=30)
        assert str(result.output["result"]).startswith("Error: ")
        assert len(bank.asked) == 1


def test_an_operator_can_keep_a_server_from_its_own_machine(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with banking() as bank, serving(data, f"sqlite:///{data / 'a.db'}", {"AGENTSPAN_OUTGOING_ALLOW": "none"}) as server:
        call = {"tool_calls": [{"name": "pay", "arguments": {}}]}
        agent = Agent(
            "payer", server.script("payer", [call, {"content": "{result}"}]),
            tools=[http_tool("pay", "Pay.", bank.url, method="POST")],
        )  # fmt: skip
        with AgentRuntime(server_url=server.url) as runtime:
            result = runtime.run(agent, "Pay.", timeout=30)
        assert "AGENTSPAN_OUTGOING_ALLOW" in str(result.output["result"])
        assert bank.asked == []
