"""Personal data, secrets and what trips safety checks: found by form, never quoted.

``sensitive`` looks at one text, ``Privacy`` at every text of a file: messages,
tool arguments, both answers of a pair, the fields that a grader reads. Values
never stand in a finding; its place and its kind do.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from workbench.dataset.check import personal_data
from workbench.dataset.check.personal_data import Span, disjoint
from workbench.dataset.check.report import Findings
from workbench.dataset.check.row import Finding, Row, RowSource, Tally, breaks
from workbench.dataset.dataset import JSON

# What may trip a service's safety checks, which refuse a whole file and name no row.
#
# A hint, not a judgement: a few unmistakable phrases for each harm type that the
# service names (hate and fairness, self-harm, violence), so that a person reads
# these rows first. A list this short misses most, and a counsellor's transcript
# may hold the words for good reason.

DENSE = 5
"""Pieces of personal data in one row from which on it counts as dense (a proposal of ours)."""

_PEOPLE = (
    r"(?:immigrants|refugees|foreigners|jews|muslims|christians|black people|white people|asians|"
    r"gays|homosexuals|women|disabled people)"
)
# harm type, in lower case: words of which one stands in each such phrase, and the phrases
_HARMS = (
    (
        "hate and fairness",
        ("vermin", "subhuman", "inferior", "parasites", "exterminat", "gassed", "be killed", "kill all"),
        rf"\b{_PEOPLE} (?:are|should be|must be|deserve to be) "
        rf"(?:vermin|subhuman|inferior|parasites|exterminated|gassed|killed)\b"
        rf"|\b(?:kill|exterminate) all (?:the )?{_PEOPLE}\b",
    ),
    (
        "self-harm",
        ("kill myself", "hurt myself", "cut myself", "cutting myself", "hang myself", " my life", "suicide"),
        r"\b(?:kill|hurt|cut|cutting|hang) myself\b|\bend(?:ing)? my life\b"
        r"|\b(?:commit(?:ting)?|methods? of|ways to commit) suicide\b",
    ),
    (
        "violence",
        ("bomb", "explosive device", "shoot up", "behead", "throat", "torture"),
        r"\b(?:make|build|making|building) (?:a |an )?(?:(?:pipe |car |nail )?bomb|explosive device)\b"
        r"|\bshoot up (?:a|the|my) school\b|\bbehead(?:ed|ing)? (?:him|her|them)\b"
        r"|\b(?:slit|cut) (?:his|her|their|your) throat\b|\btorture (?:him|her|them) to death\b",
    ),
)
SAFETY_HINTS = (*(word for _, words, _ in _HARMS for word in words), "chain.of.thought", "step.reasoning")
"""One of these (RE2, any case) stands in every text that may trip a check."""

_PATTERNS = tuple((harm, words, re.compile(phrases)) for harm, words, phrases in _HARMS)
# Microsoft's advice on fine-tuning reasoning models names these two phrases.
_REASONING = re.compile(r"chain[ -]of[ -]thought|step[ -]by[ -]step reasoning")


def tripping(lowered: str) -> Iterator[Finding]:
    """What a text in lower case may trip over; the phrase itself is never repeated."""
    for harm, words, phrases in _PATTERNS:
        if any(word in lowered for word in words) and phrases.search(lowered):
            message = f"a phrase here may trip the service's check for {harm} (a hint, not a judgement)"
            yield breaks("safety", "", message, "read it, and leave the example out if it is harmful")
    if ("chain" in lowered or "reasoning" in lowered) and _REASONING.search(lowered):
        message = "a phrase about chains of thought may trip the filters of reasoning models"
        yield Finding("info", "safety", "", message, "say what to answer, not how to think")


def dense(pieces: int) -> Iterator[Finding]:
    """Rows full of personal data: these gave false alarms for hate and fairness."""
    if pieces >= DENSE:
        message = f"{DENSE} or more pieces of personal data in one row can trip the service's safety check"
        yield Finding("info", "safety", "", message, "redact them")


# Keys, tokens and passwords in a text: a model that is trained on one can be made to recite it.
#
# Known formats are known by their prefix, everything else by a word before it
# (``password=``) and by looking random. Placeholders such as ``YOUR_KEY`` pass.
# Scanners of whole repositories (detect-secrets 1.5 did 0.16 MB/s on prose, and
# took every word beside a quote for entropy) are made for code and for files.


class _Format(NamedTuple):
    kind: str
    needle: str
    """Stands in every text that holds one: finding it is a hundred times faster than the pattern."""
    pattern: re.Pattern[str]


SECRET_KINDS = {
    "aws_key": "an AWS access key",
    "azure_key": "an Azure key",
    "github_token": "a GitHub token",
    "gitlab_token": "a GitLab token",
    "google_key": "a Google API key",
    "huggingface_token": "a Hugging Face token",
    "jwt": "a signed token (JWT)",
    "npm_token": "an npm token",
    "openai_key": "an API key that begins with sk-",
    "private_key": "a private key",
    "pypi_token": "a PyPI token",
    "sendgrid_key": "a SendGrid key",
    "slack_token": "a Slack token",
    "stripe_key": "a Stripe key",
    "bearer_token": "a bearer token",
    "api_key": "an API key or token",
    "password": "a password",
}

# The formats as their owners document them; GitHub and GitLab publish lists of such patterns too.
_FORMATS = tuple(
    _Format(kind, needle, re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])"))
    for kind, needle, pattern in (
        ("aws_key", "AKIA", r"AKIA[A-Z0-9]{16}"),
        ("aws_key", "ASIA", r"ASIA[A-Z0-9]{16}"),
        ("azure_key", "JQQJ99", r"[A-Za-z0-9]{40,60}JQQJ99[A-Za-z0-9]{20,40}"),
        ("azure_key", "AccountKey=", r"(?<=AccountKey=)[A-Za-z0-9+/]{40,100}={0,2}"),
        ("azure_key", "AccessKey=", r"(?<=AccessKey=)[A-Za-z0-9+/]{40,100}={0,2}"),
        ("azure_key", "sig=", r"(?<=[?&]sig=)[A-Za-z0-9%]{40,100}"),
        *(("github_token", f"gh{owner}_", rf"gh{owner}_[A-Za-z0-9]{{36,255}}") for owner in "pousr"),
        ("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{50,255}"),
        ("gitlab_token", "glpat-", r"glpat-[A-Za-z0-9_-]{20,64}"),
        ("google_key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
        ("google_key", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
        ("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
        ("jwt", "eyJ", r"eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}"),
        ("npm_token", "npm_", r"npm_[A-Za-z0-9]{36}"),
        ("openai_key", "sk-", r"sk-(?=[A-Za-z_-]{0,40}[0-9])(?=[a-z0-9_-]{0,60}[A-Z])[A-Za-z0-9_-]{20,255}"),
        ("openai_key", "sk-", r"sk-[a-f0-9]{32,64}"),
        ("pypi_token", "pypi-", r"pypi-[A-Za-z0-9_-]{50,255}"),
        ("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}"),
        ("slack_token", "xox", r"xox[abeprs]-[0-9]{6,15}-[A-Za-z0-9-]{10,100}"),
        ("slack_token", "hooks.slack", r"(?<=hooks\.slack\.com/services/)T\w{6,12}/B\w{6,12}/\w{20,28}"),
        ("stripe_key", "k_live_", r"[sr]k_live_[A-Za-z0-9]{16,255}"),
        ("stripe_key", "whsec_", r"whsec_[A-Za-z0-9]{24,64}"),
        ("bearer_token", "earer ", r"(?<=[Bb]earer )[A-Za-z0-9._~+/-]{20,2000}={0,2}"),
    )
)  # fmt: skip
_PRIVATE = re.compile(r"-----BEGIN (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_PRIVATE = 10_000  # characters; RSA with 4,096 bits takes 3,300
_IN_AN_ADDRESS = re.compile(r"://([^\s:/@\"'<>]{1,64}):([^\s/@\"'<>]{4,64})@([\w.-]{1,100})")
# "password =" and a digit in what follows: the same as below in short, in lower case and in RE2's syntax.
_GIVEN = (
    r"(?:passw|pwd|phrase|wort|secret|key|token)[a-z]{0,3}[\"'`]? {0,2}(?:[=:]>?|:=|is ) {0,2}[\"'`]?"
    r"\S*[0-9]"
)
_GIVEN_SHORTLY = re.compile(_GIVEN.replace("*", "{0,200}"))
_NAMED = re.compile(
    r"""(?ix)
    (?P<word> passw(?:or[dt]|d) | pwd | passphrase | kennwort
            | (?:client|app|shared)[ _-]?secret | secret(?:[ _-]?key)?
            | (?:api|access|account|subscription|auth|encryption|signing)[ _-]?key
            | (?:access|auth|refresh|api|session|bot)?[ _-]?token )
    ["'`]? [ ]{0,2} (?: [=:]>? | :=  | [ ]is[ ] ) [ ]{0,2} (?P<quote>["'`])?
    (?P<value> (?(quote) (?: (?!(?P=quote)) \S ){8,200}
                       | (?: [^\s"'`,;] | ["'`,;] (?=[A-Za-z0-9]) (?![\w.-]{1,40}[ ]?[=:]) ){8,200} ) )
    """
)
_CLOSING = {")": "(", "]": "[", "}": "{"}
_PASSWORDS = ("pass", "pwd", "kennwort")
_CURSOR = re.compile(r"(?i)(?:page|next|continuation|cursor|csrf|max|eos|bos|pad)[ _-]?$")
_PLACEHOLDER = re.compile(r"(?i)example|your|xxxx|\*\*\*|\.\.\.|…|<|\$\{|\{\{|(.)\1{7}")
_MADE_UP = re.compile(  # beside a word such as password=, also what documentation and code write there
    r"(?i)passw|secret|change.?me|dummy|sample|redacted|placeholder|insert|1234567|abcdefg|test"
    r"|^[{<$%@]|[\[(]|^(?:https?:|file:|/)|^[a-z_]\w*(?:\.[a-z_]\w*)+$"
)

SECRET_HINTS = (
    f"(?:{'|'.join(re.escape(form.needle) for form in _FORMATS)})[A-Za-z0-9_+/.%~-]{{16}}",
    *("PRIVATE KEY", r"://[^\s@]*@", _GIVEN),
)
"""One of these (RE2, any case) stands in every text that holds a secret."""


def secrets(text: str, lowered: str) -> Iterator[Span]:
    """Each secret, perhaps overlapping; ``lowered`` is the text in lower case."""
    for kind, needle, pattern in _FORMATS:
        if needle in text:
            for found in pattern.finditer(text):
                if _looks_random(found.group(), 3.0) and not _PLACEHOLDER.search(found.group()):
                    yield Span(found.start(), found.end(), kind, "secret")
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "://" in text and "@" in text:
        yield from _in_addresses(text)
    if _GIVEN_SHORTLY.search(lowered):
        yield from _named(text)


def _private_keys(text: str) -> Iterator[Span]:
    for found in _PRIVATE.finditer(text):
        closing = text.find("-----END", found.end(), found.end() + _LONGEST_PRIVATE)
        end = closing if closing >= 0 else min(len(text), found.end() + _LONGEST_PRIVATE)
        body = text[found.end() : min(end, found.end() + 200)]
        if len(body) >= 64 and not _PLACEHOLDER.search(body) and _looks_random(body, 4.5):
            yield Span(found.end(), end, "private_key", "secret")  # not prose about such a line


def _in_addresses(text: str) -> Iterator[Span]:
    for found in _IN_AN_ADDRESS.finditer(text):
        user, value, host = found.groups()
        shown = host.startswith(("example.", "host")) or _MADE_UP.search(value) or _PLACEHOLDER.search(value)
        if not shown and value != user and _mixed(value):
            yield Span(found.start(2), found.end(2), "password", "secret")


def _named(text: str) -> Iterator[Span]:
    for found in _NAMED.finditer(text):
        word, value = found.group("word").lower(), _without_what_closes(found.group("value"))
        if _MADE_UP.search(value) or _PLACEHOLDER.search(value):
            continue
        if _CURSOR.search(text[max(0, found.start() - 16) : found.start()]):
            continue
        password = word.startswith(_PASSWORDS)
        if len(value) < (8 if password else 16):
            continue
        if _mixed(value) and _looks_random(value, 2.5 if password else 3.0):
            start = found.start("value")
            yield Span(start, start + len(value), "password" if password else "api_key", "secret")


def _without_what_closes(value: str) -> str:
    """The value without the punctuation of the sentence, and without brackets that it has not opened."""
    while value:
        last = value[-1]
        opening = _CLOSING.get(last)
        if last not in ".:!?,;\"'`" and (not opening or value.count(last) <= value.count(opening)):
            break
        value = value[:-1]
    return value


def _mixed(value: str) -> bool:
    """Whether letters and digits stand together, as they do in what nobody should read."""
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _looks_random(value: str, bits: float) -> bool:
    """Whether its characters are worth this many bits each (Shannon); prose has about four, aaaa none."""
    counts = Counter(value)
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in counts.values()) >= bits


SENSITIVE_KINDS: Mapping[str, str] = {**personal_data.KINDS, **SECRET_KINDS}
"""What is looked for, and what it is called."""

# Inside tool arguments and other JSON in a text, \n is no letter n before an address.
_ESCAPES = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|[nrtbf\"\\/])")
# Keys of the wire format whose values are no texts: places, roles and identifiers.
NO_TEXT = frozenset({"role", "id", "tool_call_id", "name", "type", "url", "file_id", "detail", "required"})
CONVERSATION = frozenset(
    {"messages", "input", "preferred_output", "non_preferred_output", "tools", "functions"}
)

_HINTS = "|".join((*personal_data.HINTS, *SECRET_HINTS, *SAFETY_HINTS))
_WORTH_COMPILING = 16  # rows; compiling the hints takes RE2 a third of a millisecond


def sensitive(text: str) -> list[Span]:
    """Personal data and secrets in a text, in order and apart from each other."""
    text = _unescaped(text)
    lowered = text.lower()
    spans = [*secrets(text, lowered), *personal_data.personal(text, lowered)]
    return disjoint(spans) if len(spans) > 1 else spans


def masked(text: str) -> str:
    """The text as it may be kept in a notebook: of personal data two letters stay, of a secret none."""
    for start, end, _, rule in reversed(sensitive(text)):
        text = f"{text[: start if rule == 'secret' else min(start + 2, end)]}•••{text[end:]}"
    return text


def texts(value: Mapping[str, JSON]) -> Iterator[tuple[str, str]]:
    """Every text of a row with its place, but for keys, roles, names of tools and identifiers."""
    stack: list[tuple[str, JSON, bool]] = [
        (key, content, key in CONVERSATION) for key, content in list(value.items())[::-1]
    ]
    while stack:  # no recursion: a row may be nested as deeply as its file likes
        path, content, wire = stack.pop()
        if isinstance(content, str):
            yield path, content
        elif isinstance(content, Mapping):
            stack.extend(
                (f"{path}.{key}", inner, wire)
                for key, inner in list(content.items())[::-1]
                if not (wire and key in NO_TEXT)
            )
        elif isinstance(content, list | tuple):
            stack.extend((f"{path}[{n}]", content[n], wire) for n in range(len(content) - 1, -1, -1))


def promising(rows: Sequence[Mapping[str, JSON]]) -> Iterable[int]:
    """Which rows may hold something; the others need no closer look.

    RE2 looks for all hints in one pass, thirty times as fast as our own patterns one after the other.
    """
    if len(rows) < _WORTH_COMPILING:
        return range(len(rows))
    import pyarrow
    import pyarrow.compute

    encoded = [_unescaped(_all_strings(row)).encode("utf-8", "replace") for row in rows]
    hinted = pyarrow.compute.match_substring_regex(
        pyarrow.array(encoded, pyarrow.large_binary()), _HINTS, ignore_case=True
    )
    positions: list[int] = pyarrow.compute.indices_nonzero(hinted).to_pylist()
    return positions


class Privacy(Tally):
    """Looks for personal data, secrets and harmful phrases in every row."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._findings = Findings()

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""
        for position in promising([row.value for row in rows]):
            row = rows[position]
            for finding in _of_a_row(list(texts(row.value))):
                self._findings.add(finding, (row.number,))

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each kind at each path, with its rows."""
        yield from self._findings


def _unescaped(text: str) -> str:
    """The same text, as long, with spaces for escapes."""
    return _ESCAPES.sub(lambda escape: " " * len(escape.group()), text) if "\\" in text else text


def _all_strings(value: JSON) -> str:
    """The values that are strings, places and roles among them, as one text."""
    strings: list[str] = []
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            strings.append(value)
        elif isinstance(value, dict | Mapping):  # dict first: asking for it is ten times as fast
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
    return "\n".join(strings)


def _of_a_row(places: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    pieces = 0
    for path, text in places:
        kinds = Counter((span.rule, span.kind) for span in sensitive(text))
        for rule, kind in kinds:
            yield _said(rule, kind, path)
        pieces += sum(number for (rule, _), number in kinds.items() if rule == "pii")
        for finding in tripping(text.lower()):
            yield finding._replace(path=path)
    yield from dense(pieces)


def _said(rule: str, kind: str, path: str) -> Finding:
    found = f"{SENSITIVE_KINDS[kind]} stands here"
    if rule == "secret":
        return breaks(rule, path, f"{found}, and a model can recite it", "revoke it, and redact it here")
    return breaks(rule, path, found)
