"""What the refusals of a service mean: for each known message, code and status the cause and the way out.

The services' own text is always kept; what stands here is added to it. The messages and codes are those
documented for Azure or seen there; the local service gives its reasons itself.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from workbench.catalog.citations import facts_in
from workbench.catalog.limits import in_words, of_provider

DATA, CONTROL = "data", "control"
"""The two planes: files, jobs and answers; or deployments, quotas and roles (``management.azure.com``)."""


class KnownError(NamedTuple):
    """One refusal that is recognised: by its text wherever it comes from, or on one plane only."""

    pattern: str
    """Of ``status code: message``; upper and lower case are the same."""
    cause: str
    way_out: str
    plane: str | None = None
    """``None``: the same on both."""


SCOPES = ("https://cognitiveservices.azure.com/.default", "https://ai.azure.com/.default")
"""What a token is asked for; Azure's documents give both, and not which endpoint takes which."""


def _read(entry: Mapping[str, Any]) -> KnownError:
    """An entry of ``service_errors.toml``: a text, a code and a status are three ways to recognise it."""
    status = rf"^{entry['status']}\b|Error code: {entry['status']}\b" if "status" in entry else ""
    code = rf"^\d{{3}} {entry['code']}\b" if "code" in entry else ""  # a plain word counts only there
    pattern = "|".join(filter(None, (status, code, entry.get("text"))))
    return KnownError(pattern, entry["cause"], entry["way_out"], entry.get("plane"))


KNOWN_ERRORS = tuple(_read(entry) for entry in facts_in("service_errors")["error"])
"""The refusals that are recognised, in the order in which they are tried."""


def known_error(text: str, plane: str = DATA) -> KnownError | None:
    """Recognise a refusal by ``status code: message``, or by its message alone; ``None``: not known."""
    for known in KNOWN_ERRORS:
        if known.plane in (None, plane) and re.search(known.pattern, text, re.IGNORECASE | re.DOTALL):
            return known
    return None


def explanation(text: str, plane: str = DATA, *, training_type: str | None = None) -> str | None:
    """Cause and way out of a refusal, in a sentence without its full stop; ``None``: not known."""
    known = known_error(text, plane)
    safe = in_words(of_provider("azure").max_safe_file_bytes or 0)
    return known and f"{known.cause}: {known.way_out}".format(kind=training_type or "none", safe=safe)


def hint(message: str, *, training_type: str | None = None) -> str | None:
    """What is mostly behind a message about data, jobs or answers; ``None`` where it says all."""
    found = explanation(message, training_type=training_type)
    return found and f"Hint: {found}."


def hinted(message: str) -> str:
    """The message, and the hint behind it where there is one."""
    return " ".join(filter(None, (message, hint(message))))


def without_ids(text: str, *secrets: str | None) -> str:
    """The text of a service in one line, without ``secrets`` and ids of subscriptions, tenants, people."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    text = re.sub(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*", "…", text)  # a token that a service repeats
    text = re.sub(r"/subscriptions/[^/\s'\"?]+", "/subscriptions/…", text, flags=re.IGNORECASE)
    return " ".join(re.sub(r"\b[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "…", text).split())
