"""Run by alembic with the connection that `database.upgrade` hands over."""

from alembic import context

from agentspan.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
