"""The notebooks as a user would run them: through ``python -m workbench run``, in a home of their own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from openai import OpenAI

from workbench.local import process
from workbench.project import Project


@dataclass(frozen=True)
class Road:
    """A home, and the means to walk through the notebooks in it as a user would."""

    home: Path
    started: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def run(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "workbench", "run", *words]
        running = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.home.parent,  # from anywhere, not only from the repository
            env=os.environ | {"WORKBENCH_HOME": str(self.home)},
        )
        self.started.append(running)
        return running

    def ran(self, *words: str) -> "Walk":
        """Run to the end, with a summary as JSON."""
        running = self.run("--json", *words)
        out, err = running.communicate(timeout=600)
        return Walk(running.returncode, out, err)

    def end(self) -> None:
        """End what a failed test has left running, and the service."""
        for running in self.started:
            if running.poll() is None:
                running.kill()
                running.communicate()
        process.stop(self.home)

    @property
    def project(self) -> Project:
        return self.project_of("gql")

    def project_of(self, name: str) -> Project:
        return Project(name, self.home / "projects" / name)

    @property
    def client(self) -> OpenAI:
        address = process.find(self.home)
        return OpenAI(base_url=f"{address.url}/openai/v1/", api_key=address.key)

    def jobs(self) -> list[str]:
        with self.client as client:
            return [job.status for job in client.fine_tuning.jobs.list()]


@dataclass(frozen=True)
class Walk:
    """One walk that ended: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, object]:
        return json.loads(self.out)

    def shown(self, notebook: str, cell_id: str) -> dict[str, str]:
        """What a cell of an executed notebook shows at its end."""
        executed = nbformat.read(Path(str(self.summary["folder"])) / f"{notebook}.ipynb", as_version=4)
        return next(cell.outputs for cell in executed.cells if cell.id == cell_id)[-1].data
