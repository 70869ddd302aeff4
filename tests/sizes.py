"""How much a test does: little enough for every change, or all of it (`make soak`, which sets AGENTSPAN_TEST_SIZE)."""

import os

import pytest

FULL = os.environ.get("AGENTSPAN_TEST_SIZE") == "full"

sized = pytest.mark.sized
"""Marks a test that has a size: `make soak` runs it again, in full."""


def size(small: int, full: int) -> int:
    """The number for this run of the tests."""
    return full if FULL else small
