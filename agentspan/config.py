"""The settings of a server and its workers: one frozen struct, read once, that knows where each value came from.

A value comes from an option of the command line, else from its native variable, else from the variable that
Conductor-style deployments use for it, else from the default. An empty variable counts as not set.
"""

import base64
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from msgspec.structs import replace

from agentspan.errors import ConfigurationProblem

MASK = "***"
MASTER_KEY_BYTES = 32
HOME = "default"
"""The tenant whose database is the one of the settings, and that keeps what is known of all others."""
SCHEMA = "tenant_"
"""How the PostgreSQL schema of every other tenant begins."""
TENANT = re.compile(r"[a-z][a-z0-9_]{0,39}")
BUILTIN_KINDS = ("llm", "http", "mcp")
"""The kinds of task for which there are built-in workers."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every number and name that a server can be started with. `Settings.load()` makes one."""

    data_dir: Path
    database_url: str
    scripts_path: Path
    host: str = "127.0.0.1"
    port: int = 6767
    pool_size: int = 8
    auth_key: str | None = None
    auth_secret: str | None = None
    master_key: bytes | None = None
    old_master_keys: tuple[bytes, ...] = ()
    allow_insecure_bind: bool = False
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    outgoing_allow: tuple[str, ...] = ()
    max_body_bytes: int = 32 * 1024 * 1024
    blob_bytes: int = 65_536
    sqlite_synchronous: str = "FULL"
    workers: str = "all"
    drain_seconds: float = 10
    lease_seconds: float = 10
    foreign_lease_seconds: float = 3600
    first_token_seconds: float = 60
    idle_seconds: float = 60
    total_seconds: float = 600
    limits: tuple["Limit", ...] = ()
    retention: tuple["Rule", ...] = ()
    rates: tuple["Rate", ...] = ()
    ui: bool = True
    ui_warm: bool = False
    log_level: str = "INFO"
    log_format: str = "TEXT"
    tracing: bool = False
    tenant: str = HOME
    public_url: str | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = None
    oidc_scopes: str = "openid profile email"
    oidc_roles: tuple["RoleRule", ...] = ()
    oidc_tenant: str = HOME
    sources: dict[str, str]

    @classmethod
    def load(
        cls, environ: Mapping[str, str] | None = None, options: Mapping[str, str | None] | None = None
    ) -> "Settings":
        """Read the environment, and the options of the command line (such as `{"--port": "7000"}`) before it."""
        given = _Given(os.environ if environ is None else environ, options or {})
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for setting in SETTINGS:
            if name := given.first(setting.names):
                values[setting.field] = _read(setting, name, given[name])
                sources[setting.field] = given.source(name)
            else:
                sources[setting.field] = "default"

        if "data_dir" not in values:
            values["data_dir"], sources["data_dir"] = _default_data_dir(given)
        values.setdefault("scripts_path", values["data_dir"] / "scripts")
        if "database_url" not in values:
            values["database_url"], sources["database_url"] = _peer_database(given) or (
                _sqlite_url(values["data_dir"] / "agentspan.db"),
                "default",
            )
        _both_or_neither(values)
        _whole_provider(values)
        return cls(**values, sources=sources)

    def performs(self, kind: str) -> bool:
        """Whether the built-in worker of that kind works in this process."""
        return self.workers == "all" or kind in self.workers.split(",")

    @property
    def is_local(self) -> bool:
        """Whether it listens only where this machine alone can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def of_tenant(self, name: str) -> "Settings":
        """The settings of a tenant, which has a database of its own: a schema of this one, or a file beside it."""
        if name == self.tenant:
            return self
        if self.tenant != HOME:
            raise ConfigurationProblem("a tenant has no tenants")
        if problem := tenant_problem(name):
            raise ConfigurationProblem(problem)
        if self.database_url.startswith("sqlite"):
            folder = self.data_dir / "tenants" / name
            return replace(self, tenant=name, data_dir=folder, database_url=_sqlite_url(folder / "agentspan.db"))
        return replace(self, tenant=name, database_url=_in_schema(self.database_url, f"{SCHEMA}{name}"))

    def describe(self) -> list[tuple[str, str, str]]:
        """A row for each setting: name, value with what is secret masked, source."""
        return [(setting.field, self._shown(setting), self.sources[setting.field]) for setting in SETTINGS]

    def _shown(self, setting: "Setting") -> str:
        value = getattr(self, setting.field)
        if value is None or value == ():
            return "not set"
        if setting.secret:
            return MASK
        if isinstance(value, tuple):
            return "; ".join(map(str, value)) if setting.field in LISTED else ", ".join(map(str, value))
        if isinstance(value, bool):
            return str(value).lower()
        return mask_url(str(value)) if setting.field == "database_url" else str(value)

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value}' for name, value, _ in self.describe())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value, _ in self.describe()]


class RoleRule(msgspec.Struct, frozen=True):
    """Who has this value of this claim has this role; with the value `*`, everybody has."""

    claim: str
    value: str
    role: str

    def __str__(self) -> str:
        return f"{self.claim}:{self.value}={self.role}" if self.claim else f"*={self.role}"


class Limit(msgspec.Struct, frozen=True):
    """What a server may ask of one provider with one key: requests and tokens in any minute, and calls at once."""

    provider: str
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None

    def __str__(self) -> str:
        parts = (f"{name}={value}" for name in LIMITED if (value := getattr(self, name)) is not None)
        return " ".join([self.provider, *parts])


LIMITED = ("rpm", "tpm", "concurrency")
ROLE_NAMES = ("viewer", "operator", "developer", "admin")
LISTED = ("limits", "rates", "retention")
"""Settings that are lists with semicolons between their parts."""
ENDED = ("COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT")


class Rule(msgspec.Struct, frozen=True):
    """Which ended runs are removed: those of a status (of any, if none is named) and of an agent (of any), that ended
    longer ago than `age_ms`, or that are not among the newest `most` of their agent."""

    status: tuple[str, ...] = ()
    agent: str = ""
    age_ms: int | None = None
    most: int | None = None

    def fits(self, agent: str, status: str) -> bool:
        """Whether the rule is about such a run."""
        return (not self.status or status in self.status) and self.agent in ("", agent)

    def __str__(self) -> str:
        parts = [",".join(self.status) or "*"]
        parts += [f"agent={self.agent}"] if self.agent else []
        parts += [f"age={length(self.age_ms)}"] if self.age_ms is not None else []
        return " ".join([*parts, *([f"most={self.most}"] if self.most is not None else [])])


DIGITS = 6
UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000}


def length_ms(text: str) -> int:
    """A length of time such as 30d, 12h, 10m or 5s. ValueError."""
    number, unit = text[:-1], text[-1:]
    if unit not in UNITS_MS or not number.isdecimal() or len(number) > DIGITS:
        raise ValueError
    return int(number) * UNITS_MS[unit]


def length(ms: int) -> str:
    """A length of time in the largest unit that holds it whole."""
    unit = next(unit for unit, size in UNITS_MS.items() if ms % size == 0)
    return f"{ms // UNITS_MS[unit]}{unit}"


class Rate(msgspec.Struct, frozen=True):
    """How many requests a server takes in so many seconds, of one key, one address or one tenant."""

    count: int
    seconds: int
    per: str

    def __str__(self) -> str:
        unit = next(name for name, seconds in UNITS.items() if seconds == self.seconds)
        return f"{self.count}/{unit} per {self.per}"


UNITS = {"s": 1, "min": 60, "h": 3600}
RATED = ("key", "address", "tenant")


class Setting(msgspec.Struct, frozen=True):
    """How one field of Settings is read: the names it goes by, first wins, and the sentence for a wrong value."""

    field: str
    names: tuple[str, ...]
    read: Callable[[str], Any]
    accepts: str
    secret: bool = False


class _Given(dict[str, str]):
    """What was said, by option or by variable."""

    def __init__(self, environ: Mapping[str, str], options: Mapping[str, str | None]) -> None:
        said = {name: value.strip() for name, value in environ.items() if value.strip()}
        # What Kubernetes says of a service called agentspan is no setting.
        super().__init__({name: value for name, value in said.items() if not value.startswith("tcp://")})
        self.update({name: value for name, value in options.items() if value is not None})

    def first(self, names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in self), None)

    def source(self, *names: str) -> str:
        return ("option " if names[0].startswith("--") else "env ") + ", ".join(names)


class _Unfit(ValueError):
    """A value that is of the right kind and still cannot be used; its text says what is needed instead."""


def tenant_problem(name: str) -> str | None:
    """Why a tenant cannot have that name."""
    if TENANT.fullmatch(name):
        return None
    return f"the name of a tenant is 1 to 40 of a-z, 0-9 and _, and begins with a letter; got {name!r}"


def mask_url(url: str) -> str:
    """The URL of a database without its passwords. It hides too much rather than too little."""
    if "://" not in url and "@" in url:
        return f"{MASK}@{url.rpartition('@')[2]}"
    url = re.sub(r"(://[^:@]*)[:@].*@", rf"\1:{MASK}@", url, flags=re.DOTALL)
    return re.sub(r"((?:^|[?&;])(?:ssl)?password=)[^&;]*", rf"\1{MASK}", url, flags=re.IGNORECASE)


def _read(setting: Setting, name: str, text: str) -> Any:
    try:
        return setting.read(text)
    except _Unfit as unfit:
        accepts = str(unfit)
    except ValueError:
        accepts = setting.accepts
    raise ConfigurationProblem(_sentence(name, text, accepts, setting.secret))


def _sentence(name: str, text: str, accepts: str, secret: bool = False) -> str:
    shown = "has a value that cannot be used" if secret else f"is {mask_url(text)!r}"
    return f"{name} {shown}; it must be {accepts}."


def _both_or_neither(values: dict[str, Any]) -> None:
    key, secret = (f"AGENTSPAN_AUTH_{part}" for part in ("KEY", "SECRET"))
    if ("auth_key" in values) != ("auth_secret" in values):
        there, missing = (key, secret) if "auth_key" in values else (secret, key)
        raise ConfigurationProblem(f"{there} is set but {missing} is not; set both, or neither.")


def _whole_provider(values: dict[str, Any]) -> None:
    if "oidc_issuer" not in values:
        return
    needed = {"oidc_client_id": "AGENTSPAN_OIDC_CLIENT_ID", "oidc_roles": "AGENTSPAN_OIDC_ROLES"}
    for field, name in {**needed, "auth_secret": "AGENTSPAN_AUTH_KEY and AGENTSPAN_AUTH_SECRET"}.items():
        if not values.get(field):
            raise ConfigurationProblem(f"AGENTSPAN_OIDC_ISSUER is set but not {name}; set it too.")


# Where the data is


def _default_data_dir(given: _Given) -> tuple[Path, str]:
    if sys.platform == "win32" and "LOCALAPPDATA" in given:
        return Path(given["LOCALAPPDATA"]) / "agentspan", "default"
    # The XDG rule: a relative path is invalid and is to be ignored.
    if sys.platform.startswith("linux") and os.path.isabs(given.get("XDG_DATA_HOME", "")):
        return Path(given["XDG_DATA_HOME"]) / "agentspan", "env XDG_DATA_HOME"
    try:
        home = Path(given["HOME"]) if "HOME" in given else Path.home()
    except RuntimeError:
        raise ConfigurationProblem("This user has no home folder; set AGENTSPAN_DATA_DIR to a folder.") from None
    return home / _DATA_UNDER_HOME.get(sys.platform, ".local/share/agentspan"), "default"


_DATA_UNDER_HOME = {"darwin": "Library/Application Support/agentspan", "win32": "AppData/Local/agentspan"}


def _path(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))


# The database: every accepted form becomes sqlite:////absolute/file or postgresql+psycopg://...


def _database_url(text: str) -> str:
    for prefix in ("jdbc:sqlite:", "sqlite:///"):
        if text.startswith(prefix):
            return _sqlite_url(_sqlite_file(text.removeprefix(prefix), jdbc=prefix.startswith("jdbc")))
    if text.startswith("jdbc:postgresql://"):
        return _postgres_url(*_split_jdbc(text))
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if text.startswith(prefix):
            return _checked_postgres("postgresql+psycopg://" + text.removeprefix(prefix))
    raise ValueError


def _peer_database(given: _Given) -> tuple[str, str] | None:
    """The database that the variables of a Spring deployment name, with the variables that were used."""
    profile = _profile(given)
    url = given.get("SPRING_DATASOURCE_URL")
    if url is None and profile is None:
        return None
    used = ["SPRING_DATASOURCE_URL"] if url else ["SPRING_PROFILES_ACTIVE"]
    jdbc = url or "jdbc:postgresql://localhost:5432/coss"
    try:
        if not jdbc.startswith("jdbc:postgresql://"):
            if profile == "postgres":
                raise _Unfit("a PostgreSQL URL, because SPRING_PROFILES_ACTIVE is 'postgres'")
            return _database_url(jdbc), given.source(*used)
        split, in_url = _split_jdbc(jdbc)
        # The profile brings the user and the password `postgres`, as it does there.
        login = {"user": "postgres", "password": "postgres"} if profile == "postgres" else {}
        for part, name in (("user", "SPRING_DATASOURCE_USERNAME"), ("password", "SPRING_DATASOURCE_PASSWORD")):
            if name in given and part not in in_url:
                login[part] = given[name]
                used.append(name)
        return _postgres_url(split, login | in_url), given.source(*used)
    except ValueError as unfit:
        raise ConfigurationProblem(_sentence("SPRING_DATASOURCE_URL", jdbc, str(unfit) or _DATABASE_FORMS)) from None


def _profile(given: _Given) -> str | None:
    text = given.get("SPRING_PROFILES_ACTIVE")
    for profile in (part.strip() for part in (text or "default").split(",")):
        if profile == "postgres":
            return profile
        if profile not in ("default", "sqlite"):
            accepts = "'postgres', 'sqlite' or 'default'"
            raise ConfigurationProblem(_sentence("SPRING_PROFILES_ACTIVE", text or "", accepts))
    return None


def _sqlite_file(text: str, *, jdbc: bool) -> Path:
    # The parameters of the JDBC driver (journal mode, busy time-out) are decided by the store here.
    file, _, parameters = text.partition("?")
    if not file or ":memory:" in file or file.startswith("file:"):
        raise _Unfit("a file on disk: in memory, every run would be lost with the process")
    if parameters and not jdbc:
        raise _Unfit("sqlite:///FILE without parameters")
    return _path(file)


def _sqlite_url(file: Path) -> str:
    return f"sqlite:///{file.as_posix()}"


def _split_jdbc(text: str) -> tuple[str, dict[str, str]]:
    """The URL without its parameters, and the parameters under libpq's names."""
    url, _, query = text.removeprefix("jdbc:").partition("?")
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        match name:
            case "ssl":
                # What the JDBC driver does: `?ssl`, and `?ssl=true`, verify the server's certificate.
                parameters.setdefault("sslmode", "verify-full" if value.lower() in ("", "true") else "prefer")
            case "currentSchema":
                parameters["options"] = f"-csearch_path={value}"
            case _ if name in _JDBC_PARAMETERS:
                parameters[_JDBC_PARAMETERS[name]] = value
            case _:
                accepted = ", ".join(["ssl", "currentSchema", *_JDBC_PARAMETERS])
                raise _Unfit(f"without the parameter {name!r}; the accepted parameters are {accepted}")
    return url, parameters


