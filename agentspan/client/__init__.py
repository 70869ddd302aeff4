"""The wire's other end: everything that speaks HTTP to an agentspan server.

This room may import `agentspan.spec`, `agentspan.config` and `agentspan.errors`, and is the only one of the SDK's wing
that knows httpx. Its doors: `Client` (client), `follow` (sse), `Portal` and `portal` (portal), the errors (errors),
`find_or_start` (launch).
"""
