"""`python -m agentspan`: the command line."""

from agentspan.cli.main import main

main()
