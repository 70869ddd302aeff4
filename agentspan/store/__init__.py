"""Where it is kept: the only room that knows a table.

This room may import core, spec, config, errors and clock.
Its doors: `Database` (database), `Ledger` (ledger: the only writer), `Reads` (reads), the shapes they give (views).
"""
