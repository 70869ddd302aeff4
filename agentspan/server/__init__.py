"""The Tornado face: every door of the engine as HTTP, one file per noun with its route table at the foot.

This room may import engine, store.reads, store.views, store.secrets, spec, config and errors; never agents or core.
Its doors: `make_app` and `serve` (app). `conductor` alone knows the dialect of Conductor's clients.
"""
