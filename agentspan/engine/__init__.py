"""Makes it happen: the doors to every write, the group-committing writer, and the built-in workers.

This room may import store, core, spec, clock, config and errors.
Its doors: `Engine` (engine), `feed` (the log as clients see it).
"""
