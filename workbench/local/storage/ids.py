"""The ids of everything the service keeps, in the form that Azure gives them."""

import hashlib
import uuid


def new_id(kind: str, *, joint: str = "-") -> str:
    """An id nobody has seen: ``file-`` and 32 hexadecimal digits."""
    return f"{kind}{joint}{uuid.uuid4().hex}"


def derived_id(kind: str, *parts: str) -> str:
    """An id that is the same whenever it is made of the same parts."""
    return f"{kind}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"
