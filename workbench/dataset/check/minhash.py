"""Which texts may be close by their signatures, without comparing each with each.

Signatures are cut into bands; texts that agree in a band are candidates, and those stay whose
signatures agree as a whole. However many agree (a million texts from one template), each text gets
a few candidates, the closest ones: the work grows with the texts and not with their pairs.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.check.row import Row, calls_of, image_parts
from workbench.dataset.dataset import JSON, items_of, mapping_of

Signatures = NDArray[np.uint8]
"""One row a text, a byte a slot; all zero: this text takes no part."""
Positions = NDArray[np.int64]

BAND = 4  # slots, so 24 bands: a pair at Jaccard 0.70 shares one with probability 0.9986
NEIGHBOURS = 4  # of a text in a band
TRIES = 2  # candidates of a text in the end: each is read and compared
STEP = 20_000  # pairs compared at once


def within(signatures: Signatures, rows: Positions, least: float) -> Iterator[tuple[int, Positions]]:
    """Each of these rows with the earlier ones that it may share ``least`` or more of its pieces with."""
    rows = rows[_filled(signatures)[rows]]
    closest = _Closest(signatures, signatures, least)
    for band in _bands(signatures):
        order = rows[np.argsort(band[rows], kind="stable")]
        keys = band[order]
        for apart in range(1, NEIGHBOURS + 1):
            same = keys[apart:] == keys[:-apart]
            closest.add(order[apart:][same], order[:-apart][same])
    return closest.best()


def across(
    signatures: Signatures, rows: Positions, others: Signatures, other_rows: Positions, least: float
) -> Iterator[tuple[int, Positions]]:
    """Each of these rows with those of the others that it may share ``least`` or more of its pieces with."""
    rows = rows[_filled(signatures)[rows]]
    other_rows = other_rows[_filled(others)[other_rows]]
    closest = _Closest(signatures, others, least)
    for band, other in zip(_bands(signatures), _bands(others), strict=True):
        order = other_rows[np.argsort(other[other_rows], kind="stable")]
        keys = np.append(other[order], np.zeros(NEIGHBOURS, np.uint32))
        place = np.searchsorted(keys[: order.size], band[rows])
        for ahead in range(NEIGHBOURS):
            same = (keys[place + ahead] == band[rows]) & (place + ahead < order.size)
            closest.add(rows[same], order[place[same] + ahead])
    return closest.best()


class _Closest:
    """For each row the few others whose signatures agree with its own best."""

    def __init__(self, signatures: Signatures, others: Signatures, least: float) -> None:
        self.signatures, self.others = signatures, others
        slots = signatures.shape[1]
        # An estimate may lie three standard errors below the truth; one in a thousand lies lower.
        self.enough = slots * (least - 3 * (least * (1 - least) / slots) ** 0.5)
        self.other = np.full((len(signatures), TRIES), -1, np.int64)
        self.agreeing = np.zeros((len(signatures), TRIES), np.uint8)

    def add(self, rows: Positions, others: Positions) -> None:
        """Look at these pairs; a row comes once at most."""
        for start in range(0, rows.size, STEP):
            row, other = rows[start : start + STEP], others[start : start + STEP]
            new = (self.other[row] != other[:, None]).all(axis=1)
            row, other = row[new], other[new]
            agreeing = np.count_nonzero(self.signatures[row] == self.others[other], axis=1)
            last = self.agreeing[row].argmin(axis=1)
            better = (agreeing >= self.enough) & (agreeing > self.agreeing[row, last])
            row, last = row[better], last[better]
            self.other[row, last], self.agreeing[row, last] = other[better], agreeing[better]

    def best(self) -> Iterator[tuple[int, Positions]]:
        """Each row that has some, with them, the closest first."""
        for row in np.flatnonzero(self.agreeing.any(axis=1)).tolist():
            order = np.argsort(-self.agreeing[row].astype(np.int64), kind="stable")
            yield row, self.other[row, order[: np.count_nonzero(self.agreeing[row])]]


def _filled(signatures: Signatures) -> NDArray[np.bool_]:
    filled: NDArray[np.bool_] = signatures.max(axis=1, initial=0) > 0
    return filled


def _bands(signatures: Signatures) -> Iterator[NDArray[np.uint32]]:
    for start in range(0, signatures.shape[1], BAND):
        yield np.ascontiguousarray(signatures[:, start : start + BAND]).view(np.uint32)[:, 0]


# Texts as numbers: equal ones for equal texts, and signatures that tell how close two texts are.
#
# Case, spaces and the marks of sentences do not count. How close is the share of their three-word
# pieces that two texts have in common (Jaccard); a signature estimates it in a byte a slot, whatever
# the length of the text, so that millions of them fit in memory (MinHash: Broder 1997, and its b-bit
# form: Li and König 2010).

Hashes = NDArray[np.uint64]

PIECE = 3  # words
SLOTS = 96
LONGEST = 100_000  # characters of a text that its pieces are taken from, so that none fills the memory
BLOCK = 300_000  # bytes hashed at once: the arrays stay in the processor's cache

_SPACE = ord(" ")
# `=`, `<`, `+`, `-`, `*`, `/` and the like stay: in code and in queries they are what is meant.
_MARKS = ".,;:!?\"'`()[]{}"
_PLAIN = bytes(
    _SPACE if chr(byte) in _MARKS or chr(byte).isspace() else ord(chr(byte).lower()) for byte in range(128)
) + bytes(range(128, 256))
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, han.
_ALONE = re.compile("([\u0e00-\u0eff\u1000-\u10bf\u1780-\u17ff\u3000-\u9fff])")


class Hashed(NamedTuple):
    """What is kept of some texts; one entry, or one row, for each."""

    exact: Hashes
    """Equal for texts that are equal once normalised, by 64 bits; 0 for a text of spaces."""
    words: NDArray[np.int64]
    """How many; in scripts without spaces (Chinese, Japanese, Thai) each letter is one."""
    lowest: NDArray[np.uint32]
    """For each slot the lowest hash of a piece. Of two texts together it is the lower of both."""


def hashed(texts: Sequence[str]) -> Hashed:
    """Look at each text once."""
    parts = [_block(block) for block in _blocks(texts)]
    if not parts:
        return Hashed(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, SLOTS), np.uint32))
    exact, words, lowest = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Hashed(exact, words, lowest)


def pieces(text: str) -> frozenset[int]:
    """The three-word pieces of a text, each once; a text of fewer words is one piece."""
    plain = _normalised(text[:LONGEST]).decode("utf-8", "surrogatepass")
    words = (plain if plain.isascii() else _ALONE.sub(r" \1 ", plain)).split()
    following = (words[ahead:] for ahead in range(PIECE))
    return frozenset(map(hash, zip(*following, strict=False))) or frozenset(
        {hash(tuple(words))} if words else ()
    )


def jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    """The share of the pieces of two texts that are in both, from 0 to 1."""
    common = len(one & other)
    return common / max(1, len(one) + len(other) - common)


def normalised(text: str) -> str:
    """A text as it is compared: NFKC, without case, marks of sentences and spaces that say nothing."""
    return b" ".join(_normalised(text).split()).decode("utf-8", "surrogatepass")


def together(*hashes: Hashes) -> Hashes:
    """One hash for several in this order."""
    total = np.zeros_like(hashes[0])
    for one in hashes:
        total = _mixed(total * _ODD[0] + one)
    return total


class _Pieces(NamedTuple):
    """The pieces of a block of texts, text by text, with what was learned on the way."""

    pieces: Hashes
    starts: NDArray[np.int64]
    words: NDArray[np.int64]
    exact: Hashes


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = size = 0
    for position, text in enumerate(texts):
        size += min(len(text), LONGEST)
        if size >= BLOCK:
            yield texts[start : position + 1]
            start, size = position + 1, 0
    if start < len(texts):
        yield texts[start:]


def _block(texts: Sequence[str]) -> Hashed:
    found = _pieces([_normalised(text[:LONGEST]) for text in texts])
    exact = found.exact
    for position, text in enumerate(texts):
        if len(text) > LONGEST:
            exact[position] = _digest(b" ".join(_normalised(text).split()))
        elif not found.words[position] and text.strip():  # nothing but marks: these are the text
            exact[position] = _digest("".join(text.split()).encode("utf-8", "surrogatepass"))
    lowest = np.full((len(texts), SLOTS), np.iinfo(np.uint32).max, np.uint32)
    filled = found.words > 0
    if filled.any():
        high = (found.pieces >> np.uint64(32)).astype(np.uint32)
        starts = found.starts[filled]
        several = np.empty((SLOTS, starts.size), np.uint32)
        for slot in range(SLOTS):
            np.minimum.reduceat((high ^ _FLIP[slot]) * _TIMES[slot], starts, out=several[slot])
        lowest[filled] = several.T
    return Hashed(exact, found.words, lowest)


def _pieces(texts: Sequence[bytes]) -> _Pieces:
    """The hashes of all words and pieces of normalised texts, each word as a polynomial of its bytes."""
    joined = np.frombuffer(b" ".join(texts) + b" ", np.uint8)
    ends = np.cumsum([len(text) + 1 for text in texts])
    first_byte = _word_starts(joined)
    until = np.searchsorted(first_byte, ends)
    words = np.diff(until, prepend=0)
    if not first_byte.size:
        none = np.zeros(0, np.uint64)
        return _Pieces(none, np.zeros_like(words), words, np.zeros(len(texts), np.uint64))
    power, inverse = _powers(joined.size.bit_length())
    sums = np.add.reduceat(_LETTER[joined] * power[: joined.size], first_byte)
    word = _mixed(sums * inverse[first_byte])

    filled = words > 0
    start = until - words
    exact = np.zeros(len(texts), np.uint64)
    sums = np.add.reduceat(word * power[: word.size], start[filled])
    exact[filled] = _mixed(sums * inverse[start[filled]])

    of = np.append(np.repeat(np.arange(len(texts)), words), [-1] * (PIECE - 1))
    here = of[: word.size]
    piece = np.zeros_like(word)
    for ahead in range(PIECE):
        same = of[ahead : ahead + word.size] == here
        piece += np.where(same, np.roll(word, -ahead), np.uint64(0)) * _ODD[ahead]
    kept = same  # a piece that begins a text counts even where the text is shorter than a piece
    kept[start[filled]] = True
    before = np.cumsum(kept) - kept
    starts = np.zeros_like(start)
    starts[filled] = before[start[filled]]
    return _Pieces(_mixed(piece[kept]), starts, words, exact)


def _word_starts(joined: NDArray[np.uint8]) -> NDArray[np.int64]:
    filled = joined != _SPACE
    starts = filled.copy()
    starts[1:] &= ~filled[:-1]
    if joined.max() >= 0xE0:
        # In UTF-8: kana and han begin with E3 to E9; Thai, Lao, Burmese and Khmer with two bytes each.
        following = np.append(joined[1:], np.uint8(0))
        alone = (joined >= 0xE3) & (joined <= 0xE9)
        alone |= (joined == 0xE0) & (following >= 0xB8) & (following <= 0xBB)
        alone |= (joined == 0xE1) & np.isin(following, (0x80, 0x81, 0x82, 0x9E, 0x9F))
        starts |= alone
        starts[3:] |= alone[:-3] & filled[3:]
    return np.flatnonzero(starts)


def _normalised(text: str) -> bytes:
    """In lower case and without the marks of sentences; spaces as they come."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _other_marks().sub(" ", text)).casefold()
    plain = text.encode("utf-8", "surrogatepass")
    return plain.replace(b"!=", b"~=").translate(_PLAIN)  # the one operator with such a mark


