"""What follows: the decider. Pure functions over immutable values, with no clock, no chance and no I/O.

This room may import `agentspan.spec` and `agentspan.errors`.
Its doors: `Event` and the facts (events), `Run` and `evolve` (run), `decide` (decide), `Tree` and `advance` (advance),
`Transcript` (transcript), `fork` (fork).
"""
