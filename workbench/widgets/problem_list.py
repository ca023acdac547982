"""The problems of a check, by rule: jump to a row, see what a repair would make of it, choose it, undo it.

``window.repair`` is the repair by the rules that are chosen now; the data it starts from is never changed,
and nothing is written but which rules were chosen. Rows come in pages, so that 100,000 of them are no more
work for a browser than 50.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from typing import Any

import ipywidgets

from workbench.catalog.methods import method as method_named
from workbench.dataset.check.privacy import masked
from workbench.dataset.check.report import Report, RuleFindings
from workbench.dataset.dataset import Dataset, Example, counted
from workbench.dataset.diff import Diff
from workbench.dataset.repair.changes import RepairChange
from workbench.dataset.repair.fixes import FIXES
from workbench.dataset.repair.repair import Repair, propose
from workbench.display import Window, safe
from workbench.errors import WorkbenchError
from workbench.project import Project
from workbench.widgets.questionnaire import own_keys
from workbench.widgets.row_review import shown

PAGE = 50  # rows that are listed at once
SMALL = 2_000  # rows up to which all are repaired for a preview, within a second; else those on the page
KEPT = "repairs.json"  # in the project's folder: which rules were chosen for which data
_LETTERS = 70  # of a row in the list
_MARKS = {"error": "✕", "warning": "!", "info": "·"}
_WIDE = ipywidgets.Layout(width="auto", max_width="60em")
_LABEL = {"description_width": "5em"}


class ProblemList(Window, ipywidgets.VBox):  # type: ignore[misc]
    """The window; ``repair`` is what the chosen rules amount to, ``chosen`` their names."""

    def __init__(
        self, dataset: Dataset, report: Report, rules: Collection[str], project: Project | None
    ) -> None:
        """Begin with ``rules``, or with what a person chose for the same data and rules before."""
        self._dataset, self._report, self._project = dataset, report, project
        self._start = list(rules)
        self.chosen: list[str] = self._kept()
        self._previews: dict[tuple[str, int], Repair] = {}
        self._made: tuple[tuple[str, ...], Repair] | None = None
        short = method_named(report.method).format
        self._fixes = {fix.rule: fix for fix in FIXES if short in fix.methods}
        self._rules = report.by_rule
        self._places: list[str] = []
        self._page, self._open = 0, -1
        self.findings = ipywidgets.Select(
            options=self._labels(), description="Findings", layout=_WIDE, style=_LABEL, rows=8
        )
        self.rows = ipywidgets.Select(description="Rows", layout=_WIDE, style=_LABEL, rows=6)
        self.before = ipywidgets.Button(description="Earlier rows", icon="chevron-left")
        self.after = ipywidgets.Button(description="Further rows", icon="chevron-right")
        self.repair_it = ipywidgets.Button(description="Repair", icon="check")
        self.undo = ipywidgets.Button(description="Undo", icon="undo")
        self._shown, self._status = ipywidgets.HTML(), ipywidgets.HTML()
        pages = ipywidgets.HBox([self.before, self.after])
        choices = ipywidgets.HBox([self.repair_it, self.undo])
        super().__init__([self._status, self.findings, self.rows, pages, self._shown, choices, *own_keys()])
        self.findings.observe(self._open_rule, names="index")
        self.rows.observe(self._open_row, names="index")
        self.before.on_click(lambda _: self._turn(-1))
        self.after.on_click(lambda _: self._turn(1))
        self.repair_it.on_click(lambda _: self._choose(True))
        self.undo.on_click(lambda _: self._choose(False))
        if self._rules:
            self._open_rule()
        else:
            self._open_row()
        self._say()

    @property
    def repair(self) -> Repair:
        """The repair by the chosen rules; ``repair.apply()`` gives the repaired copy."""
        key = tuple(self.chosen)
        if self._made is None or self._made[0] != key:
            self._made = key, propose(self._dataset, self._report, rules=self.chosen)
        return self._made[1]

    def __repr__(self) -> str:
        """The repair as it is chosen."""
        return repr(self.repair)

    def _repr_html_(self) -> str:
        return self.repair._repr_html_()

    @property
    def _rule(self) -> RuleFindings | None:
        place = self.findings.index
        return None if place is None else self._rules[place]

    @cached_property
    def _examples(self) -> dict[str, Example]:
        return {example.origin: example for example in self._dataset}

    def _labels(self) -> list[tuple[str, int]]:
        """Each finding with its number and what becomes of it; equal names would hide each other."""
        return [
            (
                f"{_MARKS[rule.level]} {rule.level}: {rule.rule}, {counted(rule.places, 'place')}"
                f"{', is repaired' if rule.rule in self.chosen else ''}",
                place,
            )
            for place, rule in enumerate(self._rules)
        ]

    def _open_rule(self, _change: object = None) -> None:
        if self.findings.index == self._open:
            return
        self._open, rule = self.findings.index, self._rule
        problems = [problem for group in rule.groups for problem in group.problems()] if rule else []
        self._places = list(dict.fromkeys(problem.origin for problem in problems if problem.line is not None))
        self._turn(-self._page)

    def _turn(self, pages: int) -> None:
        last = max(0, -(-len(self._places) // PAGE) - 1)
        self._page = min(max(self._page + pages, 0), last)
        listed = self._places[self._page * PAGE : (self._page + 1) * PAGE]
        self.rows.options = [(self._named(origin), n) for n, origin in enumerate(listed)]
        self.rows.index = 0 if listed else None
        self.before.disabled, self.after.disabled = self._page == 0, self._page == last
        self._open_row()

    def _named(self, origin: str) -> str:
        example = self._examples.get(origin)
        asked = masked(shown(" ".join(example.question.split()))) if example else "a line that cannot be read"
        return f"{origin}  {asked[:_LETTERS]}{'…' if len(asked) > _LETTERS else ''}"

    def _open_row(self, _change: object = None) -> None:
        rule = self._rule
        if rule is None:
            self._shown.value = "<p>There is no problem to show.</p>"
            self.repair_it.disabled = self.undo.disabled = True
            return
        place = self.rows.index
        origin = None if place is None else self._places[self._page * PAGE + place]
        is_chosen, fix = rule.rule in self.chosen, self._fixes.get(rule.rule)
        self.repair_it.disabled, self.undo.disabled = is_chosen or fix is None, not is_chosen
        first = next(
            (g.finding for g in rule.groups if origin and _at(origin, g.file, g.lines)),
            rule.groups[0].finding,
        )
        does = (
            f"The repair: {fix.title}."
            if fix
            else "There is no repair for this rule: review the row by hand."
        )
        self._shown.value = shown(
            f"<p>{safe(first.message)}; {safe(first.fix)}. <b>{safe(does)}</b></p>{self._row(origin)}"
        )

    def _row(self, origin: str | None) -> str:
        """What the repair would make of the row; the row itself where it changes nothing."""
        rule = self._rule
        if origin is None or rule is None:
            return ""
        changes = self._changes(rule.rule, origin)
        if changes:
            lines = [f"--- {origin}{', is dropped' if changes[-1].after is None else ''}"]
            return Diff("\n".join([*lines, *(change.diff() for change in changes)]))._repr_html_()
        example = self._examples.get(origin)
        return example._repr_html_() if example else ""

    def _changes(self, rule: str, origin: str) -> list[RepairChange]:
        if rule not in self._fixes:
            return []
        listed = self._places[self._page * PAGE : (self._page + 1) * PAGE]
        whole = len(self._dataset) <= SMALL
        key = (rule, 0 if whole else self._page)
        if key not in self._previews:
            rows = tuple(self._examples[each] for each in listed if each in self._examples)
            data = self._dataset if whole else replace(self._dataset, examples=rows)
            self._previews = {key: propose(data, self._report, rules=[rule])}
        return [change for change in self._previews[key].changes if change.origin == origin]

    def _choose(self, wanted: bool) -> None:
        """Choose the rule in view, or no longer; a second click of the same kind changes nothing."""
        rule = self._rule
        if rule is None or (rule.rule in self.chosen) is wanted or rule.rule not in self._fixes:
            return
        if wanted:
            self.chosen.append(rule.rule)
        else:
            self.chosen.remove(rule.rule)
        trouble = ""
        try:
            self._keep()
        except WorkbenchError as error:
            trouble = f" It counts here and is not kept: {error}"
        self.findings.unobserve(self._open_rule, names="index")  # new labels set it back to the first one
        self.findings.options = self._labels()
        self.findings.index = self._open
        self.findings.observe(self._open_rule, names="index")
        self._open_row()
        self._say(trouble)

    def _say(self, trouble: str = "") -> None:
        places = sum(rule.places for rule in self._rules)
        mine = sum(rule.places for rule in self._rules if rule.rule in self.chosen)
        rules = ", ".join(dict.fromkeys(rule.rule for rule in self._rules if rule.rule in self.chosen))
        said = f"Chosen for repair: {rules or 'nothing'} ({mine:,} of {counted(places, 'place')})."
        self._status.value = f'<p role="status">{safe(said)} Your file stays as it is.{safe(trouble)}</p>'

    def _kept(self) -> list[str]:
        """What was chosen before for the same data and the same rules to begin with."""
        path = self._project.path / KEPT if self._project else None
        if path is None or not path.is_file():
            return list(self._start)
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        same = kept["data"] == self._dataset.sha256 and kept["start"] == self._start
        return list(kept["chosen"] if same else self._start)

    def _keep(self) -> None:
        if self._project is not None:
            kept = {"data": self._dataset.sha256, "start": self._start, "chosen": self.chosen}
            self._project.save(KEPT, json.dumps(kept))


def problems(
    dataset: Dataset, report: Report, *, rules: Collection[str] = (), project: Project | None = None
) -> ProblemList:
    """Show the findings of a check, and let me choose what is repaired; ``rules`` are chosen to begin with.

    With a ``project`` the choice is kept, and is there again when the cell is run again on the same data.
    """
    return ProblemList(dataset, report, rules, project)


def _at(origin: str, file: str, lines: Collection[int]) -> bool:
    name, _, line = origin.rpartition(":")
    return name == file and line.isdecimal() and int(line) in lines
