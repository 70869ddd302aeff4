"""The settings of a model call, as tests need them: generous, unless the test is about a limit."""

from pathlib import Path

import msgspec

from agentspan.config import Limit


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: Path = Path("nowhere")
    scripts_path: Path = Path("nowhere")
    first_token_seconds: float = 60
    idle_seconds: float = 60
    total_seconds: float = 100
    limits: tuple[Limit, ...] = ()


GENEROUS = Limits()
