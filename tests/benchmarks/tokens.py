"""Counting the tokens of a chat file: ours beside json + tiktoken, in one run on the same file.

    python tests/benchmarks/tokens.py [FILE.jsonl]       a file of 100,000 lines is made when none is given

Prints megabytes per second of processor time, all threads together, and the ratio. The tokens of the
contents must be equal, or it says so and fails.
"""

import json
import random
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import msgspec

from workbench.dataset.check.row import Row
from workbench.dataset.tokenizers import laid_out, reference, vocabulary
from workbench.dataset.tokens import Tokens

MODEL = "gpt-4.1-mini"
LINES = 100_000
AT_ONCE = 1_000
IN_TURN = 20_000  # lines: long enough that neither side works in a cache the other has just emptied
SYSTEMS = (
    "You are a helpful assistant.",
    "You answer questions about Python for people who learn it. Be brief, be right, show one example, and "
    "say so when you do not know. Do not speak of other languages unless you are asked to compare.",
    "You turn a developer's question into the paragraph of the language reference that answers it. Quote it "
    "word for word. If there are several, take the shortest. Answer in the language of the question; leave "
    "code as it is. Never add advice, and never leave the subject of the reference.",
)
PROSE = "\n".join(topics.values())  # the language reference: 700 kB of English
CODE = Path(json.decoder.__file__).read_text(encoding="utf-8") + Path(__file__).read_text(encoding="utf-8")
SCRIPTS = (
    "größer ist nicht besser, 12,345.67 € プログラムはデータです здравствуйте 👩‍💻 naïve مرحبا بالعالم 数据 "
    * 20
)


class Measured(NamedTuple):
    """What counting one file took: seconds of processor time, and what came out."""

    megabytes: float
    ours: float
    theirs: float
    content_tokens: int
    """As ours counts the texts alone."""
    reference_tokens: int
    """As json + tiktoken counts them."""

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.theirs / self.ours


def measure(path: Path) -> Measured:
    """Count one chat file both ways, in turns, so that a busy machine slows both; vocabularies are loaded."""
    reference("o200k_base").encode_ordinary("warm")
    vocabulary("o200k_base").count(["warm"] * AT_ONCE)
    decoder, encoding = msgspec.json.Decoder(), reference("o200k_base")
    tokens = Tokens(MODEL, "sft")
    ours = theirs = 0.0
    content_tokens = reference_tokens = 0
    with path.open("rb") as file:
        while lines := list(islice(file, IN_TURN)):
            started = time.process_time()
            for start in range(0, len(lines), AT_ONCE):
                some = enumerate(lines[start : start + AT_ONCE], start)
                tokens.add([Row(number, decoder.decode(line)) for number, line in some])
            ours += time.process_time() - started
            texts = laid_out([Row(0, decoder.decode(line)) for line in lines], {}).texts
            content_tokens += sum(vocabulary("o200k_base").count(texts))

            started = time.process_time()
            for line in lines:
                for message in json.loads(line)["messages"]:
                    reference_tokens += len(encoding.encode_ordinary(message["content"]))
            theirs += time.process_time() - started
    return Measured(path.stat().st_size / 1e6, ours, theirs, content_tokens, reference_tokens)


def make(path: Path, lines: int = LINES, seed: int = 0) -> None:
    """Write a chat file: prose, code and other scripts under three system messages, about 1.4 kB a line."""
    draw = random.Random(seed)

    def said(shortest: int, longest: int) -> str:
        text = draw.choices((PROSE, CODE, SCRIPTS), (80, 12, 8))[0]
        start = draw.randrange(len(text) - longest)
        return text[start : start + draw.randint(shortest, longest)]

    with path.open("w", encoding="utf-8") as file:
        for _ in range(lines):
            messages = [{"role": "system", "content": draw.choice(SYSTEMS)}]
            for _ in range(draw.choice((1, 1, 2))):
                messages.append({"role": "user", "content": said(40, 400)})
                messages.append({"role": "assistant", "content": said(100, 1_000)})
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def main() -> None:
    """Measure the given file, or one made for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "chat.jsonl"
        if len(sys.argv) < 2:
            make(path)
        done = measure(path)
    print(f"{done.megabytes:.1f} MB, {done.content_tokens:,} tokens in the contents")
    print(f"json + tiktoken {done.megabytes / done.theirs:6.1f} MB per CPU second")
    print(
        f"the workbench   {done.megabytes / done.ours:6.1f} MB per CPU second, {done.ratio:.1f} times as fast"
    )
    if done.content_tokens != done.reference_tokens:
        sys.exit(f"The counts differ: tiktoken says {done.reference_tokens:,}.")


if __name__ == "__main__":
    main()
