"""What a file may be uploaded for, how long it may live, and how many there may be.

The purposes and the range of ``expires_after`` are those of OpenAI's API description (3,600 to
2,592,000 seconds). Azure's own range begins at 14 days (1,209,600; its 2025-04-01-preview
specification), which a service with Azure's quota insists on.
"""

from io import BufferedWriter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workbench.dataset.reading.text import require_utf_8
from workbench.errors import DataError
from workbench.local.api.refusals import Refusal, invalid
from workbench.local.api.requests import Shape
from workbench.local.quota import Quota
from workbench.local.storage.store import Store

PURPOSES = ("fine-tune", "assistants", "batch", "evals", "user_data", "vision")
LONGEST_EXPIRY = 2_592_000  # seconds


def _purpose(name: str) -> str:
    if name not in PURPOSES:
        raise ValueError(f"it is one of {', '.join(PURPOSES)}")
    return name


Purpose = Annotated[str, AfterValidator(_purpose)]


class ExpiresAfter(Shape):
    """When a file is to be removed: so many seconds after it was made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=1, le=LONGEST_EXPIRY)]


class NewFile(Shape):
    """What an upload says about its file."""

    purpose: Purpose
    expires_after: ExpiresAfter | None = None

    def lifetime(self, quota: Quota) -> int | None:
        """The seconds that the file is to live; raises ``Refusal`` when they are too few for ``quota``."""
        if self.expires_after is None:
            return None
        if self.expires_after.seconds < quota.shortest_expiry:
            raise invalid(
                "Invalid 'expires_after.seconds': "
                f"it is from {quota.shortest_expiry:,} to {LONGEST_EXPIRY:,} on this service.",
                "expires_after.seconds",
            )
        return self.expires_after.seconds


def need_room(store: Store, purpose: str, size: int, quota: Quota) -> None:
    """Refuse one more file of ``size`` bytes when those for fine-tuning are too many already."""
    if purpose != "fine-tune":
        return
    held = store.files.holdings(purpose)
    if quota.files is not None and held.files >= quota.files:
        finding = f"{held.files} files for fine-tuning are stored, the most there may be"
    elif quota.file_bytes is not None and held.bytes + size > quota.file_bytes:
        finding = f"with this file, those for fine-tuning would have more than {quota.file_bytes:,} bytes"
    else:
        return
    raise Refusal(
        429, "quotaExceeded", f"{finding[0].upper()}{finding[1:]}; delete one, or start with --quota off."
    )


def need_text(incoming: BufferedWriter, name: str, purpose: str) -> None:
    """Refuse a file for fine-tuning that is not UTF-8, in the words of the check; reads all of it."""
    if purpose != "fine-tune":
        return
    incoming.flush()
    try:
        with Path(incoming.name).open("rb") as content:
            require_utf_8(content, name)
    except DataError as error:
        raise Refusal(400, "jsonlValidationFailed", str(error), "file") from error
