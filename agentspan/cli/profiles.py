"""Which server, as whom: what the command line, the environment and a named profile say, in this order.

Profiles are in one file of the user's own (mode 0600), because they may hold credentials. Those belong to the server
of their profile and are shown to no other.
"""

import json
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from agentspan.errors import BadInput, ConfigurationProblem

DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Key(NamedTuple):
    """A setting of the command line: its variable, what it is, what it may be, and whether it is to be hidden."""

    variable: str
    about: str
    choices: tuple[str, ...] = ()
    secret: bool = False


class Value(NamedTuple):
    """What a setting is, and who said so."""

    text: str
    source: str


class Profiles(NamedTuple):
    """The file: settings by profile, and which profile is used if none is named."""

    current: str
    named: dict[str, dict[str, str]]


def values() -> dict[str, Value]:
    """Every setting that is set, with where it comes from: an option, else the environment, else the profile."""
    name = profile()
    stored = read().named.get(name, {})
    found = {key: Value(text, f"profile {name}") for key, text in stored.items() if key in KEYS}
    given = {key: Value(text, f"env {KEYS[key].variable}") for key in KEYS if (text := _variable(key))}
    if url := server_option.get():
        given["server_url"] = Value(url, "--server")
    elsewhere = "server_url" in given and _root(given["server_url"].text) != _root(stored.get("server_url", ""))
    if elsewhere or any(key in given for key in CREDENTIALS):
        # Another server is not shown them, and half a pair of credentials is not completed from another place.
        found = {key: value for key, value in found.items() if key not in CREDENTIALS}
    merged = {**found, **given}
    # Who has logged in is that person until they log out, whatever else the profile holds.
    hidden = [key for key in CREDENTIALS if key != "token"] if "token" in merged else []
    return {key: value for key, value in merged.items() if key not in hidden}


def setting(key: str) -> str | None:
    """One setting, or None."""
    value = values().get(key)
    return value.text if value else None


def credentials() -> dict[str, str]:
    """As whom: what is shown to the server, and the name of the person."""
    return {key: value.text for key, value in values().items() if key in (*CREDENTIALS, "user")}


def profile() -> str:
    """The name of the profile in use; ConfigurationProblem if there is none of the name that was given."""
    found = read()
    asked = profile_option.get() or os.environ.get("AGENTSPAN_PROFILE", "").strip()
    if asked and asked not in found.named and asked != DEFAULT and not may_be_new.get():
        known = ", ".join(sorted({DEFAULT, *found.named}))
        raise ConfigurationProblem(f"there is no profile {asked!r}; there are {known} (see: agentspan config set)")
    return asked or found.current


def path() -> Path:
    """Where the profiles are: the XDG folder of settings, or the one of the system."""
    if sys.platform == "win32" and "APPDATA" in os.environ:
        return Path(os.environ["APPDATA"]) / "agentspan" / "config.toml"
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(folder):
        return Path(folder) / "agentspan" / "config.toml"
    try:
        return Path.home() / ".config" / "agentspan" / "config.toml"
    except RuntimeError:
        raise ConfigurationProblem("this user has no home folder; set XDG_CONFIG_HOME to a folder") from None


def read() -> Profiles:
    """The profiles of the file; none if there is no file."""
    file = path()
    try:
        body = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Profiles(DEFAULT, {})
    except (OSError, ValueError) as problem:
        raise ConfigurationProblem(f"{file} cannot be read: {problem}") from problem
    named = body.get("profiles", {})
    if not isinstance(named, dict) or not all(isinstance(each, dict) for each in named.values()):
        raise ConfigurationProblem(f"{file}: profiles must be tables, such as [profiles.prod]")
    texts = {name: {key: _text(value) for key, value in each.items()} for name, each in named.items()}
    return Profiles(str(body.get("current") or DEFAULT), texts)


def write(found: Profiles) -> None:
    """Keep the profiles, for this user's eyes alone."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = [f"current = {_quoted(found.current)}"]
    for name, stored in sorted(found.named.items()):
        lines += ["", f"[profiles.{_quoted(name)}]", *(f"{key} = {_quoted(text)}" for key, text in stored.items())]
    handle, written = tempfile.mkstemp(dir=file.parent, prefix=".config-")  # made with mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as output:
        output.write("\n".join(lines) + "\n")
    os.replace(written, file)


def keep(name: str, key: str, text: str | None) -> None:
    """Set one setting of a profile, or take it away."""
    if not NAME.fullmatch(name):
        raise BadInput(f"the name of a profile is letters, digits, '.', '_' and '-', not {name!r}")
    found = read()
    stored = {**found.named.get(name, {})}
    if text is None:
        stored.pop(key, None)
    else:
        stored[key] = text
    write(found._replace(named={**found.named, name: stored}))


def checked(key: str, text: str) -> str:
    """A value that this setting may have; BadInput says which it may."""
    choices = KEYS[key].choices
    if choices and text not in choices:
        raise BadInput(f"{key} is one of {', '.join(choices)}, not {text!r}")
    if not text.strip() or not text.isprintable():
        raise BadInput(f"{key} must be one line of text that is not blank")
    return text.strip()


def key_named(name: str) -> str:
    """The setting of that name, in either spelling; BadInput names those that there are."""
    key = name.replace("-", "_").removeprefix("AGENTSPAN_").lower()
    if key not in KEYS:
        raise BadInput(f"there is no setting {name!r}; there are {', '.join(KEYS)}")
    return key


def shown(key: str, text: str) -> str:
    """A value as it may be seen."""
    return "***" if KEYS[key].secret else text


def _variable(key: str) -> str:
    return os.environ.get(KEYS[key].variable, "").strip()


def _root(url: str) -> str:
    return url.strip().rstrip("/").removesuffix("/api").rstrip("/")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but for the one control character that JSON lets stand."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


profile_option: ContextVar[str | None] = ContextVar("profile_option", default=None)
server_option: ContextVar[str | None] = ContextVar("server_option", default=None)
may_be_new: ContextVar[bool] = ContextVar("may_be_new", default=False)
"""Is this the command that makes profiles?"""

KEYS: Mapping[str, Key] = {
    "server_url": Key("AGENTSPAN_SERVER_URL", "address of the server; without one, the local server"),
    "api_key": Key("AGENTSPAN_API_KEY", "API key", secret=True),
    "auth_key": Key("AGENTSPAN_AUTH_KEY", "key of a pair of credentials"),
    "auth_secret": Key("AGENTSPAN_AUTH_SECRET", "secret of a pair of credentials", secret=True),
    "token": Key("AGENTSPAN_TOKEN", "token that `agentspan login` got", secret=True),
    "user": Key("AGENTSPAN_USER", "who starts runs and answers requests, by their own word"),
    "on_human": Key("AGENTSPAN_ON_HUMAN", "what waiting does when a run asks a person",
                    ("wait", "fail", "approve", "reject", "prompt")),
    "on_interrupt": Key("AGENTSPAN_ON_INTERRUPT", "what Ctrl-C does to a run that is waited for",
                        ("detach", "cancel")),
    "output": Key("AGENTSPAN_OUTPUT", "format of what is read", ("table", "json", "jsonl", "yaml", "csv", "id")),
}  # fmt: skip
CREDENTIALS = ("api_key", "auth_key", "auth_secret", "token")
VARIABLES = tuple(KEYS[key].variable for key in (*CREDENTIALS, "user"))
