"""`agentspan export`, `import`, `compare`: runs as files, and side by side."""

import typer

from agentspan.cli.extras import needs


def export(
    execution_id: str = typer.Argument(help="The run."),
    path: str = typer.Argument(help="The file to write, or a folder for it."),
) -> None:
    """Write a run into a file that any server can take in."""
    with needs("sdk"):
        from agentspan.agents import AgentRuntime
    with AgentRuntime() as runtime:
        print(runtime.export(execution_id, path))


def take_in(
    path: str = typer.Argument(help="The file of an exported run."),
    resume: bool = typer.Option(False, "--resume", help="Let a run that had not ended go on here."),
) -> None:
    """Take in a run out of a file, to be read; its new id is printed."""
    with needs("sdk"):
        from agentspan.agents import AgentRuntime
    with AgentRuntime() as runtime:
        print(runtime.import_run(path, resume=resume).execution_id)


def compare(
    a: str = typer.Argument(help="A run."),
    b: str = typer.Argument(help="Another run."),
) -> None:
    """Compare two runs; exit code 1 if they differ."""
    with needs("sdk"):
        from agentspan.agents import AgentRuntime
        from agentspan.agents.compare import compare as compared
    with AgentRuntime() as runtime:
        found = compared(a, b, runtime=runtime)
    print(found)
    raise typer.Exit(found.exit_code)
