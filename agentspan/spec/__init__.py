"""What an agent is: plain, frozen data that crosses the wire, addressed by the digest of its content.

This room may import `agentspan.errors` and nothing else of ours.
Its doors: `AgentSpec` and `ToolSpec` (agent, tool), `decode`, `encode` and `digest` (wire), `check` (check).
"""
