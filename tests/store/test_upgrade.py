"""A database of an older version is brought to this one's schema, with all that is in it."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from agentspan.store import database, migrations, tables
from agentspan.store.database import Database


def test_a_database_of_the_first_version_keeps_what_it_has(database_url: str) -> None:
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(sa.text("insert into starts (agent, key, tree) values ('a', 'k', 't')"))
        assert not sa.inspect(connection).has_table("schedules")

    old = Database(database_url)
    try:
        database.upgrade(old)
        with old.reading.connect() as connection:
            assert database.revision(connection) == migrations.HEAD
            assert connection.execute(sa.text("select tree from starts")).scalars().all() == ["t"]
            assert set(tables.metadata.tables) <= set(sa.inspect(connection).get_table_names())
    finally:
        old.close()
