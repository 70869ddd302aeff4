"""How somebody comes in: by a name and a password, or by a key and its secret.

How often they may be wrong is bounded, and the audit keeps who came in and who did not.
"""

from agentspan.engine.access import NOBODY, Principal, digest
from agentspan.errors import TooMany
from agentspan.server.auth import Claim, WrongCredentials
from agentspan.server.handler import Handler


async def enter(handler: Handler, name: str, secret: str) -> Principal:
    """Who that is: who has the key and the secret of the settings, or a user. Guesses are counted by who makes them and
    by whom they are about. WrongCredentials, TooMany; 401 tells nobody whether there is such a user."""
    throttle = handler.context.throttle
    # A name may be as long as a body, and is kept.
    guesses = (f"from {handler.address}", f"as {digest(name)}")
    async with throttle.alone(guesses[0]), throttle.alone(guesses[1]):
        # Others' guesses do not shut out who has come in from there before.
        counted = guesses[:1] if throttle.knows(guesses) else guesses
        if wait := max(map(throttle.wait, counted)):
            raise TooMany(f"Too many wrong tries: wait {int(wait) + 1} s, then try again.", wait)
        who = await _find(handler, name, secret)
        for each in guesses:
            throttle.hit(each) if who else throttle.missed(each)
        if who:
            throttle.remember(guesses)
    await noted(handler, who, name)
    if who is None:
        raise WrongCredentials("the name or the password is wrong")
    return who


async def noted(handler: Handler, who: Principal | None, name: str) -> None:
    """Write down that somebody came in; without `who`, that they did not."""
    house = await handler.context.tenants.house(who.tenant if who else NOBODY.tenant)
    action = f"login.{'ok' if who else 'failed'}"
    entry = await house.audit.begin(who or NOBODY, name[:200], action, name[:200], handler.address)
    await house.audit.conclude(entry, "ok" if who else "refused", "", {})


async def _find(handler: Handler, name: str, secret: str) -> Principal | None:
    door, access = handler.context.door, handler.context.tenants.access
    await access.fresh()
    try:
        found = door.check_pair(name, secret)
        return door.known(found) if isinstance(found, Claim) else found
    except WrongCredentials:
        return await access.by_password(name, secret)
