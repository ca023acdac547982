"""Does an exported model answer as the service did? Every form and type of weights, over the whole test.

    python tests/benchmarks/export.py --project gql     after its 06_evaluate; about five minutes

The service's answers are those on record; the files answer in transformers, greedily, eight at a time.
On the sample with SmolLM2 all 120 answers were equal in each of the five.
"""

import argparse
import tempfile
import time
from pathlib import Path

from workbench.connect import connect
from workbench.export import Form, Weights, export_model
from workbench.project import existing_project

WAYS: tuple[tuple[Form, Weights], ...] = (
    ("hf", "f32"),
    ("hf", "f16"),
    ("hf", "bf16"),
    ("gguf", "f16"),
    ("gguf", "q8_0"),
)


def main() -> None:
    """Export each way, and count the equal answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", default="gql")
    project, client = existing_project(parser.parse_args().project), connect("local")
    print("to    weights    MB   equal answers   CPU s")
    for to, weights in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            out = Path(folder) / "out"
            done = export_model(client, out, project=project, to=to, weights=weights, compare=None)
            took = time.process_time() - began
        found = done.parity
        equal = "not judged yet" if found is None else f"{found.same} of {found.questions}"
        print(f"{to:5} {weights:7} {done.size / 1e6:5.0f}   {equal:13} {took:7.0f}", flush=True)
        for question, then, now in found.different if found else ():
            print(f"    {question}\n      {then}\n      {now}")


if __name__ == "__main__":
    main()
