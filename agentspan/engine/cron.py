"""The moments that a cron expression names, in a time zone, in milliseconds since the epoch.

Five fields, or six with the seconds first, as Conductor has them; or one of `@hourly`, `@daily`, `@weekly`, `@monthly`,
`@yearly`. A time that the clocks skip in spring comes when they have jumped; one that they show twice in autumn
comes once, unless the expression asks for every hour.
"""

import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from agentspan.errors import BadInput

LOOK = 5_000
"""So many moments are looked at before a long absence is cut to its end."""
BY_CHANCE = re.compile(r"(?<![a-z])[hr](?![a-z])", re.IGNORECASE)


class InvalidCron(BadInput):
    """The cron expression cannot be read."""


def check(cron: str, zone: str) -> None:
    """Raise InvalidCron unless the expression is sound and its time comes at all."""
    if next(moments(cron, zone, 0), None) is None:
        raise InvalidCron(f"the time of the cron expression {cron!r} never comes")


def moments(cron: str, zone: str, after: int) -> Iterator[int]:
    """The moments after `after`, in order, for ever."""
    from croniter import CroniterBadDateError, croniter

    place, fields = time_zone(zone), _fields(cron)
    every_hour = fields[-4] == "*"
    try:
        steps = croniter(
            " ".join(fields), datetime.fromtimestamp(after / 1000, place), second_at_beginning=len(fields) == 6
        )
        while True:
            moment = steps.get_next(float)
            if every_hour or not datetime.fromtimestamp(moment, place).fold:
                yield round(moment * 1000)
    except CroniterBadDateError:
        return
    except (ValueError, KeyError, OverflowError) as problem:
        raise InvalidCron(f"the cron expression {cron!r} cannot be read: {problem}") from problem


def following(cron: str, zone: str, after: int, until: int = 0) -> int:
    """The first moment after `after`, or 0 if there is none up to `until` (0: no end)."""
    moment = next(moments(cron, zone, after), 0)
    return 0 if until and moment > until else moment


def passed(cron: str, zone: str, first: int, now: int, most: int) -> list[int]:
    """The last `most` moments from `first`, which is one itself, up to `now`."""
    found: deque[int] = deque([first], maxlen=most)
    for seen, moment in enumerate(moments(cron, zone, first), 1):
        if moment > now:
            break
        found.append(moment)
        if seen == LOOK:
            # So dense that the end of the absence alone holds more than enough.
            span = moment - first
            return passed(cron, zone, max(moment, next(moments(cron, zone, now - span))), now, most)
    return [each for each in found if each <= now]


@lru_cache(maxsize=200)
def time_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name; BadInput if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as problem:
        raise BadInput(f"there is no time zone {name!r}; use a name such as Europe/Berlin or UTC") from problem


def written(moment: int, zone: str) -> str:
    """A moment as people of the zone write it."""
    return datetime.fromtimestamp(moment / 1000, UTC).astimezone(time_zone(zone)).isoformat(timespec="seconds")


def _fields(cron: str) -> list[str]:
    fields = MACROS.get(cron.strip().lower(), cron).split()
    if len(fields) not in (5, 6):
        raise InvalidCron(
            f"the cron expression {cron!r} must have 5 fields (minute hour day month weekday), "
            "or 6 with the seconds first"
        )
    if any(BY_CHANCE.search(field) for field in fields):
        raise InvalidCron(
            f"the cron expression {cron!r} cannot be read: H and R, which stand for chance, are not known"
        )
    return fields


MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
