"""An evaluation on disk: JSON lines for people and other programs, Parquet for many items.

Both hold the same: what was held fixed, and every item with all its answers. In
JSON lines the first line is what was held fixed; in Parquet it is the schema's metadata.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import DataError
from workbench.evaluation.items import Item, item_from
from workbench.journal import writing
from workbench.project import JSON

if TYPE_CHECKING:
    import pyarrow

_LAYOUT = 1  # the version of what is written here
_HEADER = b"workbench.evaluation"
_PARQUET = b"PAR1"  # what such a file begins with, whatever it is called


def lines(header: Mapping[str, JSON], items: Sequence[Item]) -> bytes:
    """Write JSON lines: what was held fixed, then an item a line."""
    first = {"evaluation": _LAYOUT, **header, "items": len(items)}
    written = [first, *(item.facts for item in items)]
    return "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in written).encode()


def save_lines(path: Path, header: Mapping[str, JSON], items: Sequence[Item]) -> Path:
    """Keep it as JSON lines, whole or not at all."""
    content = lines(header, items)
    return _whole(path, lambda half: half.write_bytes(content))


def save_parquet(path: Path, header: Mapping[str, JSON], items: Sequence[Item]) -> Path:
    """Keep it as Parquet, whole or not at all; ``more`` is JSON, all else has a column of its own kind."""
    import pyarrow
    from pyarrow import parquet

    rows = [{**asdict(item), **item.facts, "more": json.dumps(item.more)} for item in items]  # null, not nan
    told = json.dumps({"evaluation": _LAYOUT, **header, "items": len(items)}, ensure_ascii=False)
    columns = _columns().with_metadata({_HEADER: told.encode()})
    written = pyarrow.Table.from_pylist(rows, schema=columns)
    return _whole(path, lambda half: parquet.write_table(written, half))


def read(path: Path) -> tuple[dict[str, Any], tuple[Item, ...]]:
    """Read either kind; the content tells which it is."""
    if not path.is_file():
        raise DataError(f"There is no evaluation {path}; run the notebook that makes it.")
    with path.open("rb") as file:
        binary = file.read(len(_PARQUET)) == _PARQUET
    try:
        header, rows = _from_parquet(path) if binary else _from_lines(path)
        items = tuple(item_from(row) for row in rows)
        expected = header["items"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is not a saved evaluation ({error}); evaluate again.") from error
    if len(items) != expected:
        raise DataError(f"{path} has {len(items)} of its {expected} items; evaluate again.")
    return header, items


def _from_lines(path: Path) -> tuple[dict[str, Any], Iterable[Mapping[str, JSON]]]:
    header, *rows = (json.loads(line) for line in path.read_bytes().splitlines())
    return header, rows


def _from_parquet(path: Path) -> tuple[dict[str, Any], Iterable[Mapping[str, JSON]]]:
    from pyarrow import parquet

    found = parquet.read_table(path)
    header = json.loads((found.schema.metadata or {})[_HEADER])
    return header, ({**row, "more": json.loads(row["more"])} for row in found.to_pylist())


def _columns() -> "pyarrow.Schema":
    import pyarrow

    text, number, count = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    answer = {
        "answer": text,
        "score": number,
        "reason": text,
        "seconds": number,
        "prompt_tokens": count,
        "completion_tokens": count,
        "finish_reason": text,
        "cached_tokens": count,
        "problem": text,
    }
    item = {"id": text, "origin": text, "question": text, "reference": text, **answer, "cluster": text}
    samples = pyarrow.list_(pyarrow.struct(list(answer.items())))
    return pyarrow.schema([*item.items(), ("samples", samples), ("more", text)])


def _whole(path: Path, write: Callable[[Path], object]) -> Path:
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            write(half)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    return path
