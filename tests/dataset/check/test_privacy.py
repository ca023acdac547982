import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.dataset.check import privacy
from workbench.dataset.check.privacy import (
    SENSITIVE_KINDS,
    Privacy,
    dense,
    promising,
    sensitive,
    texts,
    tripping,
)
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import completed
from workbench.dataset.check.sources import DatasetSource
from workbench.dataset.dataset import Dataset, Example

PIECES = st.sampled_from(
    [
        *("jane.doe@contoso.com", "+49 30 901820", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"),
        *(
            "93.184.216.34",
            "123-45-6789",
            "my name is Jane Doe",
            "password=Xy12!abcQ",
            "\\n",
            '"',
            "{",
            " ",
            "\n",
        ),
        *(
            "Best regards,",
            "Jane Doe",
            "tel: ",
            "ip ",
            "5.9.12.77",
            "-----BEGIN PRIVATE KEY-----",
            "://a:b1c2@d",
        ),
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=12).map("".join)


def kinds(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in sensitive(text)]


def rows(*answers: str) -> list[Row]:
    return [
        Row(
            number, {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]}
        )
        for number, answer in enumerate(answers)
    ]


def found(seen: list[Row], cut: int = 1_000) -> list[tuple[str, str, str, str, list[int]]]:
    parts = [Privacy() for _ in range(0, max(1, len(seen)), cut)]
    for number, part in enumerate(parts):
        part.add(seen[number * cut : (number + 1) * cut])
    whole = parts[0]
    for part in parts[1:]:
        whole.merge(pickle.loads(pickle.dumps(part)))
    source = DatasetSource(Dataset("faq", tuple(Example((), f"faq:{row.number}") for row in seen)))
    return [(*completed(f)[:4], list(numbers)) for f, numbers in whole.found(source)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Write to Jane.Doe+shop@mail.contoso.com.", "email", "Jane.Doe+shop@mail.contoso.com"),
        ("<jürgen@müller.de>", "email", "jürgen@müller.de"),
        ("+49 (30) 901820 is ours", "phone", "+49 (30) 901820"),
        ("ring +1 415 555 0132 2024-01-02", "phone", "+1 415 555 0132"),
        ("(212) 555-0187", "phone", "(212) 555-0187"),
        ("call me at 030 1234567, please", "phone", "030 1234567"),
        ("4111 1111 1111 1111 123", "card", "4111 1111 1111 1111"),
        ("paid with 378282246310005", "card", "378282246310005"),
        ("DE89 3704 0044 0532 0130 00 AND MORE", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB29NWBK60161331926819", "iban", "GB29NWBK60161331926819"),
        ("OM81 0180 0000 0129 9123 456", "iban", "OM81 0180 0000 0129 9123 456"),  # SWIFT's own example
        ("from 203.45.113.200 again", "ip", "203.45.113.200"),
        ("the server is 93.184.2.34", "ip", "93.184.2.34"),
        ("[2a00:1450:4001:81b::200e]", "ip", "2a00:1450:4001:81b::200e"),
        ("SSN 123-45-6789", "ssn", "123-45-6789"),
        ("CPF 529.982.247-25", "tax_id", "529.982.247-25"),
        ("mi DNI: 12345678Z", "tax_id", "12345678Z"),
        ("Hello, my name is Jane van der Doe and", "name", "Jane van der Doe"),
        ("Ich heiße Jörg Müller.", "name", "Jörg Müller"),
        ("Kind regards,\nSean O'Reilly", "name", "Sean O'Reilly"),
    ],
)
def test_personal_data_are_found(text, kind, value):
    assert kinds(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com",  # nobody has that address
        "git@github.com:openai/openai-python",
        "lodash@4.17.21 and image@2x.png",
        "frame @ weights, x@w.transpose",
        "Order 20261122-55 of 2026-11-22 12:30:45",
        "version 193.184.216.134",
        "from version 1.2.3.4 to 10.0.0.1",
        "192.168.100.200 is private",
        "+3.140000; -3.140000",
        "order no. 4111111111111111",
        "4111 1111 1111 1112",  # the check digit is wrong
        "DE89 3704 0044 0532 0130 01",
        "900-12-3456",  # no area of social security
        "078-05-1120",  # printed in wallets in 1938
        "ISBN 978-3-16-148410-0",
        "529.982.247-26",
        "111.111.111-11",  # its check digits are right, and nobody has it
        "457-55-5462",  # printed in advertisements in 2006
        "ZZ89 3704 0044 0532 0130 00",  # no such country
        "DNI 12345678A",
        "std::vector<int> a = b::c; 12:34:56:78",
        "2001:db8::1 is for documentation",
        "My name is Claude, and I am happy to help",
        "Best regards,\nThe Contoso Team",
        "customers ~ name = Mia Chen ~ id has X7 -> email, phone",
        "pi is 3.14159265358979, n = 1234567890",
    ],
)
def test_what_only_looks_like_personal_data_passes(text):
    assert kinds(text) == []


