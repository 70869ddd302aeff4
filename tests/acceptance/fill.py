"""Fills a database with runs that wait for their tool, through the engine and without a server.

python fill.py DATABASE DATA_DIR AGENT_CONFIG NUMBER
"""

import asyncio
import json
import sys

from agentspan.config import Settings
from agentspan.engine.engine import Engine
from agentspan.spec import wire

AT_ONCE = 1000


async def fill(database: str, data_dir: str, config: str, number: int) -> None:
    spec = wire.decode(json.loads(config))
    engine = await Engine.open(Settings.load(options={"--database": database, "--data-dir": data_dir}))
    try:
        for begun in range(0, number, AT_ONCE):
            await asyncio.gather(
                *(engine.start(spec, {"prompt": "Wait."}) for _ in range(min(AT_ONCE, number - begun)))
            )
        await engine.drain(60)
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(fill(*sys.argv[1:4], int(sys.argv[4])))
