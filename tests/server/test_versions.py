"""Versions of deployed agents and of prompt templates over HTTP."""

from tests.server.running import ADD, agent


async def test_versions_are_listed_compared_and_rolled_back(server):
    for config in (agent(), agent("adder", ADD), agent("adder", ADD)):
        deployed = await server.post("/api/agent/deploy", {"agentConfig": config})
    assert deployed["version"] == 2
    versions = await server.get("/api/agent/helper/versions")
    assert [(each["version"], each["tags"]) for each in versions] == [(2, ["tool-calling"]), (1, ["simple"])]

    found = await server.get("/api/agent/helper/diff", params={"from": 1, "to": 2})
    assert [each["path"] for each in found] == ["model", "tools"]
    assert (found[0]["before"], found[0]["after"]) == ("scripted/plain", "scripted/adder")

    assert await server.post("/api/agent/helper/rollback", {"version": 1}) == {"agentName": "helper", "version": 3}
    assert (await server.get("/api/agent/helper"))["model"] == "scripted/plain"
    started = await server.post("/api/agent/start", {"agentName": "helper", "prompt": "Hi"})
    assert (await server.status(started["executionId"], 10_000))["output"]["result"] == "Hello."


async def test_lists_show_each_agent_once_in_its_latest_version(server):
    for config in (agent(), agent("adder", ADD), {**agent(), "name": "other"}):
        await server.post("/api/agent/deploy", {"agentConfig": config})
    listed = await server.get("/api/agent/list")
    assert [(each["name"], each["version"]) for each in listed] == [("helper", 2), ("other", 1)]
    assert listed[0]["createTime"] <= listed[0]["updateTime"]
    latest = await server.get("/api/metadata/workflow/latest-versions")
    assert [(each["name"], each["version"]) for each in latest] == [("helper", 2), ("other", 1)]
    names = await server.get("/api/metadata/workflow/names-and-versions")
    assert {name: [each["version"] for each in versions] for name, versions in names.items()} == {
        "helper": [1, 2],
        "other": [1],
    }


async def test_a_version_that_is_not_there_is_404(server):
    await server.post("/api/agent/deploy", {"agentConfig": agent()})
    for path in (
        "/api/agent/nobody/versions",
        "/api/agent/helper/diff?from=1&to=2",
        "/api/agent/nobody/diff?from=1&to=1",
    ):
        assert (await server.http.get(path)).status_code == 404
    assert (await server.http.post("/api/agent/helper/rollback", json={"version": 2})).status_code == 404
    assert (await server.http.post("/api/agent/helper/rollback", json={})).status_code == 400
    assert (await server.http.get("/api/agent/helper/diff")).status_code == 400


async def test_a_root_without_a_model_is_refused_and_a_sub_agent_without_one_is_found(server):
    answer = await server.http.post("/api/agent/start", json={"agentConfig": {"name": "helper"}, "prompt": "Hi"})
    assert (answer.status_code, "run the deployed agent by its name" in answer.json()["message"]) == (400, True)
    team = {"name": "team", "strategy": "sequential", "agents": [{"name": "helper", "external": True}]}
    answer = await server.http.post("/api/agent/start", json={"agentConfig": team, "prompt": "Hi"})
    assert (answer.status_code, "no agent is deployed" in answer.json()["message"]) == (400, True)
    await server.post("/api/agent/deploy", {"agentConfig": agent()})
    execution_id = await server.run(team)
    assert (await server.status(execution_id))["output"]["result"] == "Hello."


async def put(server, text, media="text/plain", **params):
    answer = await server.http.post("/api/prompts/greet", content=text, headers={"Content-Type": media}, params=params)
    assert answer.is_success, answer.text
    return answer.json()


async def test_a_template_is_kept_as_text_or_as_json(server):
    assert await put(server, "Greet ${who}\nand {{whom}}.", description="Polite", models="a,b") == {
        "name": "greet",
        "version": 1,
    }
    # Conductor's client sends a JSON string, and cuts its quotes off.
    for text in ('"Greet ${who}\\nand {{whom}}."', "Greet ${who}\\nand {{whom}}."):
        assert (await put(server, text, "application/json"))["version"] == 1
    shown = await server.get("/api/prompts/greet")
    assert (shown["template"], shown["variables"]) == ("Greet ${who}\nand {{whom}}.", ["who", "whom"])
    assert (shown["description"], shown["integrations"]) == ("Polite", ["a", "b"])
    assert (await put(server, "New."))["version"] == 2
    assert [each["template"] for each in await server.get("/api/prompts")] == ["New."]
    assert (await server.get("/api/prompts/greet", params={"version": 1}))["version"] == 1
    assert [each["version"] for each in await server.get("/api/prompts/greet/versions")] == [2, 1]
    assert (await server.http.post("/api/prompts/greet", content=" ")).status_code == 400
    assert (await server.http.delete("/api/prompts/greet")).status_code == 200
    for path in ("/api/prompts/greet", "/api/prompts/greet/versions"):
        assert (await server.http.get(path)).status_code == 404


async def test_a_run_begins_with_the_text_of_its_template(server):
    await put(server, "Greet ${who}.")
    given = {"type": "prompt_template", "name": "greet", "variables": {"who": "Kim"}}
    execution_id = await server.run(agent(instructions=given))
    result = await server.get(f"/api/agent/{execution_id}/result")
    assert result["messages"][0]["content"] == "Greet Kim."
    for wrong, word in (({**given, "variables": {}}, "needs who"), ({**given, "name": "none"}, "no prompt template")):
        config = agent(instructions=wrong)
        answer = await server.http.post("/api/agent/start", json={"agentConfig": config, "prompt": "Hi"})
        assert (answer.status_code, word in answer.json()["message"]) == (400, True), answer.text
