"""Answering and training with the oldest and the newest transformers that requirements.txt allows.

    python tests/versions.py [options of pytest]

Each is put into a folder of its own and imported from there; nothing that is installed changes. A
deprecation of transformers that our code causes is an error, as in every run of the tests.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

from workbench.settings import ROOT

TESTS = (
    "tests/local/inference/test_batch.py",
    "tests/local/training/test_run.py",
    "tests/local/models/test_bases.py",
    "tests/dataset/test_chat_template.py",
)
# The same in brief: answering side by side, with windows, sinks and adapters; training and resuming.
BRIEF = "(join_later and (llama or gpt-oss)) or (greedy and mistral) or adapters_of_their_own or resumed_run"


def requirements() -> dict[str, Requirement]:
    """What ``requirements.txt`` lists, by name."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    found = [line.partition("#")[0].strip() for line in lines]
    listed = [Requirement(line) for line in found if line and not line.startswith("-")]
    return {requirement.name: requirement for requirement in listed}


def ends(requirement: Requirement) -> dict[str, str]:
    """What to ask pip for: the lower end of the range, and whatever is newest within it."""
    [lowest] = [each.version for each in requirement.specifier if each.operator == ">="]
    return {"oldest": f"{requirement.name}=={lowest}", "newest": str(requirement)}


def fetch(wanted: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Put package ``wanted`` alone, without what it needs, into ``folder``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--retries", "1", "--target", str(folder), wanted]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def tried(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The tests of answering and training, with the packages in ``folder`` before those installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, *options]
    paths = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )


def main() -> int:
    """Try both ends; the number of those that failed."""
    failed = 0
    for end, wanted in ends(requirements()["transformers"]).items():
        with tempfile.TemporaryDirectory() as folder:
            fetched = fetch(wanted, Path(folder))
            if fetched.returncode:
                print(f"{end}: {wanted} cannot be fetched.\n{fetched.stderr}")
                failed += 1
                continue
            [metadata] = Path(folder).glob("transformers-*.dist-info")
            done = tried(Path(folder), *sys.argv[1:])
            print(f"{end}: {metadata.stem}: {done.stdout.splitlines()[-1]}")
            if done.returncode:
                print(done.stdout[-5000:], done.stderr[-1000:])
                failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
