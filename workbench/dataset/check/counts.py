"""How many examples, images and bytes there are: whether a job starts, learns, and takes the file.

What is refused is the provider's limit (``catalog.limits``; Azure's where nobody says which provider); what
is advised comes from Microsoft's engineers (microsoft/GitHub-Copilot-for-Azure, 2026-08-20).
"""

from collections.abc import Iterator, Sequence
from typing import Self

from workbench.catalog.limits import Limits, in_words, of_provider
from workbench.catalog.methods import method as method_named
from workbench.dataset.check.messages import image_parts
from workbench.dataset.check.row import Finding, Row, Source
from workbench.dataset.dataset import counted

ADVISED = 50

SEVERAL_TIMES_ENOUGH = 2_000  # prompts for reinforcement; more cost hours and teach little


class Counts:
    """Counts the examples of one file, and those with images."""

    def __init__(self, method: str, role: str = "training", limits: Limits | None = None) -> None:
        """Nothing seen yet; ``role`` is what the file is for, as in ``FileFacts``."""
        self.limits = limits or of_provider("azure")
        self.method = method_named(method)
        self.role = role
        self.examples = 0
        self.with_images = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Count the next rows."""
        self.examples += len(rows)
        self.with_images += sum(any(image_parts(row.value.get("messages"))) for row in rows)

    def merge(self, later: Self) -> None:
        """Add what was counted behind this stretch."""
        self.examples += later.examples
        self.with_images += later.with_images

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """What the numbers tell of the whole file."""
        if self.role == "training":
            findings = [*self._enough()]
        elif self.role == "validation" and self.method.needs_validation and self._are_too_few:
            findings = [self._too_few(f"a {self.method.name} job")]
        else:
            findings = []
        for finding in (*findings, *self._images()):
            yield finding, ()

    @property
    def _are_too_few(self) -> bool:
        return self.limits.min_examples is not None and self.examples < self.limits.min_examples

    def _enough(self) -> Iterator[Finding]:
        thing = self.method.row_noun
        found = counted(self.examples, thing)
        teaches = self.method.teaching_examples
        if self._are_too_few:
            yield self._too_few("a job")
        elif self.examples < ADVISED:
            finding = f"{found}, which is enough to start a job and seldom enough to learn from"
            yield Finding("warning", "few", "", finding, f"aim for {ADVISED} good ones or more")
        elif self.examples < teaches:
            finding = f"{found}, which is a start; {teaches} and more teach well"
            yield Finding("info", "few", "", finding, "train, measure, then decide whether to add more")
        elif self.method.billed_by == "hours" and self.examples > SEVERAL_TIMES_ENOUGH:
            finding = f"{found}, and {teaches} to {SEVERAL_TIMES_ENOUGH:,} are usual, at a price by the hour"
            yield Finding("info", "few", "", finding, "start with the hardest that can be solved")

    def _too_few(self, job: str) -> Finding:
        found = counted(self.examples, self.method.row_noun)
        finding = f"{found}, and {job} needs at least {self.limits.min_examples}"
        return Finding("error", "too_few", "", finding, f"add {self.method.row_noun}s")

    def _images(self) -> Iterator[Finding]:
        most = self.limits.max_examples_with_images
        if most is not None and self.with_images > most:
            finding = f"{self.with_images:,} examples with images, and at most {most:,} are taken"
            yield Finding("error", "images", "", finding, "leave some out")
        elif self.with_images:
            finding = (
                f"{counted(self.with_images, 'example')} with images, of which the service leaves out, "
                "unsaid, those that show people, faces, children or CAPTCHAs"
            )
            yield Finding("info", "images", "", finding, "compare the number of examples in the finished job")


def no_validation(method: str, limits: Limits | None = None) -> list[Finding]:
    """What there is to say when no validation data is given."""
    known = method_named(method)
    if not known.needs_validation:
        return []
    finding = f"there is no validation data, and a {known.name} job needs some"
    needed = (limits or of_provider("azure")).min_examples or 1
    return [
        Finding(
            "error", "no_validation", "", finding, f"add a file of {counted(needed, known.row_noun)} or more"
        )
    ]


def sizes(bytes: int, limits: Limits | None = None) -> list[Finding]:
    """What there is to say about a file of so many bytes."""
    limits, finding = limits or of_provider("azure"), f"the file has {bytes / 1024**2:,.0f} MB"
    if (most := limits.max_upload_bytes) is not None and bytes > most:
        fix = "make several files and jobs of it"
        return [Finding("error", "size", "", f"{finding}, and {in_words(most)} is the most in parts", fix)]
    if (most := limits.max_all_files_bytes) is not None and bytes > most:
        fix = "make it smaller, for instance with fewer or shorter examples"
        finding += f", and all fine-tuning files of a resource together may have {in_words(most)}"
        return [Finding("error", "size", "", finding, fix)]
    size = limits.max_part_bytes
    parts = f"upload it in parts{f' of {in_words(size)}' if size else ''} through /uploads"
    if (most := limits.max_file_bytes) is not None and bytes >= most:
        finding += f", and one upload takes less than {in_words(most)}"
        return [Finding("error", "size", "", finding, parts)]
    if (most := limits.max_safe_file_bytes) is not None and bytes > most:
        finding += f", and jobs on more than {in_words(most)} in one upload were seen to fail late"
        if (portal := limits.max_portal_file_bytes) is not None and bytes >= portal:
            finding += f"; the portal takes less than {in_words(portal)}"
        return [Finding("warning", "size", "", finding, parts)]
    return []
