"""What a run of the notebooks came to: for people a table, for CI one JSON object."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.headless.execution import Run
from workbench.project import JSON, Project

RESULTS = (
    "outcome",
    "verdict",
    "base_model",
    "base_prompt",
    "base_score",
    "base_low",
    "base_high",
    "tuned_model",
    "tuned_prompt",
    "tuned_score",
    "tuned_low",
    "tuned_high",
    "items",
    "fixed",
    "broken",
    "p_value",
    "training_seconds",
    "job_id",
)
"""The facts of a comparison that a run's summary repeats."""


@dataclass(frozen=True)
class Summary:
    """What came out of a run: how each notebook ended, and base against tuned when all of them did well."""

    project: str
    folder: Path
    runs: tuple[Run, ...]
    comparison: Mapping[str, JSON] | None

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as one JSON object."""
        notebooks: list[JSON] = []
        for run in self.runs:
            failed: dict[str, JSON] = {} if run.error is None else {"error": run.error, "path": str(run.path)}
            notebooks.append({"name": run.name, "status": run.status, "seconds": run.seconds, **failed})
        found = self.comparison or {}
        results = {name: found.get(name) for name in RESULTS}
        return {"notebooks": notebooks, **results, "project": self.project, "folder": str(self.folder)}

    def __str__(self) -> str:
        """Write the table for a shell: before, after, and how sure one can be."""
        if self.comparison is None:
            done = sum(run.status == "completed" for run in self.runs)
            return f"{done} of {len(self.runs)} notebooks completed; nothing was compared."
        found = self.comparison
        rows = [
            (
                f"{found[f'{side}_model']}, {found[f'{side}_prompt']}",
                f"{found[f'{side}_score']:.1%}".replace("%", " %"),
                f"{found[f'{side}_low']:.0%} to {found[f'{side}_high']:.0%}".replace("%", " %"),
            )
            for side in ("base", "tuned")
        ]
        rows = [(f"{found['items']} held-out questions", "right", "95 % interval"), *rows]
        first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
        lines = [f"{row[0]:<{first}}  {row[1]:>{second}}  {row[2]:>{third}}" for row in rows]
        lines.append(f"{found['verdict']} Training took {found['training_seconds']:.0f} s.")
        return "\n".join(lines)


def summarize(project: Project, runs: Iterable[Run], folder: Path) -> Summary:
    """Tell what came out; the scores stand in the record, if 06_evaluate wrote them just now."""
    ended = tuple(runs)
    compared = any(run.name == "06_evaluate" and run.status == "completed" for run in ended)
    entry = project.latest("comparison") if compared else None
    return Summary(project.name, folder, ended, None if entry is None else entry.facts)
