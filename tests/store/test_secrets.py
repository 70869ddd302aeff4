"""Secrets in the database: encrypted each by itself, found by name and by binding, useless anywhere else."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from agentspan.errors import ConfigurationProblem
from agentspan.store import secrets, tables
from agentspan.store.database import Database
from agentspan.store.secrets import Keys, Sealed

KEYS = Keys(b"1" * 32)
VALUE = "sk-canary-0123456789"


def sealed(name: str, value: str = VALUE, at: int = 5) -> Sealed:
    return Sealed(name, KEYS.id, KEYS.seal(name, value), at, at)


@pytest.fixture
def connection(database_url: str) -> Iterator[Any]:
    database = Database(database_url)
    database.open()
    with database.writing.connect() as connection, connection.begin():
        yield connection
    database.close()


def test_a_value_is_read_back_and_is_nowhere_in_the_row(connection: Any) -> None:
    secrets.save(connection, sealed("API_KEY"))
    found = secrets.find(connection, ["API_KEY", "OTHER"])
    assert {name: KEYS.open(each) for name, each in found.items()} == {"API_KEY": VALUE}
    row = connection.execute(sa.select(tables.secrets)).one()
    assert VALUE.encode() not in row.data
    assert base64.b64encode(VALUE.encode()) not in row.data


def test_the_same_value_is_sealed_differently_each_time() -> None:
    assert KEYS.seal("A", VALUE) != KEYS.seal("A", VALUE)


def test_a_secret_that_is_saved_again_keeps_the_time_of_its_birth(connection: Any) -> None:
    secrets.save(connection, sealed("API_KEY", at=5))
    secrets.save(connection, sealed("API_KEY", "another", at=9))
    found = secrets.one(connection, "API_KEY")
    assert found is not None
    assert (KEYS.open(found), found.created_at, found.updated_at) == ("another", 5, 9)
    secrets.delete(connection, "API_KEY")
    assert secrets.one(connection, "API_KEY") is None


def test_a_row_that_is_passed_off_as_another_is_refused() -> None:
    with pytest.raises(ConfigurationProblem, match="'B' was changed in the database"):
        KEYS.open(replace(sealed("A"), name="B"))


def test_a_row_of_another_master_key_says_so() -> None:
    with pytest.raises(ConfigurationProblem, match="'A' was stored under another master key"):
        Keys(b"2" * 32).open(sealed("A"))


def test_each_purpose_has_a_key_of_its_own() -> None:
    master = b"1" * 32
    assert len({master, KEYS.signing, Keys(b"2" * 32).signing, KEYS.id.encode()}) == 4
    assert master.hex() not in KEYS.id


def test_a_binding_lets_a_name_stand_for_another(connection: Any) -> None:
    secrets.save(connection, sealed("STORED"))
    secrets.bind(connection, "LOGICAL", "NOT_THERE")
    secrets.bind(connection, "LOGICAL", "STORED")
    assert secrets.bindings(connection) == {"LOGICAL": "STORED"}
    found = secrets.find(connection, ["LOGICAL", "STORED"])
    assert {name: KEYS.open(each) for name, each in found.items()} == {"LOGICAL": VALUE, "STORED": VALUE}
    secrets.unbind(connection, "LOGICAL")
    assert list(secrets.find(connection, ["LOGICAL"])) == []


def test_who_was_given_a_secret_is_remembered_once(connection: Any) -> None:
    secrets.note(connection, [("t", 7, "B"), ("t", 7, "A"), ("other", 1, "A")], 100)
    secrets.note(connection, [("t", 7, "A"), ("t", 3, "A")], 200)
    assert secrets.uses(connection, "t") == [(3, "A", 200), (7, "A", 100), (7, "B", 100)]
