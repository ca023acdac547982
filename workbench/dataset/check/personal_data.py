"""Personal data that is known by its form: addresses, numbers with a checksum, introduced names.

Precision comes first: a number counts when its checksum or its numbering plan
says so, or when the words before it do. Passport numbers have no checksum, and
names in running text need a language model: neither is looked for.
"""

import ipaddress
import re
from bisect import bisect, insort
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

import phonenumbers
from stdnum import luhn, numdb
from stdnum.br import cpf
from stdnum.es import dni, nie
from stdnum.iso7064 import mod_97_10
from stdnum.us import ssn


class Span(NamedTuple):
    """``text[start:end]`` and what it is."""

    start: int
    end: int
    kind: str
    """``email``, ``phone``, ``card``, ``github_token``, …: a key of ``privacy.KINDS``."""
    rule: str
    """``pii`` or ``secret``."""


def disjoint(spans: Iterable[Span]) -> list[Span]:
    """The spans in order; of two that overlap the secret stays, then the longer one, then the first."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.rule != "secret", span.start - span.end)):
        place = bisect(kept, span)
        before, behind = kept[place - 1 : place], kept[place : place + 1]
        if all(other.end <= span.start for other in before) and all(
            span.end <= other.start for other in behind
        ):
            insort(kept, span)
    return kept


KINDS = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "card": "a payment card number",
    "iban": "a bank account number (IBAN)",
    "ip": "an IP address",
    "ssn": "a US social security number",
    "tax_id": "a tax number",
    "name": "a person's name",
}

_CLOSE = 48  # characters in front of a number in which a word may say what it is
_NUMBER = re.compile(r"[0-9](?:[ .()/-]{0,2}[0-9]){5,40}")
_OF_A_THING = re.compile(
    r"(?i)\b(?:order|id|ref|reference|ticket|invoice|sku|serial|tracking|isbn|issn|doi|part|item|case|"
    r"version|build|commit|bestellung|rechnung|artikel)\W{0,3}(?:no|nr|number|nummer|id|code)?\W{0,4}$"
)

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,6}([A-Za-z]{2,24})(?![\w-])")
# A country's two letters, or an ending in wide use: `frame@weights.transpose` is no address.
_ENDINGS = re.compile(
    r"(?i)[a-z]{2}|com|org|net|edu|gov|mil|int|info|biz|name|pro|app|dev|cloud|online|shop|site|tech|store|"
    r"email|company|group|agency|digital|world|today|life|live|work|global|bank|health"
)
_NOBODY = re.compile(  # domains that reach nobody (RFC 2606), and the addresses of machines
    r"(?i)[.@](?:example\.(?:com|org|net|edu)|[\w-]+\.(?:test|example|invalid|localhost|local))$"
    r"|^(?:git|noreply|no-reply|donotreply)@"
)

_PHONE = re.compile(r"(?<![\w+])\+[0-9](?:[ .()/-]{0,2}[0-9]){6,14}(?![0-9])")
_FLOAT = re.compile(r"\+[0-9]+\.[0-9]+")
_PHONE_GROUP = re.compile(r"[ .()/-]+[0-9]+$")
_PHONE_US = re.compile(
    r"(?<![\w.(+-])(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-.][0-9]{4}(?![\w-])"
)
_PHONE_NATIONAL = re.compile(r"(?<![\w.,/+-])\(?[0-9](?:[ ()/-]{0,2}[0-9]){6,13}(?![\w-]|\.[0-9])")
_PHONE_CUE = re.compile(
    r"(?i)\b(?:phone|tel|telephone|telefon|mobile|mobil|cell|handy|call|whatsapp|fax|rufnummer|"
    r"téléphone|teléfono|telefono|sms)"
    r"(?:\W{1,3}(?:number|no|nr|nummer|me|us|him|her|them|at|on|is|ist|unter|an))*\W{0,3}$"
)

_CARD = re.compile(
    r"(?<![\w.+-])[2-6][0-9]{3}"
    r"(?:([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|([ -])[0-9]{6}\2[0-9]{4,5}|[0-9]{9,15})(?!\w|-\w|\.[0-9])"
)
_CARD_NETWORK = re.compile(  # Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|6(?:011|4[4-9]\d|5\d\d)\d{12}|"
    r"3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|62\d{14,17}"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}[0-9]{2}(?= ?[A-Z0-9]{4})")
_SSN = re.compile(r"(?<![\w-])[0-9]{3}-[0-9]{2}-[0-9]{4}(?![\w-])")
_CPF = re.compile(r"(?<![\w.])[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?![\w-])")
_DNI = re.compile(r"(?<![\w-])([XYZ]?[0-9]{7,8})-?([A-Z])(?!\w)")
_DNI_CUE = re.compile(r"(?i)\b(?:dni|nie|nif)\b\W{0,4}$")

_IPV4 = re.compile(r"(?<![\w.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:.])")
_IP_CUE = re.compile(r"(?i)\b(?:ip|ipv4|address|host|server|client|login|ping|ssh)\b\W{0,4}(?:is)?\W{0,2}$")
_VERSION_CUE = re.compile(r"(?i)(?:version|release|build|firmware|driver|v)\W{0,3}$")
_FOR_EVERYBODY = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"})  # open name servers

_WORD = r"[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÖØ-öø-ÿ'’-]{1,30}(?!\w)"
_FULL_NAME = rf"({_WORD}(?: (?:[A-Z]\.|van|von|der|den|de|da|del|la|di|bin|{_WORD})){{0,3}} {_WORD})"
_INTRODUCTIONS = (
    *("my name is", "my full name is", "ich heiße", "ich heisse", "mein name ist", "je m'appelle"),
    *("mon nom est", "me llamo", "mi nombre es", "mi chiamo", "meu nome é", "ik heet", "mijn naam is"),
)
_FAREWELLS = (
    *("regards", "sincerely", "yours truly", "yours faithfully", "freundlichen grüßen", "viele grüße"),
    *("cordialement", "saludos", "vriendelijke groet"),
)
_INTRODUCED = re.compile(rf"(?i:{'|'.join(_INTRODUCTIONS)})\s{{1,3}}{_FULL_NAME}")
_SIGNED = re.compile(rf"(?i:{'|'.join(_FAREWELLS)})\s?,?\s{{1,4}}{_FULL_NAME}")
_NO_NAME = re.compile(
    r"\b(?:Team|Support|Service|Services|Customer|Department|Company|Inc|Ltd|The|Your|Our|Office|Sales|"
    r"Bot|Assistant|Help|Desk|Care|Name)\b"
)

HINTS = (
    *(r"@[^\s@]", r"[0-9](?:[ .()/-]{0,2}[0-9]){5}", r"[23][0-9a-f]{3}:[0-9a-f]{0,4}:"),
    *(f"(?:{words})" for words in (*_INTRODUCTIONS, *_FAREWELLS)),
)
"""One of these (RE2, any case) stands in every text that holds personal data."""


def personal(text: str, lowered: str) -> Iterator[Span]:
    """Each piece of personal data, perhaps overlapping; ``lowered`` is the text in lower case."""
    if "@" in text:
        for found in _EMAIL.finditer(text):
            if _ENDINGS.fullmatch(found.group(1)) and not _NOBODY.search(found.group()):
                yield Span(found.start(), found.end(), "email", "pii")
    for start, end in _near_numbers(text):
        for found in _PHONE.finditer(text, start, end):
            yield from _international_phone(found)
        for found in _IBAN.finditer(text, start, end):
            yield from _iban(found)
        for kind, pattern, holds in _NUMBERS:
            for found in pattern.finditer(text, start, end):
                if holds(found):
                    yield Span(found.start(), found.end(), kind, "pii")
    if text.count(":") > 1:
        for found in _IPV6.finditer(text):
            if _is_ipv6(found):
                yield Span(found.start(), found.end(), "ip", "pii")
    if any(words in lowered for words in _INTRODUCTIONS):
        yield from _names(_INTRODUCED, text)
    if any(words in lowered for words in _FAREWELLS):
        yield from _names(_SIGNED, text)


def normal(kind: str, value: str) -> str:
    """What two spellings of the same have in common: ``+49 (30) 12-34`` and ``0049 30 1234``."""
    if kind == "phone":
        return _digits(value).removeprefix("00")
    if kind in ("card", "iban", "ssn", "tax_id"):
        return "".join(filter(str.isalnum, value)).upper()
    return " ".join(value.casefold().split()) if kind in KINDS else value


def _near_numbers(text: str) -> Iterator[tuple[int, int]]:
    """The stretches of a text around six digits and more; most texts have none."""
    begin = stop = -1
    for found in _NUMBER.finditer(text):
        if found.start() - _CLOSE > stop:
            if stop >= 0:
                yield begin, stop
            begin = max(0, found.start() - _CLOSE)
        stop = found.end() + _CLOSE
    if stop >= 0:
        yield begin, stop


def _before(found: re.Match[str]) -> str:
    return found.string[max(0, found.start() - _CLOSE) : found.start()]


def _digits(value: str) -> str:
    return "".join(filter(str.isdecimal, value))


def _international_phone(found: re.Match[str]) -> Iterator[Span]:
    number = "" if _FLOAT.fullmatch(found.group()) else found.group()
    while number and _phone(number, None) is None:  # perhaps the last digits are a date behind it
        shorter = _PHONE_GROUP.sub("", number)
        number = shorter if shorter != number else ""
    if number:
        yield Span(found.start(), found.start() + len(number), "phone", "pii")


def _is_called_a_phone(found: re.Match[str]) -> bool:
    return bool(_PHONE_CUE.search(_before(found)))


def _is_american_phone(found: re.Match[str]) -> bool:
    number = _phone(found.group(), "US")
    return number is not None and (found.group()[0] == "(" or phonenumbers.is_valid_number(number))


def _phone(text: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_possible_number(number) else None


def _is_card(found: re.Match[str]) -> bool:
    digits, grouped = _digits(found.group()), any(found.groups())
    of_a_network = bool(_CARD_NETWORK.fullmatch(digits)) and luhn.is_valid(digits)
    return of_a_network and (grouped or not _OF_A_THING.search(_before(found)))


def _iban(found: re.Match[str]) -> Iterator[Span]:
    pattern = _characters(found.group()[:2])
    if whole := pattern.match(found.string, found.start()) if pattern else None:
        iban = whole.group().replace(" ", "")
        if mod_97_10.is_valid(iban[4:] + iban[:4]):  # the first four characters stand last (ISO 13616)
            yield Span(whole.start(), whole.end(), "iban", "pii")


@cache
def _characters(country: str) -> re.Pattern[str] | None:
    """As many as SWIFT's registry gives the country's IBAN; ``None`` for a country that has none."""
    written = numdb.get("iban").info(country)[0][1].get("bban", "")  # "8!n10!n": eight digits, then ten
    length = sum(map(int, re.findall(r"\d+", written)))
    return re.compile(rf"[A-Z0-9](?: ?[A-Z0-9]){{{3 + length}}}(?![A-Za-z0-9])") if length else None


def _is_ssn(found: re.Match[str]) -> bool:
    return ssn.is_valid(found.group())  # it has no check digit; one that may have been issued


def _is_cpf(found: re.Match[str]) -> bool:
    return cpf.is_valid(found.group()) and len(set(_digits(found.group()))) > 1


def _is_dni(found: re.Match[str]) -> bool:
    number = "".join(found.groups())
    return bool(_DNI_CUE.search(_before(found))) and (dni.is_valid(number) or nie.is_valid(number))


def _is_ipv4(found: re.Match[str]) -> bool:
    text, before = found.group(), _before(found)
    try:
        address = ipaddress.IPv4Address(text)
    except ipaddress.AddressValueError:
        return False
    if not address.is_global or text in _FOR_EVERYBODY or _VERSION_CUE.search(before):
        return False
    # Four small numbers are a version more often than an address, unless a word says otherwise.
    return bool(_IP_CUE.search(before)) or sum(len(part) == 3 for part in text.split(".")) >= 2


def _is_ipv6(found: re.Match[str]) -> bool:
    try:
        return ipaddress.IPv6Address(found.group()).is_global
    except ipaddress.AddressValueError:
        return False


def _names(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for found in pattern.finditer(text):
        if not _NO_NAME.search(found.group(1)):
            yield Span(found.start(1), found.end(1), "name", "pii")


_NUMBERS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    ("phone", _PHONE_US, _is_american_phone),
    ("phone", _PHONE_NATIONAL, _is_called_a_phone),
    ("card", _CARD, _is_card),
    ("ssn", _SSN, _is_ssn),
    ("tax_id", _CPF, _is_cpf),
    ("tax_id", _DNI, _is_dni),
    ("ip", _IPV4, _is_ipv4),
)
