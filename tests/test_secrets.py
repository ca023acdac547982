import pytest

from workbench.dataset.check.privacy import SENSITIVE_KINDS, sensitive

RANDOM = "8f3kLmN0pQrStUvWxYz12345abcdeKJHG7652QPLMzxy"  # made up by hand
HEX = "3f2a9c81d7e64b0f8a1c2d3e4f506172"
PEM = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nMzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dV"
MARK = "-----{} PRIVATE KEY-----"


def kinds(text: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in sensitive(text)]


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
