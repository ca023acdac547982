"""The result on one page: a file that opens anywhere, drawn from a project's record and files alone.

``report`` writes it as HTML or as Markdown. Several projects, or several runs of one, stand side by side.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import chain
from pathlib import Path

from workbench import jsonl_log
from workbench.errors import DataError, did_you_mean
from workbench.project import Project, open_project
from workbench.project import projects as projects_here
from workbench.report.page import MARK, Page
from workbench.report.sections import compared, sections
from workbench.report.subject import runs_of, subjects
from workbench.settings import VERSION, home
from workbench.task import samples

_HTML, _MARKDOWN = (".html", ".htm"), (".md", ".markdown")
_BEGINNING = 2_000  # bytes of a file in which it says what it is
MOST_BYTES = 3_000_000
"""Of a page: more than that no mail takes, and nobody reads."""


@dataclass(frozen=True, repr=False)
class ReportFile:
    """Where a report was written."""

    path: Path
    title: str

    def __repr__(self) -> str:
        """Say where it is."""
        return f"{self.title}: {self.path}"

    def _repr_html_(self) -> str:
        # A page from a server may not link to a file of this machine, so the link carries the file.
        kind = "text/html" if self.path.suffix in _HTML else "text/markdown"
        content = base64.b64encode(self.path.read_bytes()).decode()
        return (
            f'<p class="mathjax_ignore"><a download="{escape(self.path.name)}" '
            f'href="data:{kind};base64,{content}">{escape(self.title)}</a>, also in '
            f"<code>{escape(str(self.path))}</code></p>"
        )


def report(
    *projects: Project | str,
    runs: Sequence[int] = (),
    out: str | Path | None = None,
    force: bool = False,
) -> ReportFile:
    """Write what came out, on one page: verdict, data, curve, scores, cost and how to reproduce it.

    ``runs``: of one project, the numbers of its runs, the first being 1; else the newest that was judged.
    ``out``: a file that ends in .html or .md; ``None`` is ``report.html`` in the project's folder. A file
    there that is no report stays, unless ``force``. Raises ``DataError`` for a project that is not there.
    """
    opened = [_opened(each) if isinstance(each, str) else each for each in projects]
    if not opened:
        raise DataError(f"Name a project to report; {_there_are()}.")
    if runs and len(opened) > 1:
        raise DataError("Runs are those of one project; give one project, or leave the runs out.")
    path = _default(opened) if out is None else Path(out).expanduser().resolve()
    if path.suffix.lower() not in (*_HTML, *_MARKDOWN):
        raise DataError(f"A report is a file that ends in .html or .md, and {path.name} does not.")
    _refuse_foreign(path, force=force)
    chosen = [subject for project in opened for subject in subjects(project, runs)]
    beside = chosen if runs or len(opened) > 1 else runs_of(opened[0])
    above = (compared(beside),) if len(beside) > 1 else ()
    title = f"Fine-tuning report: {', '.join(dict.fromkeys(project.name for project in opened))}"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = f"Written {now} by Fine-Tuning Workbench {VERSION}, from the record and files of the project."
    page = Page(title, about, (*above, *chain.from_iterable(map(sections, chosen))))
    content = (page.html if path.suffix.lower() in _HTML else page.markdown).encode()
    if len(content) > MOST_BYTES:
        raise DataError(
            f"The report would have {len(content) / 1e6:.1f} MB, and {MOST_BYTES / 1e6:.0f} MB is the most; "
            "name fewer projects or runs."
        )
    jsonl_log.replace_file(path, content)
    return ReportFile(path, title)


def _opened(name: str) -> Project:
    project = open_project(name)
    if name in _names():
        return project
    there_are = _there_are().capitalize()
    raise DataError(f"There is no project {name}.{did_you_mean(name, _names())} {there_are}.")


def _names() -> list[str]:
    return sorted({*(project.name for project in projects_here()), *samples()})


def _there_are() -> str:
    return f"there are {', '.join(_names())}"


def _default(projects: Sequence[Project]) -> Path:
    if len(projects) == 1:
        return projects[0].path / "report.html"
    return home() / "reports" / f"{'_'.join(project.name for project in projects)[:100]}.html"


def _refuse_foreign(path: Path, *, force: bool) -> None:
    """Never write over a file that somebody else made."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it.")
    if force or not path.exists():
        return
    with path.open("rb") as file:
        is_ours = MARK.encode() in file.read(_BEGINNING)
    if not is_ours:
        raise DataError(
            f"{path} is there already and is no report of the workbench; choose another name, or replace it "
            "with --force (force=True)."
        )
