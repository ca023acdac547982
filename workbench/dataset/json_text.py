"""JSON text: one value a line, or one after the other, or the elements of an array; each with its line.

Only what JSON's standard (RFC 8259) allows is taken: NaN and Infinity are none of it.
"""

import codecs
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from io import BufferedReader
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO, NamedTuple

from workbench.dataset.check.row import NO_UTF_8, Finding, breaks, kind, wrong_byte
from workbench.dataset.dataset import JSON, Message
from workbench.errors import DataError

_SPACE = re.compile(r"[ \t\n\r]*")
_WRAPPED = re.compile(r'"data"\s*:\s*(\[)')


def lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that hold anything, numbered from 1, however they end."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line.rstrip("\n")


def parsed(text: str, name: str, line: int) -> JSON:
    """The one value on a line."""
    try:
        value: JSON = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _no_value(error, name, line, "each line of a JSONL file is one complete object") from None
    return value


def values(text: str, name: str) -> Iterator[tuple[int, JSON]]:
    """The values of a JSON file: an array's elements, those of a list in ``data``, or all that follow."""
    text = io.StringIO(text, newline=None).read()
    start = _behind_space(text, 0)
    if text[start] == "[":
        return _elements(text, name, start)
    value, end = _decoded(text, name, start)
    if isinstance(value, dict) and isinstance(value.get("data"), list) and not text[end:].strip():
        for found in _WRAPPED.finditer(text, start, end):
            elements = list(_elements(text, name, found.start(1), end))
            if [element for _, element in elements] == value["data"]:
                return iter(elements)
    return _sequence(text, name, start)


def _sequence(text: str, name: str, position: int) -> Iterator[tuple[int, JSON]]:
    line, counted = 1, 0
    while position < len(text):
        line, counted = line + text.count("\n", counted, position), position
        value, position = _decoded(text, name, position)
        yield line, value
        position = _behind_space(text, position)


def _elements(text: str, name: str, start: int, end: int | None = None) -> Iterator[tuple[int, JSON]]:
    """The elements of the array that begins at ``start``, each with the line on which it starts."""
    line, counted = 1, 0
    position = _behind_space(text, start + 1)
    if text[position : position + 1] == "]":
        position += 1
    else:
        while True:
            line, counted = line + text.count("\n", counted, position), position
            value, position = _decoded(text, name, position)
            yield line, value
            position = _behind_space(text, position)
            mark = text[position : position + 1]
            position = _behind_space(text, position + 1)
            if mark == "]":
                break
            if mark != ",":
                error = json.JSONDecodeError("Expecting ',' or ']'", text, min(position, len(text)))
                raise _no_value(error, name, 1, "an array ends with ']'")
    if end is None and position < len(text):
        error = json.JSONDecodeError("Extra data behind the array", text, position)
        raise _no_value(error, name, 1, "a JSON file holds one array")


