"""The arguments and options that many commands share, with their completion."""

import typer

from agentspan.cli import completion

RunId = typer.Argument(metavar="RUN", help="The run.", autocompletion=completion.run_ids)
RunIds = typer.Argument(metavar="RUN", help="The runs.", autocompletion=completion.run_ids)
AgentName = typer.Argument(help="Name of a deployed agent.", autocompletion=completion.agent_names)
RequestId = typer.Argument(
    metavar="REQUEST", help="The request, as `agentspan inbox` shows it.", autocompletion=completion.request_ids
)
By = typer.Option(None, "--by", help="Who answers; it is kept with the answer. Else AGENTSPAN_USER.")
OfAgent = typer.Option(None, "--agent", help="Only those of this agent.", autocompletion=completion.agent_names)
OfStatus = typer.Option(None, "--status", help="Only in this status; several are given by commas.",
                        autocompletion=completion.statuses)  # fmt: skip
Since = typer.Option(None, "--since", help="Only since: 90s, 15min, 2h or 7d ago, or a moment: 2026-01-31T12:00.")
Yes = typer.Option(False, "--yes", "-y", help="Do not ask.")
