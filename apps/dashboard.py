"""The dashboard by itself: `panel serve apps/dashboard.py`, with AGENTSPAN_SERVER_URL in the environment."""

from agentspan.dashboard.alone import page

page().servable()
