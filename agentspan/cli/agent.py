"""`agentspan agent` and `deploy`: the agents that a server keeps by name, and how they get there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import codes, events, given, ids, run, runs
from agentspan.cli.output import Column, Listed, Told, moment, reads
from agentspan.cli.session import ask, runtime
from agentspan.errors import AgentspanError, BadInput

if TYPE_CHECKING:
    from agentspan.client.client import Client

Json = dict[str, Any]

app = typer.Typer(help="Deployed agents: list, show, compare versions, run, deploy, delete.", no_args_is_help=True)

Version = typer.Option(None, "--version", help="Which version, if not the latest.")
Targets = typer.Argument(None, help="FILE.py:NAME or MODULE:NAME, all agents of FILE.py, or the JSON file of one.")
Packages = typer.Option([], "--package", "-p", help="All agents of a package; can be repeated.")
Folder = typer.Option(None, "--path", help="All agents of the Python files below a folder.")
Named = typer.Option(None, "--agents", help="Of these only those with these names, between commas.")


@app.command("ls")
@reads
def ls() -> Listed:
    """List the deployed agents."""
    return Listed(ask(lambda client: client.agents()), COLUMNS, "name")


@app.command("show")
@reads
def show(name: str = ids.AgentName, version: int | None = Version) -> Told:
    """Show the definition of a deployed agent."""
    return Told(ask(lambda client: client.agent(name, version)), CONFIG_LINES, "name")


@app.command("versions")
@reads
def versions(name: str = ids.AgentName) -> Listed:
    """List the versions of a deployed agent, the newest first."""
    return Listed(ask(lambda client: client.versions(name)), COLUMNS, "version")


@app.command("diff")
@reads
def diff(
    name: str = ids.AgentName,
    before: int = typer.Argument(help="A version."),
    after: int = typer.Argument(help="Another version."),
) -> Listed:
    """List what differs between two versions; exit code 1 if something does."""
    found = ask(lambda client: client.diff(name, before, after))
    return Listed(found, DIFF_COLUMNS, "path", code=codes.FAILED if found else codes.DONE)


@app.command("rollback")
def rollback(name: str = ids.AgentName, version: int = typer.Argument(help="The version to go back to.")) -> None:
    """Make an old version the latest again, as a new version."""
    print(f"{name} is at version {ask(lambda client: client.rollback(name, version))['version']}")


@app.command("delete")
def delete(name: str = ids.AgentName, version: int | None = Version, yes: bool = ids.Yes) -> None:
    """Remove a deployed agent in all its versions, or in one; its runs stay, and those that have begun go on."""
    what = name if version is None else f"version {version} of {name}"
    given.sure(f"Remove {what}?", yes)

    async def removed(client: "Client") -> None:
        found = await client.versions(name) if version is None else [{"version": version}]
        for each in found:
            await client.delete_agent(name, each["version"])

    ask(removed)
    print(f"deleted {what}")


@reads
def deploy(
    targets: list[str] | None = Targets,
    packages: list[str] = Packages,
    path: Path | None = Folder,
    agents: str | None = Named,
) -> Listed:
    """Store agents under their names, to be run by name; what has not changed keeps its version."""
    found = {
        **{config["name"]: config for config in configs(targets or [])},
        **{each.name: each for each in discovered(packages, path)},
    }
    wanted = given.words_of(agents)
    if unknown := set(wanted or ()) - found.keys():
        raise BadInput(f"--agents: there is no {', '.join(sorted(unknown))}; there are {', '.join(sorted(found))}")
    chosen = {name: each for name, each in found.items() if wanted is None or name in wanted}
    if not chosen:
        raise BadInput("no agents were found: name FILE.py:NAME, --package or --path")
    rows = [deployed(name, each) for name, each in chosen.items()]
    return Listed(rows, DEPLOYED_COLUMNS, "registered_name", code=int(not all(row["success"] for row in rows)))


@app.command("compile")
@reads
def compile_(target: str = typer.Argument(help="FILE.py:NAME, MODULE:NAME or a JSON file.")) -> Told:
    """Print what a start would register, as a workflow definition; nothing is stored."""
    [config] = configs([target])
    body = ask(lambda client: client.compile({"agentConfig": config}))
    return Told(body, (Column("needs", "requiredWorkers"),), "workflowDef.name")


@app.command("respond", hidden=True)
def respond(
    execution_id: str = ids.RunId,
    approve: bool = typer.Option(False, "--approve", help="Say yes."),
    deny: bool = typer.Option(False, "--deny", "--reject", help="Say no."),
    reason: str = typer.Option("", "--reason", help="Why not."),
    message: str | None = typer.Option(None, "--message", "-m", help="Say this."),
) -> None:
    """Answer the oldest request of a run."""
    if sum((approve, deny, message is not None)) != 1:
        raise BadInput("say one of --approve, --deny and --message")
    said: Json = {"message": message} if message is not None else {"approved": approve, "reason": reason}
    ask(lambda client: client.respond(execution_id, said))
    print(f"answered {execution_id}")


# Parts


def configs(targets: list[str]) -> list[Json]:
    """The agentConfigs of what was named."""
    return [config for target in targets for config in _configs(target)]


def discovered(packages: list[str], path: Path | None) -> list[Any]:
    """The agents of packages, and of the Python files below a folder, each once by name."""
    found: list[Any] = []
    if packages:
        from agentspan.agents import discover_agents

        with given.one_sentence(", ".join(packages)):
            found += discover_agents(packages)
    if path is not None:
        if not path.is_dir():
            raise BadInput(f"--path: there is no folder {path}")
        for file in sorted(path.rglob("*.py")):
            with given.one_sentence(str(file)):
                found += [built(each) for each in run.agents_of(run.module_of(str(file))).values()]
    return list({each.name: each for each in reversed(found)}.values())[::-1]


def built(agent: Any) -> Any:
    """The Agent of an `@agent` function, or the Agent itself."""
    from agentspan.agents.agent import resolve_agent

    return resolve_agent(agent)


def deployed(name: str, agent: Any) -> Json:
    """What became of deploying one agent."""
    row: Json = {"agent_name": name, "registered_name": None, "version": None, "success": False, "error": None}
    try:
        if isinstance(agent, dict):
            answer = ask(lambda client: client.deploy({"agentConfig": agent}))
            return {**row, "registered_name": answer["agentName"], "version": answer.get("version"), "success": True}
        with runtime() as on:
            [info] = on.deploy(agent)
        return {**row, "registered_name": info.registered_name, "version": info.version, "success": True}
    except ConnectionError:
        raise
    except (AgentspanError, TypeError, ValueError) as problem:
        return {**row, "error": str(problem)}


def _configs(target: str) -> list[Json]:
    from agentspan.agents.serialize import config_of

    if target.endswith(".json"):
        return [given.object_of(f"@{target}", target)]
    if target.endswith(".py"):
        with given.one_sentence(target):
            return [config_of(built(each)) for each in run.agents_of(run.module_of(target)).values()]
    return [config_of(built(run.load(target)))]


def _joined(found: Any) -> str:
    return ", ".join(str(each.get("name") if isinstance(each, dict) else each) for each in found or ())


def _folded(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


COLUMNS = (
    Column("AGENT", "name"),
    Column("VERSION", "version"),
    Column("MODEL", "model"),
    Column("STRATEGY", "strategy"),
    Column("TOOLS", "tools"),
    Column("AGENTS", "agents"),
    Column("CHANGED", "updateTime", moment),
)
CONFIG_LINES = (
    Column("agent", "name"),
    Column("model", "model"),
    Column("strategy", "strategy"),
    Column("instructions", "instructions", _folded),
    Column("tools", "tools", _joined),
    Column("agents", "agents", _joined),
    Column("guardrails", "guardrails", _joined),
)
DIFF_COLUMNS = (Column("WHERE", "path"), Column("BEFORE", "before"), Column("AFTER", "after"))
DEPLOYED_COLUMNS = (
    Column("AGENT", "agent_name"),
    Column("DEPLOYED AS", "registered_name"),
    Column("VERSION", "version"),
    Column("PROBLEM", "error"),
)

app.command("run")(run.run)
app.command("deploy")(deploy)
# What scripts written for other command lines of this kind say.
app.command("list", hidden=True)(ls)
app.command("get", hidden=True)(show)
app.command("start", hidden=True)(run.run)
app.command("status", hidden=True)(runs.status)
app.command("stream", hidden=True)(events.tail)
app.command("execution", hidden=True)(runs.show)
app.command("executions", hidden=True)(runs.ps)
