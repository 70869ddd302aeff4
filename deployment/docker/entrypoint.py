#!/usr/bin/env python3
"""What the container does, by its first word: a role of agentspan, a look at its own health, or any other command.

It gives its process away to the command, so that the signals of `docker stop` and of Kubernetes arrive there.
"""

import os
import sys
import urllib.error
import urllib.request

PORT = "6767"
HEALTH_SECONDS = 4
SHOWN_BYTES = 500


def main(words: list[str]) -> int:
    """Become the command that the words ask for, or say how this container is."""
    role, *rest = words or ["server"]
    if role == "health":
        return health(*rest)
    command, brought = ROLES.get(role, ((role,), {}))
    environ = {**brought, **os.environ}
    try:
        os.execvpe(command[0], [*command, *rest], environ)
    except FileNotFoundError:
        print(f"there is no {role!r} here: say {', '.join([*ROLES, 'health'])}, or a command", file=sys.stderr)
        return 127


def health(path: str = "/actuator/health") -> int:
    """0 if the process in this container says that it is well."""
    address = f"http://127.0.0.1:{os.environ.get('AGENTSPAN_PORT') or PORT}{path}"
    try:
        with urllib.request.urlopen(address, timeout=HEALTH_SECONDS) as answer:
            print(answer.read(SHOWN_BYTES).decode(errors="replace"))
        return 0
    except urllib.error.HTTPError as refused:
        print(refused.read(SHOWN_BYTES).decode(errors="replace"))
    except OSError as problem:
        print(f"nobody answers at {address}: {problem}")
    return 1


SERVER = ("agentspan", "server", "start", "--foreground")
# Each role's command, and the variables that it brings where the container has no value for them.
ROLES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "server": (SERVER, {}),
    "worker": (("agentspan", "worker"), {}),
    # One more server of the same database that shows pages and leaves the work to the others.
    "dashboard": ((*SERVER, "--ui", "--workers", "none"), {"AGENTSPAN_UI_WARM": "true"}),
    "migrate": (("agentspan", "db", "upgrade"), {}),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