@cache
def _other_marks() -> re.Pattern[str]:
    """The marks and spaces beyond ASCII."""
    letters = map(chr, range(0x80, 0x10000))
    marks = (letter for letter in letters if unicodedata.category(letter)[0] == "P" or letter.isspace())
    return re.compile(f"[{''.join(marks)}]")


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mixed(values: Hashes) -> Hashes:
    """Each bit of the result depends on all bits (the last step of MurmurHash3)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


@cache
def _powers(bits: int) -> tuple[Hashes, Hashes]:
    """The powers of one odd number modulo 2 to the 64th, and of its inverse."""
    base = 0x9E3779B97F4A7C15
    both = []
    for factor in (base, pow(base, -1, 2**64)):
        factors = np.full(2**bits, factor, np.uint64)
        factors[0] = 1
        both.append(np.cumprod(factors, dtype=np.uint64))
    return both[0], both[1]


_ODD = _mixed(np.arange(1, 9, dtype=np.uint64)) | np.uint64(1)
_LETTER = _mixed(np.arange(1_000, 1_256, dtype=np.uint64))
_LETTER[_SPACE] = 0
_FLIP = _mixed(np.arange(2_000, 2_000 + SLOTS, dtype=np.uint64)).astype(np.uint32)
_TIMES = _mixed(np.arange(3_000, 3_000 + SLOTS, dtype=np.uint64)).astype(np.uint32) | np.uint32(1)

# What is kept of each row to find repeats: a record of two hundred bytes, never its texts.
#
# A record has the parts of a row as hashes, which are equal for equal parts, and two signatures,
# which are close for close texts. Which texts of a row count, and as what, is decided here.

Fingerprints = NDArray[np.void]
"""One record a row."""

FEWEST = 20  # words; in a shorter text one other word changes 30 % of the pieces, and mostly the meaning
FEWEST_ASKED = 8  # words of a prompt; of a shorter one nothing is left when a word changes
PROMPT_SLOTS = 48  # two prompts that share 80 % of their pieces become candidates in 998 of 1,000 cases

RECORD = np.dtype(
    [
        ("number", np.int64),
        ("system", np.uint64),
        ("asked", np.uint64),
        ("answer", np.uint64),
        ("rejected", np.uint64),
        ("group", np.uint64),
        ("text", np.uint8, SLOTS),
        ("prompt", np.uint8, PROMPT_SLOTS),
    ]
)
_NO_REFERENCE = ("messages", "input", "tools", "parallel_tool_calls")


class Texts(NamedTuple):
    """What is compared of a row."""

    system: str
    """With the tools that the model is offered."""
    asked: str
    """With the addresses of the pictures. Of a row that is no conversation: all its texts."""
    answer: str
    """With the names of the tools it calls; for reinforcement the reference that a grader reads."""
    rejected: str


def texts_of(row: Row) -> Texts:
    """The texts of a row that count, whatever its shape."""
    if not row.turns:
        return Texts("", "\n".join(text for text in row.value.values() if isinstance(text, str)), "", "")
    value, system, answer = row.value, row.system, row.answer
    messages = items_of(value.get("messages"))
    last = mapping_of(messages[-1] if messages else None)
    if last.get("role") == "user":
        reference = {key: part for key, part in value.items() if key not in _NO_REFERENCE}
        answer = _written(reference) if reference else ""
    tools = value.get("tools") or mapping_of(value.get("input")).get("tools")
    return Texts(
        f"{system}\n{_written(tools)}" if tools else system,
        "\n".join((row.asked, *_pictures(value))),
        "\n".join((answer, *_called(last))),
        "\n".join(turn.text for turn in row.turns if turn.part == "rejected"),
    )


def fingerprints_of(rows: Sequence[Row], group: str | None) -> Fingerprints:
    """The records of some rows; ``group`` is the field whose value ties rows together."""
    system, asked, answer, rejected = zip(*map(texts_of, rows), strict=True)
    known = hashed([*asked, *answer, *(rejected if any(rejected) else ())])
    parts = [slice(start, start + len(rows)) for start in range(0, known.exact.size, len(rows))]
    fingerprints = np.zeros(len(rows), RECORD)
    fingerprints["number"] = [row.number for row in rows]
    fingerprints["system"] = _each_once(system)
    for name, part in zip(("asked", "answer", "rejected"), parts, strict=False):
        fingerprints[name] = known.exact[part]
    prompt = known.lowest[parts[0], :PROMPT_SLOTS]
    fingerprints["prompt"] = signatures_of(prompt, known.words[parts[0]], FEWEST_ASKED)
    lowest = np.minimum.reduce([known.lowest[part] for part in parts])
    fingerprints["text"] = signatures_of(
        lowest, np.sum([known.words[part] for part in parts], axis=0), FEWEST
    )
    if group is not None:
        fingerprints["group"] = [_grouped(row.metadata.get(group, row.value.get(group))) for row in rows]
    return fingerprints


def signatures_of(lowest: NDArray[np.uint32], words: NDArray[np.int64], fewest: int) -> Signatures:
    """The last byte of each slot; nothing for a text too short to be close to another."""
    signatures = lowest.astype(np.uint8)
    signatures[words < fewest] = 0
    return signatures


def earliest(known: Hashes, wanted: Hashes) -> Positions:
    """For each wanted hash the first position at which it is known; -1 where it is not, and for 0."""
    keys, first = np.unique(known, return_index=True)
    if not keys.size:
        return np.full(wanted.size, -1, np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where((keys[place] == wanted) & (wanted != 0), first[place], -1)


def by_place(places: Positions, chosen: NDArray[np.bool_]) -> Iterator[tuple[int, Positions]]:
    """Each place with the chosen positions that have it."""
    positions = np.flatnonzero(chosen)
    positions = positions[np.argsort(places[positions], kind="stable")]
    begins = np.flatnonzero(np.diff(places[positions]))
    for rows in np.split(positions, begins + 1) if positions.size else ():
        yield int(places[rows[0]]), rows


def _each_once(texts: Sequence[str]) -> list[int]:
    """The hashes of texts that are mostly the same one."""
    different = list(dict.fromkeys(texts))
    known = dict(zip(different, hashed(different).exact.tolist(), strict=True))
    return [known[text] for text in texts]


def _grouped(value: JSON) -> int:
    if value is None or value == "":
        return 0
    data = str(value).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _written(value: JSON) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=dict)


def _pictures(value: Mapping[str, JSON]) -> Iterator[str]:
    given = mapping_of(value.get("input"))
    for _, _, _, part in image_parts((given or value).get("messages")):
        picture = part.get("image_url")
        address = picture.get("url") if isinstance(picture, Mapping) else picture
        if isinstance(address, str):
            yield address


def _called(message: Mapping[str, JSON]) -> Iterator[str]:
    names = (function.get("name") for _, function in calls_of(message))
    return (name for name in names if isinstance(name, str))
