"""How much one service takes on at a time: jobs in training and in the queue, files, and for how long."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

from workbench.errors import SetupError

QuotaName: TypeAlias = Literal["local", "azure", "off"]


@dataclass(frozen=True)
class Quota:
    """The bounds of one service; ``None`` is no bound."""

    training: int  # jobs at once
    queued: int | None  # jobs that wait to be trained for the first time
    files: int | None  # uploaded for fine-tuning
    file_bytes: int | None  # of all these files together
    shortest_expiry: int  # seconds that a file lives at least
    deployments: int | None = None
    tuned_deployments: int | None = None  # of these, those of tuned models


# Azure: "Azure OpenAI quotas and limits" (19 March 2026) for jobs and files, the 2025-04-01-preview
# specification for the expiry. OpenAI's own API lets a file expire after an hour already. On one machine
# two jobs on the same cores each take more than twice as long, so that it trains one after the other.
QUOTAS: dict[QuotaName, Quota] = {
    "local": Quota(training=1, queued=20, files=100, file_bytes=None, shortest_expiry=3_600),
    "azure": Quota(
        training=3,
        queued=20,
        files=100,
        file_bytes=2**30,
        shortest_expiry=1_209_600,
        deployments=32,
        tuned_deployments=10,
    ),
    "off": Quota(training=1, queued=None, files=None, file_bytes=None, shortest_expiry=3_600),
}


def quota_name(text: str) -> QuotaName:
    """Read the name of a quota; raises ``SetupError`` when there is none of this name."""
    if text not in get_args(QuotaName):
        raise SetupError(f"There is no quota {text!r}; it is one of {', '.join(get_args(QuotaName))}.")
    return cast(QuotaName, text)