def test_a_secret_wins_over_the_address_that_it_looks_like():
    assert kinds("postgres://app:s3cr3tPw@db.contoso.com/x") == [("password", "s3cr3tPw")]


def test_a_line_break_in_json_is_no_letter_of_the_address():
    assert kinds('{"note": "Hi\\njane@contoso.com"}') == [("email", "jane@contoso.com")]


@given(TEXTS)
@settings(deadline=None)
def test_spans_are_in_the_text_in_order_and_apart(text):
    spans = sensitive(text)
    ends = [0, *(span.end for span in spans)]
    assert all(end <= span.start < span.end <= len(text) for end, span in zip(ends, spans, strict=False))
    assert {span.kind for span in spans} <= set(privacy.SENSITIVE_KINDS)


@given(st.lists(TEXTS, min_size=3, max_size=3))
@settings(deadline=None)
def test_rows_with_findings_are_among_the_promising_ones(three):
    values = [{"messages": [{"role": "user", "content": text}]} for text in three] * 30
    expected = {n for n, value in enumerate(values) for _, text in texts(value) if sensitive(text)}
    assert expected <= set(promising(values))


@pytest.mark.parametrize(
    "bait",
    [
        *(
            "a",
            "a@",
            "1 ",
            "4444 ",
            "+1 ",
            "1.1.",
            "A1",
            "eyJa-",
            "password=",
            "my name is Aa Bb Cc ",
            "://a:",
        ),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "AKIA",
            "2001:",
            "sk-",
            "DE89 ",
            "a.a@a.a.",
            "\\u0000",
            "key: ",
            "1",
        ),
        *("(212) 555-", "regards,", "123-45-6789 ", "jane@x.com ", "token: a1", "+49171234567 "),
    ],
)
def test_no_text_makes_the_search_slow(bait):
    text = bait * (100_000 // len(bait))
    sensitive(bait)  # loads what it needs
    begin = time.thread_time()
    sensitive(text)
    assert time.thread_time() - begin < 5  # a search that is not linear takes minutes


def test_each_place_is_named_and_the_value_never():
    (email, phone) = found(rows("Ask jane@contoso.com or +49 30 901820."))
    assert email == ("warning", "pii", "messages[1].content", "an e-mail address stands here", [0])
    assert phone == ("warning", "pii", "messages[1].content", "a phone number stands here", [0])


def test_a_secret_is_an_error():
    ((level, rule, path, message, numbers),) = found(rows("fine", "password=Xy12!abcQ"))
    assert (level, rule, path, numbers) == ("error", "secret", "messages[1].content", [1])
    assert message == "a password stands here, and a model can recite it"


def test_tool_arguments_and_reference_fields_are_looked_at_and_identifiers_are_not():
    call = {"id": "+49 30 901820", "function": {"name": "a@b.com", "arguments": '{"to": "a@b.com"}'}}
    message = {"role": "assistant", "tool_calls": [call]}
    row = Row(7, {"messages": [message], "answers": ["no", {"name": "x@y.com"}]})
    assert [(path, numbers) for _, _, path, _, numbers in found([row])] == [
        ("messages[0].tool_calls[0].function.arguments", [7]),
        ("answers[1].name", [7]),
    ]


def test_dense_personal_data_are_worth_knowing():
    mails = [f"m{n}@contoso.com" for n in range(5)]
    levels = [(level, rule) for level, rule, *_ in found(rows(" ".join(mails)))]
    assert levels == [("warning", "pii"), ("info", "safety")]
    assert [rule for _, rule, *_ in found(rows(" ".join(mails[:4])))] == ["pii"]


@pytest.mark.parametrize("cut", [1, 7, 70])
def test_the_cut_does_not_matter(cut):
    seen = rows(*["fine", "jane@contoso.com", "password=Xy12!abcQ", "chain of thought"] * 35)
    assert found(seen, cut) == found(seen)


def test_a_row_may_be_nested_deeply():
    value: dict[str, object] = {"messages": "jane@contoso.com"}
    for _ in range(10_000):
        value = {"messages": [value]}
    assert [rule for _, rule, *_ in found([Row(1, value)])] == ["pii"]  # type: ignore[arg-type]


def test_half_a_surrogate_pair_is_no_trouble():
    assert found(rows(*["\ud800"] * 99, "\ud800 jane@contoso.com"))[0][4] == [99]


# Secrets.

RANDOM = "8f3kLmN0pQrStUvWxYz12345abcdeKJHG7652QPLMzxy"  # made up by hand
HEX = "3f2a9c81d7e64b0f8a1c2d3e4f506172"
PEM = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dV"
MARK = "-----{} PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("kind", "before", "value"),
    [
        ("aws_key", "", "AKIA" + "QWERTYUIOPASDFGH"),
        ("azure_key", "key ", RANDOM + "wxyzABCD" + "JQQJ99" + "BFACYeBjFXJ3w3AAABACOG" + "abcd"),
        ("azure_key", "EndpointSuffix=x;AccountKey=", RANDOM + RANDOM[:42] + "=="),
        ("github_token", "", "ghp_" + RANDOM[:36]),
        ("github_token", "", "github_pat_" + RANDOM + "_" + RANDOM),
        ("gitlab_token", "", "glpat-" + RANDOM[:20]),
        ("google_key", "", "AIza" + RANDOM[:35]),
        ("huggingface_token", "", "hf_" + RANDOM[:34]),
        ("jwt", "", "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0." + RANDOM),
        ("npm_token", "", "npm_" + RANDOM[:36]),
        ("openai_key", "", "sk-proj-" + RANDOM),
        ("openai_key", "", "sk-" + HEX),
        ("pypi_token", "", "pypi-" + RANDOM + RANDOM),
        ("sendgrid_key", "", "SG." + RANDOM[:22] + "." + RANDOM[:43]),
        ("slack_token", "", "xoxb-" + "123456789012-123456789012-" + RANDOM[:24]),
        ("stripe_key", "", "sk_live_" + RANDOM[:24]),
        ("bearer_token", "Authorization: Bearer ", RANDOM),
        ("api_key", "AZURE_OPENAI_API_KEY=", HEX),
        ("api_key", '{"api_key": "', RANDOM),
        ("password", "password: ", "Tr0ub4dor&3"),
        ("password", "the password is ", "Tr0ub4dor&3"),
        ("password", "DB_PWD='", "k9#mmQ2x"),
        ("password", "postgres://app:", "s3cr3tPw"),
    ],
)
def test_a_secret_is_found_and_nothing_around_it(kind, before, value):
    behind = "@db.contoso.com/x" if "://" in before else '"} and so on'
    assert kinds(before + value + behind) == [(kind, value)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Why (password=Qz7-plover-91xK)", "Qz7-plover-91xK"),
        ("Why (password=Qz7-plover-91xK)?", "Qz7-plover-91xK"),
        ("[password: Qz7-plover-91xK]", "Qz7-plover-91xK"),
        ("{password: Qz7-plover-91xK}", "Qz7-plover-91xK"),
        ("{'password': 'Qz7-plover-91xK'}", "Qz7-plover-91xK"),
        ("The password is 'Qz7-plover-91xK'.", "Qz7-plover-91xK"),
        ("the password is Qz7-plover-91xK, and then", "Qz7-plover-91xK"),
        ("Password=Qz7-plover-91xK;Server=db", "Qz7-plover-91xK"),
        ("password=Qz7-plover-91xK,user=kim", "Qz7-plover-91xK"),
    ],
)
def test_a_password_ends_before_what_closes_the_sentence_around_it(text, value):
    assert kinds(text) == [("password", value)]


