"""Documents: the texts that answers are looked up in, cut into passages that fit into a prompt.

A passage keeps the file and the line it stands on. What is found for a question
is said in ``retrieval``.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from workbench.dataset.examples import JSON
from workbench.dataset.reading import delimited, lines
from workbench.dataset.reading.text import content, decoded
from workbench.errors import DataError
from workbench.evaluation.asking.retrieval import Documents, Passage, is_text

TEXTS = (".md", ".txt")
TABLES = tuple(delimited.SEPARATORS)
LINES = (".jsonl", ".ndjson")
COLUMNS = ("text", "content", "passage", "document", "body")  # how people call it, the clearest first
PASSAGE = 1_200  # characters, about 300 tokens of English: a few of them fit into any prompt


def read_documents(source: str | Path, *, column: str | None = None, k: int = 3) -> Documents:
    """Read what answers can be looked up in: a folder of texts, a text, or a table with a passage a row.

    Of a folder, ``.txt`` and ``.md`` files are read, at any depth; their texts are cut into passages
    of at most 1,200 characters, at blank lines where there are some. In CSV, TSV and JSONL each row is one
    passage, from ``column``; ``None`` takes the first column called text, content, passage, document or body.
    """
    if k < 1:
        raise DataError(f"{k} passages are none to look up; ask for 1 or more.")
    path = Path(source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in TEXTS and file.is_file())
        found = [passage for file in files for passage in _of_text(file, str(file.relative_to(path)))]
    elif path.suffix.lower() in TEXTS:
        found = list(_of_text(path, path.name))
    elif path.suffix.lower() in (*TABLES, *LINES):
        found = list(_of_rows(path, column))
    else:
        known = ", ".join((*TEXTS, *TABLES, *LINES))
        raise DataError(f"{path} is neither a folder nor a file that can be read ({known}).")
    if not found:
        raise DataError(
            f"{path} holds no text; documents are {' and '.join(TEXTS)} files or rows of a table."
        )
    return Documents(tuple(found), k)


def _of_text(path: Path, name: str) -> Iterator[Passage]:
    data = content(path)
    if not data.strip():
        return  # an empty file beside others harms nobody
    text = decoded(data, name)[0].replace("\r\n", "\n")
    start = 0
    while start < len(text):
        end = _end_of_passage(text, start)
        if passage := text[start:end].strip():
            begins = text.index(passage[0], start)
            yield Passage(passage, f"{name}:{text.count(chr(10), 0, begins) + 1}")
        start = end


def _end_of_passage(text: str, start: int) -> int:
    """Where to cut: at a blank line, else at a line's end, else between words, else right here."""
    last = start + PASSAGE
    if last >= len(text):
        return len(text)
    cuts = (text.rfind(mark, start + 1, last) for mark in ("\n\n", "\n", " "))
    return next((cut for cut in cuts if cut > 0 and text[start:cut].strip()), last)


def _of_rows(path: Path, column: str | None) -> Iterator[Passage]:
    text, _ = decoded(content(path), path.name)
    kind = path.suffix.lower()
    rows: Sequence[tuple[int, JSON]]
    if kind in TABLES:
        expected = COLUMNS if column is None else (column,)
        rows = delimited.records(text, path.name, delimited.SEPARATORS[kind], expected).values
    else:
        rows = [(number, lines.parsed(line, path.name, number)) for number, line in lines.lines(text)]
    for number, row in rows:
        if not isinstance(row, Mapping):
            raise DataError(f"{path.name} line {number} is no object; each line is one with a text in it.")
        wanted = column or next((name for name in COLUMNS if name in row), None)
        if wanted is None or wanted not in row:
            asked = column or " or ".join(COLUMNS)
            raise DataError(f"{path.name} line {number} has no {asked}; it has {', '.join(row)[:300]}.")
        if not is_text(row[wanted]):
            raise DataError(f"{path.name} line {number}: {wanted} is {row[wanted]!r}; it should be a text.")
        yield Passage(str(row[wanted]).strip(), f"{path.name}:{number}")
