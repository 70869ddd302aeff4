"""The command line.

This room may import server, client, config, errors and agents, each at first use, so that `--help` is quick.
Its door: `main` (main).
"""