def _behind_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _decoded(text: str, name: str, position: int) -> tuple[JSON, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        line = text.count("\n", 0, position) + 1
        if isinstance(error, json.JSONDecodeError):
            line = 1  # it counts for itself
        raise _no_value(error, name, line, "look at commas and quotes") from None
    return value, end


def _no_value(error: ValueError | RecursionError, name: str, line: int, way_out: str) -> DataError:
    if isinstance(error, json.JSONDecodeError):
        place = f"{name} line {line + error.lineno - 1}"
        return DataError(f"{place}: not JSON ({error.msg}, character {error.colno}); {way_out}.")
    if isinstance(error, RecursionError):
        return DataError(f"{name} line {line}: lists and objects are nested too deeply.")
    return DataError(f"{name} line {line}: not JSON ({error}).")


def _no_json(word: str) -> JSON:
    raise ValueError(f"{word} is no number in JSON; write null or a number")


_DECODER = json.JSONDecoder(parse_constant=_no_json)

# The parts that shapes are made of: messages, whole outputs, and what to say when they are none.

DEPTH = 100  # of lists and objects in each other; no documented format comes near it


def said(role: str, content: str) -> Message:
    """A message of plain text."""
    return {"role": role, "content": content}


def text(value: JSON) -> str:
    """A cell as the text of a message: a text as it is, nothing for nothing, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def messages_in(value: JSON, path: str, origin: str) -> list[Message]:
    """The messages of a list; what they say is not checked here."""
    if not isinstance(value, list) or not value:
        found = "empty" if value == [] else kind(value)
        raise DataError(f"{place_of(origin)}: {path} is {found}; it should be a list of messages.")
    for position, message in enumerate(value):
        if not isinstance(message, Mapping):
            raise DataError(
                f"{place_of(origin)}: {path}[{position}] is {kind(message)}; "
                "it should be an object with 'role' and 'content'."
            )
    return value


def conversation(value: JSON, role: str, path: str, origin: str) -> list[Message]:
    """Messages, however they are written: a list of them, a single one, or the text of one by ``role``."""
    if isinstance(value, str):
        return [said(role, value)]
    return messages_in([value] if isinstance(value, Mapping) else value, path, origin)


def place_of(origin: str) -> str:
    """An origin as one says it: ``faq.jsonl:12`` is ``faq.jsonl line 12``."""
    file, _, number = origin.rpartition(":")
    if not file or not number.isdigit():
        return origin
    return f"{file} {'line' if _has_lines(file) else 'row'} {number}"


def _has_lines(file: str) -> bool:
    return file.lower().endswith((".csv", ".tsv", ".jsonl", ".ndjson", ".json"))


def is_deep(value: JSON, allowed: int = DEPTH) -> bool:
    """Whether more lists and objects lie in each other than ``allowed``."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return allowed == 0 or any(is_deep(part, allowed - 1) for part in inner)


# Bytes become text: which encoding a file is in, and whether it is text at all.
#
# UTF-8, UTF-16 and UTF-32 are recognised for certain, with a byte order mark or without. The encodings of
# old Windows and Mac programs can only be guessed; the guess is noted, so that somebody checks the accents.
# The reader, the check, the repair and the service all ask ``encoding_of`` here, and say it in its words.

# The longer marks first: the one of UTF-32 begins with the one of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNMARKED = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
SIGNATURES = {  # how files begin that are often given the wrong name, and what to do about it
    b"PK\x03\x04": ("a ZIP or Excel file", "name it .xlsx if it is a workbook, or unpack it"),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Word file", "save it as .xlsx or as 'CSV UTF-8'"),
    b"PAR1": ("a Parquet file", "name it .parquet"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"%PDF-": ("a PDF", "copy the examples into a table"),
    b"\x89PNG": ("an image", "name the file that holds the examples"),
}
SAMPLE = 2**20  # bytes from the beginning of a file that may be larger than memory
ASCII_EXPECTED = 0.02  # share in a text of any language: its separators, quotes and line ends
# What spreadsheets save outside Unicode. Beyond these, encodings are rarer than wrong guesses of them.
CODE_PAGES = (
    *("cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "gb18030", "big5", "cp949"),
)
USUAL, CLOSE = "cp1252", 0.02  # it is taken unless another makes clearly more sense (as measured, 0 to 1)
ACCENTED_LINES = 500  # that the guess is made from

# How many bytes must be no UTF-8 before another encoding is thought of: one in a thousand, ten at most, and
# two at least. Below, the file is UTF-8 with broken bytes. Text in cp1252 has more: French 3 %, German 1.5 %,
# English with typographic quotes about 0.5 %. And nearly all of them must then make sense.
LEAST_SHARE, LEAST_MOST, LEAST = 0.001, 10, 2
SENSIBLE = 0.9
_PUNCTUATION = frozenset("‘’‚“”„‹›«»–—…•€£¥§°©®™·¡¿²³¹½¼¾µ¨´\xa0\xad")
_FAULTS = 0.01  # share of characters that may be damaged in UTF-16 and UTF-32 without a mark
_MOST_CONTROLS = 0.05  # share of the bytes: random ones have a tenth, texts next to none
_CONTROLS = bytes(code for code in (*range(32), 127) if chr(code) not in "\t\n\f\r\b\x1b")
_WHOLE = re.compile(rb"(?s).{0,1000}(?=[\s\",;]|$)")  # up to where no character of several bytes is cut
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def opened(path: Path) -> BufferedReader:
    """The file, open to be read, or a sentence why it cannot be."""
    try:
        mode = path.stat().st_mode
        file = path.open("rb") if S_ISREG(mode) else None  # a pipe or a device may never end
    except FileNotFoundError:
        raise DataError(f"{path} does not exist (looked in {Path.cwd()}); check the name.") from None
    except (OSError, ValueError) as error:  # a name with NUL is a ValueError
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if file is None and S_ISDIR(mode):
        raise DataError(f"{path} is a folder; name a file in it.")
    if file is None:
        raise DataError(f"{path} is no plain file; copy its content to one.")
    return file


def content(path: Path) -> bytes:
    """The bytes of a file, or a sentence why there are none."""
    with opened(path) as file:
        return file.read()


class Encoding(NamedTuple):
    """How the text of a file is written as bytes."""

    name: str = "utf-8"
    """As Python names it."""
    mark: int = 0
    """The bytes of a byte order mark in front, where Python does not pass over it by itself."""
    is_guessed: bool = False

    @property
    def label(self) -> str:
        """As people name it: ``UTF-16``, ``Windows-1252``."""
        return re.sub("^CP(125[0-9])$", r"Windows-\1", self.name.upper())


def encoding_of(data: bytes, name: str, *, whole: bool = True) -> Encoding:
    """The encoding of a file that holds these bytes, or begins with them where they are not the ``whole``.

    A ``DataError`` when it is no text; ``name`` stands in it.
    """
    for signature, (known, way_out) in SIGNATURES.items():
        if data.startswith(signature):
            raise DataError(f"{name} is {known} by its first bytes; {way_out}.")
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return Encoding(mark=len(mark)) if encoding == "utf-8-sig" else Encoding(encoding)
    if b"\0" in data and (wide := _wide(data)):
        return Encoding(wide, is_guessed=True)
    if len(data) - len(data.translate(None, _CONTROLS)) > _MOST_CONTROLS * len(data):
        raise DataError(f"{name} is not a text file; save the data as UTF-8 text.")
    old = _narrow(data if whole else data[: data.rfind(b"\n") + 1] or data)
    return Encoding(old, is_guessed=True) if old else Encoding()


def decoded(data: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and what was guessed to get it; ``name`` stands in every message."""
    encoding = encoding_of(data, name)
    try:
        text = data[encoding.mark :].decode(encoding.name)
    except UnicodeDecodeError as error:
        raise _wrong_byte(error, encoding.label, name) from None
    is_unicode = encoding.name.startswith("utf")
    if encoding.name == "utf-8" and "\0" in text:
        offset = data.index(0)
        line = _line_after(data[:offset].decode())
        finding = f"line {line} holds a NUL byte (offset {offset:,})"
        raise DataError(f"{name} is not a text file: {finding}; save the data as UTF-8 text.")
    if not is_unicode and (control := _CONTROL.search(text)):
        line = _line_after(text[: control.start()])
        raise DataError(f"{name} is not a text file (line {line}); save the data as UTF-8 text.")
    if not text.strip():
        raise DataError(f"{name} is empty; it should hold examples.")
    if encoding.name == "utf-8":
        return text, ()
    if not encoding.is_guessed:
        return text, (f"the encoding is {encoding.label}",)
    advice = "" if is_unicode else "; look at a text with accents"
    return text, (f"the encoding is guessed: {encoding.label}{advice}",)


def require_utf_8(file: BinaryIO, name: str) -> None:
    """Raise a ``DataError`` that says what ``check`` does when the file is not UTF-8, with line and byte.

    A byte order mark in front is taken, as Azure does. However large the file is, little of it is held.
    """
    file.seek(0)
    sample = file.read(SAMPLE)
    encoding = encoding_of(sample, name, whole=False)
    if encoding.name != "utf-8":
        other = other_encoding(encoding, sample)
        raise DataError(f"{name}: {other.message}; {other.fix}.")
    file.seek(encoding.mark)
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    line, column = 1, 1  # where the next character stands
    is_read = False
    while not is_read:
        block = file.read(SAMPLE)
        is_read = not block
        text = decoder.decode(block, final=is_read)
        wrong = None if text.isascii() else NO_UTF_8.search(text)
        before = text[: wrong.start()] if wrong else text
        line += before.count("\n")
        column = len(before) - last if (last := before.rfind("\n")) >= 0 else column + len(before)
        if finding := wrong_byte(text) if wrong else None:
            place = f"{name}:{line} character {column}"
            raise DataError(f"{place}: {finding.message}; {finding.fix}.")


def other_encoding(encoding: Encoding, sample: bytes) -> Finding:
    """That a file which begins like this is in this encoding, and not in UTF-8."""
    try:
        sample.decode()
        at = len(sample)
    except UnicodeDecodeError as error:
        at = error.start
    if zero := sample.find(0, 0, at) + 1:
        at = zero - 1
    line = sample.count(b"\n", 0, at) + 1
    message = f"the file is {encoding.label}, not UTF-8: line {line} has the byte 0x{sample[at]:02X}"
    return breaks("encoding", "", message, "save it as UTF-8; `python -m workbench build` does it")


def _wrong_byte(error: UnicodeDecodeError, label: str, name: str) -> DataError:
    line = _line_after(error.object[: error.start].decode(error.encoding, "ignore"))
    return DataError(
        f"{name} line {line}: the byte 0x{error.object[error.start]:02X} is not {label}; "
        "save the file as UTF-8 (in Excel: 'CSV UTF-8')."
    )


def _line_after(text: str) -> int:
    """The line on which the next character stands, however lines end."""
    return io.StringIO(text, newline=None).read().count("\n") + 1


def _wide(data: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, where every second byte of English is zero."""
    share, encoding = max((_ascii_share(data, encoding), encoding) for encoding in UNMARKED)
    # In what is mostly UTF-8, few zeros are stray ones: in the UTF-16 of plain ASCII, half the bytes are.
    narrow = data.decode("utf-8", "replace")
    is_narrow = narrow.count("\ufffd") <= _MOST_CONTROLS * len(narrow)
    return encoding if share >= (0.5 if is_narrow else ASCII_EXPECTED) else None


def _ascii_share(data: bytes, encoding: str) -> float:
    """How much of the text is ASCII in this encoding; 0 if it is none, or holds what no text does."""
    text = data.decode(encoding, "replace")
    faults = text.count("\ufffd") + len(_CONTROL.findall(text))
    return 0.0 if faults > _FAULTS * len(text) else 1 - _accents(text) / max(1, len(text))


def _narrow(data: bytes) -> str | None:
    """The code page that text with one byte a letter, or two, is in; ``None``: UTF-8, even if broken.

    Evidence for UTF-8 are letters that are right in it: other encodings have next to none by chance.
    Evidence for a code page are many bytes that are no UTF-8, and letters where letters belong.
    """
    try:
        data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
    else:
        return None
    wrong = text.count("\ufffd") - data.count("\ufffd".encode())
    if _accents(text) - text.count("\ufffd") >= wrong:
        return None
    if wrong < max(LEAST, min(LEAST_MOST, LEAST_SHARE * len(data))):
        return None
    encoding = guessed_encoding(data)
    return encoding if encoding and _is_sensible(data.decode(encoding, "replace")) else None


def _is_sensible(text: str) -> bool:
    """Whether what is beyond ASCII stands where it can: no capital behind a small letter, no odd sign."""
    sensible = strange = 0
    for found in re.finditer(r"[^\x00-\x7f]", text):
        letter, before = found[0], text[found.start() - 1 : found.start()]
        if letter in _PUNCTUATION or ord(letter) > 0x2FFF:
            fits = letter != "\ufffd"
        else:
            fits = unicodedata.category(letter)[0] in "LM" and letter != "ÿ"  # the byte 0xFF
            fits = fits and not (letter.isupper() and before.islower())
        sensible, strange = sensible + fits, strange + (not fits)
    return sensible >= SENSIBLE * (sensible + strange)


def _accents(text: str) -> int:
    """How many characters are beyond ASCII."""
    return len(text) - len(text.encode("ascii", "ignore"))


def _begin(line: bytes) -> bytes:
    found = _WHOLE.match(line)
    return (found and found[0]) or line[:1_000]


def guessed_encoding(data: bytes) -> str | None:
    """The Windows code page that text is most likely in, as Python names it; ``None``: it is no text."""
    from charset_normalizer import from_bytes

    accented = islice(re.finditer(rb"[^\r\n]*[\x80-\xff][^\r\n]*", data), ACCENTED_LINES)
    sample = b"\n".join(map(_begin, (data[:1_000], *(line[0] for line in accented))))
    evidence = {
        encoding: (-match.chaos, match.coherence)
        for match in from_bytes(sample, cp_isolation=list(CODE_PAGES), enable_fallback=False)
        for encoding in (match.encoding, *match.could_be_from_charset)
    }
    if not evidence:
        return None
    best = max(evidence, key=evidence.__getitem__)
    (order, sense), (usual_order, usual_sense) = evidence[best], evidence.get(USUAL, (-1.0, 0.0))
    is_close = usual_order >= order and usual_sense >= sense - CLOSE
    return USUAL if is_close else best