_JDBC_PARAMETERS = {
    "user": "user",
    "password": "password",
    "sslmode": "sslmode",
    "sslcert": "sslcert",
    "sslkey": "sslkey",
    "sslrootcert": "sslrootcert",
    "sslpassword": "sslpassword",
    "connectTimeout": "connect_timeout",
    "ApplicationName": "application_name",
    "options": "options",
}


def _postgres_url(url: str, parameters: dict[str, str]) -> str:
    parts = urlsplit(url)
    rest = dict(parameters)
    user = rest.pop("user", None) or unquote(parts.username or "")
    password = rest.pop("password", None) or unquote(parts.password or "")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + "@" if user else ""
    host = parts.netloc.rpartition("@")[2]
    query = f"?{urlencode(rest, quote_via=quote)}" if rest else ""
    return _checked_postgres(f"postgresql+psycopg://{login}{host}{parts.path}{query}")


def _checked_postgres(url: str) -> str:
    parts = urlsplit(url)
    try:
        _ = parts.port
    except ValueError:
        raise _Unfit(
            "a PostgreSQL URL with one host, a port from 1 to 65535 if any, and special characters written as %XX"
        ) from None
    if not parts.path.strip("/"):
        raise _Unfit("a PostgreSQL URL that names a database, as in postgresql://USER@HOST:5432/DATABASE")
    return url


