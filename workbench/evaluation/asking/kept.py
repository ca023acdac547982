"""The answers that were paid for, in a file: one JSON line each, known by the content of the request.

It only grows, and several kernels may write to it. Deleting it costs the answers,
and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from threading import Lock

from workbench import journal
from workbench.evaluation.asking.requests import Answer
from workbench.project import JSON


class Kept:
    """Answers by their requests' keys; without a file they are kept as long as this object."""

    def __init__(self, path: str | Path | None) -> None:
        """Read what an earlier run has left there."""
        self.answers: dict[str, Answer] = {}
        self.path = None if path is None else Path(path)
        self._unwritten: list[bytes] = []
        self._noting, self._writing = Lock(), Lock()
        for entry in () if self.path is None else journal.objects(self.path):
            try:
                # The first stands: its time was measured when it was fetched.
                self.answers.setdefault(str(entry["key"]), _answer(entry))
            except (KeyError, TypeError):
                continue  # no answer; it is asked again

    def add(self, key: str, model: str, answer: Answer) -> None:
        """Keep it; on disk, whole, when this returns. What the service refused is nothing to keep."""
        if answer.problem:
            return
        self.answers[key] = answer
        if self.path is None:
            return
        told = {"key": key, "model": model, **{k: v for k, v in asdict(answer).items() if v != ""}}
        with self._noting:
            self._unwritten.append(json.dumps(told | {"text": answer.text}, ensure_ascii=False).encode())
        # The disk is slow: who comes first writes for all who wait behind it.
        with self._writing:
            with self._noting:
                lines, self._unwritten = self._unwritten, []
            if lines:
                journal.append(self.path, b"\n".join(lines))


def _answer(entry: Mapping[str, JSON]) -> Answer:
    known = {field.name: entry[field.name] for field in fields(Answer) if field.name in entry}
    return Answer(**known)  # type: ignore[arg-type]
