"""An SQLite file with the schema of this version, copied for each test: making it takes as long as most tests do."""

import tempfile
from functools import cache
from pathlib import Path

from agentspan.store.database import Database


@cache
def template() -> bytes:
    """The bytes of such a file, with nothing in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        database = Database(f"sqlite:///{path.as_posix()}", synchronous="NORMAL")
        database.open()
        database.close()
        return path.read_bytes()


def lay(path: Path) -> None:
    """Put such a file where there is none yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(template())
