"""How deep JSON may be nested: less than what anything here can walk through. Looked at before it is read."""

from itertools import accumulate

NESTING = 100


def is_deep(text: bytes, most: int = NESTING) -> bool:
    """Whether values are nested deeper in a JSON text than they may be. What is no JSON may be either."""
    if text.count(b"[") + text.count(b"{") <= most:
        return False
    # What stands in strings counts for nothing: first what is escaped in them goes, then the rest of them.
    bare = text.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
    marks = b"".join(bare[::2]).translate(None, _NO_MARKS)
    return any(depth > most for depth in accumulate(map(_STEP.__getitem__, marks)))


_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_MARKS = bytes(set(range(256)) - _STEP.keys())
