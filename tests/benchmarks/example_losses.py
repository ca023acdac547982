"""Do planted wrong answers rank at the top? And what does the recording cost?

    python tests/benchmarks/example_losses.py         about 15 minutes on two quiet cores

5 % of the sample project's training answers are made wrong, once with another question's answer, once
with a small slip (another comparison or number), and SmolLM2 is trained on them for three epochs.
"""

import os
import random
import re
import time
from dataclasses import replace

from transformers.utils import logging

from workbench.dataset.dataset import Dataset
from workbench.dataset.read import read
from workbench.local.models.bases import SMOLLM2, base_folder
from workbench.local.models.model import encode_dataset, load_base
from workbench.local.training.run import RunSettings, TrainingRun
from workbench.local.training.supervised import Supervised
from workbench.local.workers import ENVIRONMENT
from workbench.settings import DATA, home, models_in
from workbench.training.example_losses import OUTLYING, Losses, label_error_score

os.environ |= ENVIRONMENT  # before torch loads


SHARE, SEEDS = 0.05, (0, 1)


def planted(dataset: Dataset, kind: str, seed: int) -> tuple[Dataset, set[int]]:
    """The dataset with some answers made wrong, and the places of those."""
    places = random.Random(seed).sample(range(len(dataset)), round(SHARE * len(dataset)))
    examples = list(dataset.examples)
    others = dict(zip(places, [*places[1:], places[0]], strict=True))
    for place in places:
        right = dataset[place].answer
        wrong = dataset[others[place]].answer if kind == "another question's answer" else slip(right)
        *prompt, last = dataset[place].messages
        examples[place] = replace(dataset[place], messages=(*prompt, {**last, "content": wrong}))
    return replace(dataset, examples=tuple(examples)), set(places)


def slip(query: str) -> str:
    """The query with another comparison, or another number, or a limit that nobody asked for."""
    changed = re.sub(r" [<>=] ", " != ", query, count=1)
    if changed == query:
        changed = re.sub(r"\d+", lambda number: str(int(number[0]) + 7), query, count=1)
    return f"{query} # 3" if changed == query else changed


def main() -> None:
    """Train once for each kind and seed, and print the precision of the ranking."""
    logging.disable_progress_bar()
    pairs = read(DATA / "gql" / "pairs.csv", answer="query", system="Always return GQL.")
    for kind in ("another question's answer", "a small slip"):
        for seed in SEEDS:
            dataset, wrong = planted(pairs.split(0.15, seed).training, kind, seed)
            base = load_base(SMOLLM2, base_folder(SMOLLM2, models_in(home())))
            rows = encode_dataset(base.tokenizer, dataset, base.context)
            run = TrainingRun(Supervised(), base, RunSettings(3, 8, 1.0, seed, 1000, 0), rows)
            before = time.process_time()
            run.look()
            looked = time.process_time()
            for _ in run:
                pass
            extra = 2 * (looked - before) / (time.process_time() - looked)
            scores = label_error_score([Losses(tuple(visits)) for visits in run.trace.visits])
            order = sorted(range(len(scores)), key=lambda place: -scores[place])
            top = sum(place in wrong for place in order[: len(wrong)])
            flagged = {place for place, score in enumerate(scores) if score > OUTLYING}
            print(
                f"{kind}, seed {seed}: {top} of {len(wrong)} in the first {len(wrong)} of {len(rows)}; "
                f"{len(flagged)} stand out, {len(flagged & wrong)} of them wrong; two looks cost {extra:.1%}"
            )


if __name__ == "__main__":
    main()
