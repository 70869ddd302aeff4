"""The built-in workers: they hold leases and report like any other, but live in the server's process."""
