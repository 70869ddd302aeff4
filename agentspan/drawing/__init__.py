"""WHAT IT LOOKS LIKE: pure functions from plain data, as the server answers it, to HTML, SVG and words.

Everything stands on a page by itself: inline styles, no class, no script, nothing from outside, readable on light and
dark. It may import nothing of ours but errors; the cell and the dashboard draw with it. Doors: `words`, `markdown`,
`tree`, `table`, `graph`, `waterfall`, `steps`, `transcript`. `card.js` is the one part that answers: a module in the
manner of anywidget, for both.
"""

from agentspan.drawing import words
from agentspan.drawing.bars import waterfall
from agentspan.drawing.layers import graph
from agentspan.drawing.prose import markdown
from agentspan.drawing.telling import steps, transcript
from agentspan.drawing.value import table, tree

__all__ = ["graph", "markdown", "steps", "table", "transcript", "tree", "waterfall", "words"]
