"""What each provider takes, and how much of it: the numbers that client and local service are held to.

Every number stands once, in ``limits.toml``, with the page that gives it. ``None`` means that no source
gives one: then nothing is refused for it. Ranges of hyperparameters belong to the training methods, and what
differs from model to model (vision, tokens of an example) to the catalogue of models.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from workbench.catalog.citations import Source, facts_in

MB, GB = 1024**2, 1024**3


@dataclass(frozen=True)
class Limits:
    """The limits of one provider; bytes, seconds, US dollars. ``None``: no source gives a number."""

    # The data of a job
    min_examples: int | None = None
    """In a training file, and in the validation file of a reinforcement job."""
    max_examples_with_images: int | None = None
    max_images: int | None = None
    """In one example."""
    max_image_bytes: int | None = None
    max_training_tokens: int | None = None
    """Tokens in the file times epochs, in one job."""
    # The fields of a job
    max_seed: int | None = None
    max_suffix: int | None = None
    """Characters: letters a to z, digits, ``-`` and ``_``; no dots."""
    max_portal_suffix: int | None = None
    """Characters that the portal takes, where it takes fewer than the API."""
    training_types: tuple[str, ...] = ()
    """Values of ``trainingType``; upper and lower case are the same. Empty: there is no such field."""
    max_grader_bytes: int | None = None
    """The source of a Python grader."""
    # Files
    max_file_bytes: int | None = None
    """In one upload; as much or more is refused."""
    max_portal_file_bytes: int | None = None
    max_safe_file_bytes: int | None = None
    """Jobs on larger files in one upload were seen to fail late."""
    max_part_bytes: int | None = None
    max_upload_bytes: int | None = None
    """Of all parts of one upload together."""
    max_files: int | None = None
    """Uploaded for fine-tuning, of one resource."""
    max_all_files_bytes: int | None = None
    """Of all these files together."""
    min_expiry: int | None = None
    """Seconds that a file lives at least, where it is to expire."""
    max_expiry: int | None = None
    # Jobs
    max_running: int | None = None
    max_running_developer: int | None = None
    """Jobs of the training type developerTier at once."""
    max_queued: int | None = None
    max_jobs: int | None = None
    """Of one resource, those that have ended included."""
    pause_usd: int | None = None
    """Dollars at which a reinforcement job is paused; training and grading together."""
    checkpoints_kept: int | None = None
    """Checkpoints that stay usable: those of the last epochs."""
    # Deployments of one resource
    max_deployments: int | None = None
    max_tuned_deployments: int | None = None

    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)
    """Where each number is written, by the name of its field."""

    @property
    def in_one_upload(self) -> int | None:
        """The most bytes that are sent as one; a larger file goes in parts."""
        most = self.max_file_bytes
        bounds = (self.max_safe_file_bytes, None if most is None else most - 1)
        return min((each for each in bounds if each is not None), default=None)

    @property
    def suffix(self) -> re.Pattern[str]:
        """What a suffix of a tuned model's name looks like."""
        return re.compile(rf"[A-Za-z0-9_-]{{1,{self.max_suffix or ''}}}")

    @property
    def suffix_in_words(self) -> str:
        """The same for a person."""
        most = "" if self.max_suffix is None else f"up to {self.max_suffix} "
        return f"use {most}letters (a-z, A-Z), digits, '_' and '-'"

    def training_type(self, given: str) -> str | None:
        """The training type that is meant, as the provider writes it; ``None`` if there is none such."""
        return {name.lower(): name for name in self.training_types}.get(given.lower())

    def training_type_chosen(self, given: str) -> str:
        """The same for a person, who may say it as the portal does: ``Global``; what is unknown stays."""
        as_in_portal = {each.portal.lower(): name for name, each in TRAINING_TYPES.items()}
        return self.training_type(as_in_portal.get(given.lower(), given)) or given

    @property
    def numbers(self) -> Mapping[str, Any]:
        """The limits that have a number, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "sources"}
        return {name: value for name, value in values.items() if value not in (None, ())}


@dataclass(frozen=True)
class TrainingType:
    """One way in which Azure trains: where, how surely, and for what share of the price."""

    sent: str
    """As a request says it."""
    portal: str
    """As the portal and the documents say it."""
    about: str
    source: Source

    def __str__(self) -> str:
        """``Global (globalStandard)``, and one word where both are the same."""
        return self.portal if self.portal == self.sent else f"{self.portal} ({self.sent})"


def of_provider(name: str) -> Limits:
    """The limits of the provider called ``name``; of one that is not in the table none is known."""
    return LIMITS.get(name, Limits())


def in_words(size: int) -> str:
    """``512 MB``, ``8 GB``: bytes as the documents write them."""
    return f"{size // GB:,} GB" if size % GB == 0 else f"{size / MB:,.0f} MB"


_STATED = facts_in("limits")
_PAGES = {key: Source(**page) for key, page in _STATED["source"].items()}
TRAINING_TYPES: Mapping[str, TrainingType] = {
    entry.pop("name"): TrainingType(**entry | {"source": _PAGES[entry["source"]]})
    for entry in _STATED["training_type"]
}
"""Azure's, by the names in ``Limits.training_types``."""
SPECIFICATION = _PAGES["specification"]
"""Azure's, which gives the ranges of the hyperparameters too."""


def _limits() -> dict[str, Limits]:
    """What ``limits.toml`` gives; a later entry of a provider adds to the earlier ones."""
    found: dict[str, Limits] = {}
    for entry in _STATED["limits"]:
        name, source = entry.pop("provider"), _PAGES[entry.pop("source")]
        known = found.get(entry.pop("like", name), Limits())
        unknown: dict[str, Any] = dict.fromkeys(entry.pop("unknown", ()))
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()
        }
        sources = {**known.sources, **dict.fromkeys(given, source)}
        found[name] = replace(known, **unknown, **given, sources=sources)
    return found


LIMITS: Mapping[str, Limits] = _limits()
"""The limits by the name of the provider, each number with its source."""