def _in_schema(url: str, schema: str) -> str:
    """The URL of a PostgreSQL database with the schema that its statements mean."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    query["options"] = f"{query.get('options', '')} -csearch_path={schema}".strip()
    return parts._replace(query=urlencode(query, quote_via=quote)).geturl()


_DATABASE_FORMS = (
    "sqlite:////ABSOLUTE/FILE, postgresql://USER:PASSWORD@HOST:5432/DATABASE, jdbc:sqlite:FILE or "
    "jdbc:postgresql://HOST:5432/DATABASE"
)


# The kinds of value: each reads text or raises ValueError


def _whole(lowest: int, highest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not lowest <= number <= highest:
            raise ValueError
        return number

    return read


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _master_key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != MASTER_KEY_BYTES:
        raise ValueError
    return key


def _master_keys(text: str) -> tuple[bytes, ...]:
    return tuple(_master_key(part.strip()) for part in text.split(",") if part.strip())


def _switch(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
        case _:
            raise ValueError


def _traced(text: str) -> bool:
    return True if text.startswith(("http://", "https://")) else _switch(text)


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.upper() not in words:
            raise ValueError
        return text.upper()

    return read


def _workers(text: str) -> str:
    kinds = list(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    if kinds in (["all"], ["none"]):
        return kinds[0]
    if not kinds or not set(kinds) <= set(BUILTIN_KINDS):
        raise ValueError
    return ",".join(kinds)


def _host(text: str) -> str:
    if "/" in text or any(letter.isspace() for letter in text):
        raise ValueError
    return text


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(_host(name.strip()).lower() for name in text.split(",") if name.strip())


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(part.strip(), strict=False)) for part in text.split(",") if part.strip())


def _places(text: str) -> tuple[str, ...]:
    places = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if any(any(letter.isspace() for letter in place) or "//" in place for place in places):
        raise ValueError
    return places


def _limits(text: str) -> tuple[Limit, ...]:
    return tuple(_limit(part) for part in text.split(";") if part.strip())


def _limit(text: str) -> Limit:
    provider, *parts = text.replace(",", " ").split()
    numbers = dict(_numbered(part) for part in parts)
    if "=" in provider or not numbers or len(numbers) < len(parts):
        raise ValueError
    return Limit(provider.lower(), **numbers)


def rules(text: str) -> tuple[Rule, ...]:
    """Rules of retention, with semicolons between them. ValueError."""
    return tuple(_rule(part) for part in text.split(";") if part.strip())


def _rule(text: str) -> Rule:
    first, *parts = text.split()
    status = () if first == "*" else tuple(word.upper() for word in first.split(","))
    given = dict(part.partition("=")[::2] for part in parts)
    if not set(status) <= set(ENDED) or not given.keys() <= {"agent", "age", "most"} or len(given) < len(parts):
        raise ValueError
    if not given.keys() & {"age", "most"} or not all(given.values()):
        raise ValueError
    age = length_ms(given["age"]) if "age" in given else None
    most = _whole(0, _BYTES)(given["most"]) if "most" in given else None
    return Rule(status, given.get("agent", ""), age, most)


def _numbered(part: str) -> tuple[str, int]:
    name, equals, number = part.partition("=")
    if name not in LIMITED or not equals:
        raise ValueError
    return name, _whole(1, _BYTES)(number)


def _rates(text: str) -> tuple[Rate, ...]:
    return tuple(_rate(part) for part in text.split(";") if part.strip())


def _rate(text: str) -> Rate:
    times, word, per = text.split()
    count, _, unit = times.partition("/")
    if word != "per" or per not in RATED or unit not in UNITS:
        raise ValueError
    return Rate(_whole(1, 1_000_000)(count), UNITS[unit], per)


RETENTION = (
    "rules such as COMPLETED age=30d most=1000; FAILED,TIMED_OUT age=90d; * age=365d; each begins with statuses"
    f" ({', '.join(ENDED)}) or *, and has age= (in d, h, m or s), most= (of each agent), or both, and perhaps agent="
)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError
    return text.rstrip("/")


def _role_rules(text: str) -> tuple[RoleRule, ...]:
    return tuple(_role_rule(part.strip()) for part in text.split(",") if part.strip())


def _role_rule(part: str) -> RoleRule:
    told, equals, role = part.rpartition("=")
    claim, colon, value = told.partition(":")
    if not equals or role not in ROLE_NAMES or not (told == "*" or (claim and colon and value)):
        raise ValueError
    return RoleRule("", "*", role) if told == "*" else RoleRule(claim, value, role)


def _tenant(text: str) -> str:
    if problem := tenant_problem(text):
        raise _Unfit(problem)
    return text


_SECONDS = "a number of seconds above 0"
_BYTES = 1 << 40

SETTINGS: tuple[Setting, ...] = (
    Setting("host", ("--host", "AGENTSPAN_HOST"), _host, "the name or address to listen on, such as 127.0.0.1"),
    Setting(
        "port",
        ("--port", "AGENTSPAN_PORT", "SERVER_PORT"),
        _whole(0, 65_535),
        "a whole number from 0 (any free port) to 65535",
    ),
    Setting("database_url", ("--database", "AGENTSPAN_DATABASE_URL"), _database_url, _DATABASE_FORMS),
    Setting("data_dir", ("--data-dir", "AGENTSPAN_DATA_DIR"), _path, "a folder"),
    Setting(
        "pool_size",
        ("AGENTSPAN_POOL_SIZE", "SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE"),
        _whole(1, 1000),
        "a whole number from 1 to 1000",
    ),
    Setting("auth_key", ("AGENTSPAN_AUTH_KEY",), str, "a key", secret=True),
    Setting("auth_secret", ("AGENTSPAN_AUTH_SECRET",), str, "a secret", secret=True),
    Setting(
        "master_key",
        ("AGENTSPAN_MASTER_KEY",),
        _master_key,
        "32 random bytes in base64, such as `openssl rand -base64 32` prints",
        secret=True,
    ),
    Setting(
        "old_master_keys",
        ("AGENTSPAN_OLD_MASTER_KEYS",),
        _master_keys,
        "former values of AGENTSPAN_MASTER_KEY with commas between them",
        secret=True,
    ),
    Setting("allow_insecure_bind", ("AGENTSPAN_ALLOW_INSECURE_BIND",), _switch, "true or false"),
    Setting("allowed_hosts", ("AGENTSPAN_ALLOWED_HOSTS",), _hosts, "host names with commas between them"),
    Setting(
        "trusted_proxies",
        ("AGENTSPAN_TRUSTED_PROXIES",),
        _networks,
        "addresses or networks with commas between them, of proxies whose X-Forwarded-For is believed",
    ),
    Setting(
        "outgoing_allow",
        ("AGENTSPAN_OUTGOING_ALLOW",),
        _places,
        "names, addresses or ranges with commas between them, or the words loopback, private, none or *",
    ),
    Setting(
        "max_body_bytes",
        ("AGENTSPAN_MAX_BODY_BYTES",),
        _whole(1024, _BYTES),
        "a whole number of bytes, 1024 or more",
    ),
    Setting("blob_bytes", ("AGENTSPAN_BLOB_BYTES",), _whole(1, _BYTES), "a whole number of bytes, 1 or more"),
    Setting("sqlite_synchronous", ("AGENTSPAN_SQLITE_SYNCHRONOUS",), _one_of("FULL", "NORMAL"), "FULL or NORMAL"),
    Setting(
        "workers",
        ("--workers", "AGENTSPAN_WORKERS"),
        _workers,
        f"all, none, or kinds of built-in workers with commas between them: {', '.join(BUILTIN_KINDS)}",
    ),
    Setting("drain_seconds", ("AGENTSPAN_DRAIN_SECONDS",), _seconds, _SECONDS),
    Setting("lease_seconds", ("AGENTSPAN_LEASE_SECONDS",), _seconds, _SECONDS),
    Setting("foreign_lease_seconds", ("AGENTSPAN_FOREIGN_LEASE_SECONDS",), _seconds, _SECONDS),
    Setting("first_token_seconds", ("AGENTSPAN_FIRST_TOKEN_SECONDS",), _seconds, _SECONDS),
    Setting("idle_seconds", ("AGENTSPAN_IDLE_SECONDS",), _seconds, _SECONDS),
    Setting("total_seconds", ("AGENTSPAN_TOTAL_SECONDS",), _seconds, _SECONDS),
    Setting(
        "limits",
        ("AGENTSPAN_LIMITS",),
        _limits,
        "providers with their limits, as in openai rpm=500 tpm=200000 concurrency=50; anthropic rpm=50",
    ),
    Setting(
        "rates",
        ("AGENTSPAN_RATE_LIMIT",),
        _rates,
        "requests in a time, each of a key, an address or a tenant, as in 600/min per key; 50/s per address",
    ),
    Setting("retention", ("AGENTSPAN_RETENTION",), rules, RETENTION),
    Setting(
        "public_url", ("AGENTSPAN_PUBLIC_URL",), _url, "the address by which people reach this server, with http(s)"
    ),
    Setting("oidc_issuer", ("AGENTSPAN_OIDC_ISSUER",), _url, "the address of an OpenID Connect provider"),
    Setting(
        "oidc_client_id", ("AGENTSPAN_OIDC_CLIENT_ID",), str, "the client id that the provider knows this server by"
    ),
    Setting("oidc_client_secret", ("AGENTSPAN_OIDC_CLIENT_SECRET",), str, "the client secret", secret=True),
    Setting("oidc_scopes", ("AGENTSPAN_OIDC_SCOPES",), str, "scopes with spaces between them, openid among them"),
    Setting(
        "oidc_roles",
        ("AGENTSPAN_OIDC_ROLES",),
        _role_rules,
        "rules CLAIM:VALUE=ROLE with commas between them, the first that fits counts, and *=ROLE is for everybody; "
        "the roles are viewer, operator, developer and admin",
    ),
    Setting("oidc_tenant", ("AGENTSPAN_OIDC_TENANT",), _tenant, "the tenant that these people belong to"),
    Setting("ui", ("--ui", "AGENTSPAN_UI"), _switch, "true or false"),
    Setting("ui_warm", ("AGENTSPAN_UI_WARM",), _switch, "true or false"),
    Setting("scripts_path", ("AGENTSPAN_SCRIPTS",), _path, "a file or a folder with scripted models"),
    Setting(
        "log_level",
        ("--log-level", "AGENTSPAN_LOG_LEVEL"),
        _one_of("DEBUG", "INFO", "WARNING", "ERROR"),
        "debug, info, warning or error",
    ),
    Setting("log_format", ("AGENTSPAN_LOG_FORMAT",), _one_of("TEXT", "JSON"), "text or json"),
    Setting(
        "tracing",
        ("AGENTSPAN_TRACING", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        _traced,
        "true or false, or of the OTEL variables the address of a collector",
    ),
)
