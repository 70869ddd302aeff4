"""Testing agents: runs in memory, scripts of events, assertions, recordings, cassettes and evaluations.

This is where both wings meet: the SDK's functions and the decider that servers run (`agentspan.core`), in one process
and without a database. Nothing else of the SDK may import it. Doors: `mock_run`, `LocalEngine`, `expect`, `cassette`,
`replay_run`, `record`, `CorrectnessEval`.
"""

from agentspan.agents.testing.answers import NOT_GIVEN, Asked, ToolCall
from agentspan.agents.testing.assertions import (
    assert_agent_ran,
    assert_event_sequence,
    assert_events_contain,
    assert_guardrail_failed,
    assert_guardrail_passed,
    assert_handoff_to,
    assert_max_turns,
    assert_no_errors,
    assert_output_contains,
    assert_output_matches,
    assert_output_type,
    assert_status,
    assert_tool_call_order,
    assert_tool_called_with,
    assert_tool_not_used,
    assert_tool_used,
    assert_tools_used_exactly,
)
from agentspan.agents.testing.cassette import Cassette, CassetteMiss, cassette, replay_file, replay_run
from agentspan.agents.testing.engine import LocalEngine, LocalResult, LocalRun
from agentspan.agents.testing.evals import CorrectnessEval, EvalCase, EvalCaseResult, EvalSuiteResult
from agentspan.agents.testing.events import MockEvent
from agentspan.agents.testing.expectations import AgentResultExpectation, expect
from agentspan.agents.testing.mock import mock_run
from agentspan.agents.testing.recording import record, replay, stored
from agentspan.agents.testing.scripted import scripted_model
from agentspan.agents.testing.secrets import SecretLeft
from agentspan.agents.testing.semantic import assert_output_satisfies
from agentspan.agents.testing.strategies import StrategyViolation, validate_strategy

__all__ = [
    "NOT_GIVEN",
    "AgentResultExpectation",
    "Asked",
    "Cassette",
    "CassetteMiss",
    "CorrectnessEval",
    "EvalCase",
    "EvalCaseResult",
    "EvalSuiteResult",
    "LocalEngine",
    "LocalResult",
    "LocalRun",
    "MockEvent",
    "SecretLeft",
    "StrategyViolation",
    "ToolCall",
    "assert_agent_ran",
    "assert_event_sequence",
    "assert_events_contain",
    "assert_guardrail_failed",
    "assert_guardrail_passed",
    "assert_handoff_to",
    "assert_max_turns",
    "assert_no_errors",
    "assert_output_contains",
    "assert_output_matches",
    "assert_output_satisfies",
    "assert_output_type",
    "assert_status",
    "assert_tool_call_order",
    "assert_tool_called_with",
    "assert_tool_not_used",
    "assert_tool_used",
    "assert_tools_used_exactly",
    "cassette",
    "expect",
    "mock_run",
    "record",
    "replay",
    "replay_file",
    "replay_run",
    "scripted_model",
    "stored",
    "validate_strategy",
]
