"""A server that is killed forgets no request, no decision, no message and nothing that was spent."""

from pathlib import Path

from tests.acceptance.processes import eventually, serving, worker_tool

CALL = {"name": "add", "arguments": {"a": 2}}
PRICED = {"usage": {"prompt_tokens": 60, "completion_tokens": 40}, "cost": 0.25}


def test_what_was_spent_is_counted_once_over_kills(tmp_path: Path, database_url: str) -> None:
    """The server dies while a model call is under way, and while a tool runs."""
    with serving(tmp_path / "data", database_url) as server:
        slow = {"tool_calls": [CALL], "delay_ms": 800, **PRICED}
        model = server.script("spender", [{"tool_calls": [CALL], **PRICED}, slow, slow, {"content": "done", **PRICED}])
        config = {"name": "spender", "model": model, "tools": [worker_tool("add", a="integer")]}
        execution_id = server.run(config, budget={"tokens": 300, "toolCalls": 9})
        server.report(server.lease("add"), {"result": 1})
        server.kill()
        server.ready()
        task = server.lease("add")
        server.kill()
        server.ready()
        server.report(task, {"result": 1})
        server.report(server.lease("add"), {"result": 1})
        result = server.result(execution_id)
        assert (result["status"], result["finishReason"]) == ("TERMINATED", "budget")
        spent = server.get(f"/api/agent/{execution_id}/status")["spent"]
        assert (spent["tokens"], spent["cost"], spent["toolCalls"]) == (300, 0.75, 3)
        server.post(f"/api/agent/{execution_id}/budget", {"tokens": 1000})
        assert server.result(execution_id)["output"]["result"] == "done"


def test_requests_decisions_and_messages_outlive_kills(tmp_path: Path, database_url: str) -> None:
    """Two requests and a message, with a kill before and after each answer; the second is decided by its deadline."""
    with serving(tmp_path / "data", database_url) as server:
        model = server.script(
            "payer", [{"tool_calls": [{"name": "pay", "arguments": {"a": n}} for n in (1, 2)]}, "{prompt}"]
        )
        pay = {**worker_tool("pay", a="integer"), "approvalRequired": True, "approval": {"deadlineSeconds": 6}}
        execution_id = server.run({"name": "payer", "model": model, "tools": [pay]})

        def asked() -> list[dict[str, object]]:
            return list(server.get(f"/api/agent/{execution_id}/requests?status=open")["requests"])

        eventually(lambda: len(asked()) == 2, "two requests")
        sent = server.post(f"/api/agent/{execution_id}/messages", {"message": "only in euros"})["messageId"]
        server.kill()
        server.ready()
        first, second = asked()
        server.post(f"/api/inbox/{first['requestId']}/respond?by=kim", {"approved": True})
        server.kill()
        server.ready()
        again = server.post(f"/api/inbox/{first['requestId']}/respond?by=kim", {"approved": True})
        assert (again["alreadyAnswered"], again["decidedBy"]) == (True, "kim")
        server.report(server.lease("pay"), {"result": "paid"})
        assert "only in euros" in server.result(execution_id)["output"]["result"]
        assert server.get(f"/api/agent/{execution_id}/messages/{sent}")["status"] == "seen"
        kept = server.get(f"/api/agent/{execution_id}/requests")["requests"]
        assert [(each["requestId"], each["status"]) for each in kept] == [
            (first["requestId"], "answered"), (second["requestId"], "expired"),
        ]  # fmt: skip