@pytest.mark.parametrize(
    "value",
    ["Qz7)plover-91xK", "Qz7}]plover.91xK", "Qz7,plover;91xK", "Qz,plover-91xK", "Qz7'plover\"91xK"],
)
def test_a_password_with_such_signs_inside_is_whole(value):
    assert kinds(f"(password={value})") == [("password", value)]


def test_a_quoted_password_ends_with_its_own_quote():
    assert kinds('password = "Qz7,\'plover=91xK", user') == [("password", "Qz7,'plover=91xK")]


def test_what_is_short_without_its_bracket_is_no_password():
    assert kinds("(pwd=k9mmQ2x)") == []


def test_a_private_key_is_found_from_its_first_line_to_its_last():
    text = f"Here: {MARK.format('BEGIN RSA')}\n{PEM}\n{MARK.format('END RSA')} done"
    ((kind, value),) = kinds(text)
    assert kind == "private_key"
    assert value.strip() == PEM


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",  # the one of AWS's documentation
        "ghp_" + "x" * 36,
        "sk-your-key-here-1234567890ABC",
        "sk-fading-circle-animation-delay-12",
        "api_key='YOUR_API_KEY_HERE_12345678'",
        "api_key=<paste-your-key-1234567890>",
        "token = ${GITHUB_TOKEN_1234567890}",
        'password = os.environ["DB_PASSWORD_1"]',
        "password = settings.database.password1",
        "The password: must contain 8 characters",
        "password=password123",
        "Reset your password, then call us at extension 12345678.",
        "next_page_token=CAUQAA12345678abcdef",
        "max_tokens: 4096, key points: 3 of 10",
        "https://user:password@host/",
        "https://contoso.com/a:b@c",
        MARK.format("BEGIN") + " is the first line of such a file",
        "Bearer tokens are sent in the Authorization header",
        "commit 3f2a9c81d7e64b0f8a1c2d3e4f506172aabbccdd",
        "the secret ingredient is 200g-of-butter",
    ],
)
def test_what_only_looks_like_a_secret_passes(text):
    assert kinds(text) == []


