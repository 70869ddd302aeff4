"""Passwords: what is stored of them, and whether one is right.

To check one takes the same time where there is no such user, so that nobody learns who there is.
"""

import hashlib
import hmac
import os

FEWEST_CHARS = 12
MOST_BYTES = 1024
_COST = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024}


def problem(password: str) -> str | None:
    """Why a password cannot be taken."""
    if len(password) < FEWEST_CHARS:
        return f"a password has at least {FEWEST_CHARS} characters"
    return f"a password has at most {MOST_BYTES} bytes" if len(password.encode()) > MOST_BYTES else None


def seal(password: str) -> str:
    """What is stored: the method, a salt and the scrypt of the password."""
    salt = os.urandom(16)
    return f"scrypt${salt.hex()}${_scrypt(password, salt).hex()}"


def is_right(password: str, stored: str) -> bool:
    """Whether a password is the stored one; never where none is stored."""
    _, salt, digest = (stored or NOBODYS).split("$")
    same = hmac.compare_digest(_scrypt(password[:MOST_BYTES], bytes.fromhex(salt)).hex(), digest)
    return same and bool(stored)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_COST)


NOBODYS = f"scrypt${'00' * 16}${'00' * 64}"
