"""The model room: every call of a language model goes through `complete`, whichever provider answers it.

It may import the limiter, spec, errors, config, clock, msgspec and the standard library; litellm only in gateway,
xllamacpp only in local, both at first use. Its doors: `complete`, `embed`, `check_model`, `check_limits`, `preload`,
`quota_for`, `register`, `pull`, `weights_path`, `window` and the values `ModelRequest`, `ModelAnswer`, `ToolCall`,
`Usage`.
"""

from agentspan.engine.providers.call import check_limits, complete, quota_for
from agentspan.engine.providers.embeddings import embed
from agentspan.engine.providers.gateway import preload
from agentspan.engine.providers.model import CallSettings, ModelAnswer, ModelRequest, ToolCall, Usage
from agentspan.engine.providers.names import check_model
from agentspan.engine.providers.scripted import register
from agentspan.engine.providers.weights import pull, weights_path
from agentspan.engine.providers.windows import window

__all__ = [
    "CallSettings",
    "ModelAnswer",
    "ModelRequest",
    "ToolCall",
    "Usage",
    "check_limits",
    "check_model",
    "complete",
    "embed",
    "preload",
    "pull",
    "quota_for",
    "register",
    "weights_path",
    "window",
]
