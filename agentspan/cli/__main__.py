"""`python -m agentspan.cli`."""

from agentspan.cli.main import main

main()
