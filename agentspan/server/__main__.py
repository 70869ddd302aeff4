"""`python -m agentspan.server`: a server with the settings of the environment, without the command line's loading."""

import sys

from agentspan.config import Settings
from agentspan.errors import AgentspanError
from agentspan.server.app import serve

try:
    sys.exit(serve(Settings.load()))
except AgentspanError as problem:
    sys.exit(f"agentspan: {problem.message}")