def test_every_kind_has_a_name_that_fits_into_a_sentence():
    assert all(name.startswith(("a ", "an ")) for name in SENSITIVE_KINDS.values())


# Safety.


def said(text: str) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in map(completed, tripping(text.lower()))]


@pytest.mark.parametrize(
    ("text", "harm"),
    [
        ("They wrote that foreigners are vermin.", "hate and fairness"),
        ("I want to end my life", "self-harm"),
        ("Lately I think I will hurt myself.", "self-harm"),
        ("Tell me how to build a pipe bomb at home", "violence"),
    ],
)
def test_a_phrase_of_a_harm_type_is_a_warning_that_calls_itself_a_hint(text, harm):
    message = f"a phrase here may trip the service's check for {harm} (a hint, not a judgement)"
    assert said(text) == [("warning", message)]


@pytest.mark.parametrize(
    "text",
    [
        "Foreigners are welcome to apply.",
        "The vermin in the cellar are gone.",
        "It changed my life in the end.",
        "I asked myself how to cut costs.",
        "She cleared her throat; the bath bomb was a gift.",
        "He lived in Bombay and went to school.",
    ],
)
def test_the_words_alone_are_harmless(text):
    assert said(text) == []


@pytest.mark.parametrize("phrase", ["chain of thought", "Chain-of-thought", "step by step reasoning"])
def test_what_trips_reasoning_models_is_worth_knowing(phrase):
    message = "a phrase about chains of thought may trip the filters of reasoning models"
    assert said(f"Use {phrase} here") == [("info", message)]


def test_explaining_step_by_step_is_harmless():
    assert said("Explain it step by step; the reasoning is up to you. A chain of shops.") == []


def test_five_pieces_of_personal_data_are_dense_and_four_are_not():
    assert [completed(finding).level for finding in dense(5)] == ["info"]
    assert list(dense(4)) == []
