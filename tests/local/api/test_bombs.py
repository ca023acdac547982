"""Requests made to break the service: too much, too deep, too long, wrong bytes. It refuses and goes on."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx2
import pytest
from echo_service import Watch, echo_service
from idle_service import KEY
from starlette.testclient import TestClient
from unbroken import EXACT, V1, assert_no_failure, one_of_each, send

from workbench.local.emulation import Emulation
from workbench.settings import ROOT

MIB = 1024 * 1024
MOST = 16 * MIB - 200  # bytes that fit into a body around something else
JSON_PATHS = ("/chat/completions", "/fine_tuning/jobs", "/fine_tuning/alpha/graders/run")
BODIES = {
    "100,000 brackets": b"[" * 100_000,
    "100,000 objects in objects": b'{"a":' * 100_000,
    "100,000 brackets in a field": b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a list of lists, 16 MB": b"[" + b"[]," * (MOST // 3) + b"[]]",
    "numbers for messages, 16 MB": b'{"model": "nano", "messages": [' + b"0," * (MOST // 2) + b"0]}",
    "unknown fields, 16 MB": b"{" + b",".join(b'"f%d":1' % n for n in range(MOST // 13)) + b"}",
    "as many unknown fields as are read": b"{" + b",".join(b'"f%d":1' % n for n in range(131_000)) + b"}",
    "the same field, 16 MB": b"{" + b'"model":1,' * (MOST // 10) + b'"model":1}',
    "one name, 16 MB": b'{"' + b"a" * MOST + b'": 1}',
    "one text, 16 MB": b'{"model": "' + b"a" * MOST + b'"}',
    "blanks, 16 MB": b" " * MOST,
    "blanks, 17 MB": b" " * 17 * MIB,
    "a number of 100,000 digits": b'{"model": "nano", "seed": ' + b"9" * 100_000 + b"}",
    "1e999": b'{"model": "nano", "temperature": 1e999}',
    "1e999, deep": b'{"grader": {"type": "x", "more": [{"a": -1e999}]}, "model_sample": ""}',
    "NaN": b'{"grader": {"type": "x", "more": NaN}, "model_sample": ""}',
    "half a character": b'{"model": "\\ud800"}',
    "half a character in a name": b'{"\\ud800": 1}',
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": '{"model": "nano"}'.encode("utf-16"),
    "with a mark": b"\xef\xbb\xbf{}",
    "null bytes": b"\0" * 1000,
    "a null byte as text": b'{"model": "\\u0000", "training_file": "\\u0000", "messages": []}',
    "nothing": b"",
    "a list": b"[1]",
    "a text": b'"text"',
    "null": b"null",
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with echo_service(tmp_path_factory.mktemp("bombs") / "home", Watch(), Emulation(quota="off")) as http:
        yield http


@pytest.fixture
def known(http: TestClient) -> dict[str, str]:
    return one_of_each(http)


@pytest.mark.parametrize("path", JSON_PATHS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_like_a_bomb_is_refused(http: TestClient, path: str, body: bytes) -> None:
    answer = send(http, "POST", V1 + path, content=body)
    assert_no_failure(answer)
    assert answer.status_code in (400, 413)


NAMES = (
    "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cetc", "x%2F%2F%2Fetc", "%00", "a%00b", "%ff%fe",
    "%ed%a0%80", "%F0%9F%92%A3", "a" * 60_000, "*", "~", "%25s%25n", "' OR 1=1 --", "CON",
    "file-" + "0" * 32, "%0d%0aset-cookie:1",
)  # fmt: skip
CALLS = (
    "GET /files/{}", "DELETE /files/{}", "GET /files/{}/content", "GET /files?after={}",
    "GET /files?limit={}", "POST /uploads/{}/cancel", "GET /fine_tuning/jobs/{}",
    "POST /fine_tuning/jobs/{}/pause", "GET /fine_tuning/jobs/{}/events",
    "GET /fine_tuning/jobs?metadata[a]={}", "GET /fine_tuning/jobs?metadata[{}]=a", "GET /models/{}",
    "DELETE /models/{}", "GET /chat/completions/{}", "GET /chat/completions?model={}",
)  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_no_name_leads_out_of_the_store(http: TestClient, known: dict[str, str], call: str) -> None:
    method, _, path = call.partition(" ")
    for name in NAMES:
        answer = send(http, method, V1 + path.format(name), follow_redirects=False)
        assert_no_failure(answer)
        assert b"root:" not in answer.content
    assert http.get(f"{V1}/files/{known['file_id']}").status_code == 200


FILENAMES = (
    "..", "../../x", "..\\..\\x", "/etc/passwd", "a\0b", "\x1b[31m", "\r\nx: y", "\u202e", "a" * 70_000, "",
    ".", "%2e",
)  # fmt: skip


@pytest.mark.parametrize("filename", FILENAMES)
def test_a_filename_is_a_name_or_refused(http: TestClient, filename: str) -> None:
    announced = {"filename": filename, "purpose": "evals", "bytes": 1, "mime_type": "x"}
    answers = [
        send(http, "POST", f"{V1}/files", files={"file": (filename, b"x")}, data={"purpose": "evals"}),
        send(http, "POST", f"{V1}/uploads", json=announced),
    ]
    for answer in answers:
        assert_no_failure(answer)
        if answer.status_code == 200:
            assert not set(answer.json()["filename"]) & set("/\\\0\r\n")


HEADERS = {
    "content-length that is no number": {"content-length": b"\xb2"},
    "content-length of 5,000 digits": {"content-length": b"9" * 5000},
    "a type that is none": {"content-type": b";;;==\xff"},
    "a boundary in pieces": {"content-type": b"multipart/form-data; boundary*0=b; boundary*2=c"},
    "a boundary in an unknown alphabet": {"content-type": b"multipart/form-data; boundary*=nope''b"},
    "10,000 headers": {f"x-{number}": b"y" for number in range(10_000)},
    "faults that are none": {"x-workbench-fault": b"slow=1e9, \xff=" + b"a" * 10_000},
    "a key of a megabyte": {"authorization": b"Bearer " + b"k" * MIB},
    "a host that is none": {"host": b"[::1"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
@pytest.mark.parametrize("path", ["/files", "/chat/completions"])
def test_headers_like_bombs_are_refused(http: TestClient, path: str, headers: dict[str, bytes]) -> None:
    answer = send(http, "POST", V1 + path, content=b"{", headers=headers)
    assert_no_failure(answer)
    assert 400 <= answer.status_code < 500


def test_a_query_with_thousands_of_parts_is_refused(http: TestClient) -> None:
    pairs = "&".join(f"metadata[{number}]=x" for number in range(3_000))
    for path in ("/fine_tuning/jobs", "/chat/completions"):
        answer = send(http, "GET", f"{V1}{path}?{pairs}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")


@pytest.mark.parametrize(
    "span", ["bytes=5-2", "bytes=9-", "bytes=a-b", "x", "bytes=0-1,3-4", "bytes=" + "0-0," * 9000]
)
def test_a_file_comes_whole_whatever_range_is_asked_for(
    http: TestClient, known: dict[str, str], span: str
) -> None:
    answer = send(http, "GET", f"{V1}/files/{known['file_id']}/content", headers={"range": span})
    assert (answer.status_code, answer.content) == (200, b'{"messages": []}\n' * 10)


WORDS = " ".join(f"w{number}" for number in range(9_000))
GRADER_BOMBS = {
    "templates that nothing closes": EXACT | {"input": "{{" * 2 * MIB},
    "templates that close at last": EXACT | {"input": "{{" * 2 * MIB + "}}"},
    "letters by letters": {
        "type": "text_similarity",
        "evaluation_metric": "fuzzy_match",
        "reference": "ab" * MIB,
    },
    "words by words": {"type": "text_similarity", "evaluation_metric": "rouge_l", "reference": WORDS},
    "words by words, stemmed": {"type": "text_similarity", "evaluation_metric": "meteor", "reference": WORDS},
    "labels": {
        "type": "label_model",
        "model": "nano",
        "input": [{"role": "user", "content": "a"}],
        "labels": [f"a{number}" for number in range(40_000)],
        "passing_labels": [f"a{number}" for number in range(40_000)],
    },
    "brackets of a formula": {"type": "multi", "calculate_output": "(" * 1990, "graders": {"a": EXACT}},
    "signs of a formula": {"type": "multi", "calculate_output": "-" * 1990 + "a", "graders": {"a": EXACT}},
    "powers": {"type": "multi", "calculate_output": "9^9^9^9^9^a", "graders": {"a": EXACT}},
    "a source of brackets": {"type": "python", "source": "(" * 100_000},
    "a source that says half a character": {
        "type": "python",
        "source": "def grade(s, i): raise ValueError('\\ud800')",
    },
}


@pytest.mark.parametrize("grader", GRADER_BOMBS.values(), ids=GRADER_BOMBS.keys())
def test_a_grader_like_a_bomb_is_graded_or_refused(http: TestClient, grader: dict[str, object]) -> None:
    asked = {"grader": {"name": "bomb", "input": WORDS, **grader}, "model_sample": "a"}
    assert_no_failure(send(http, "POST", f"{V1}/fine_tuning/alpha/graders/run", json=asked))


# On the wire


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(100_000)) + b"\r\n",
        b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/files HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\0" * 10_000,
        b"\x16\x03\x01 an attempt at TLS\r\n\r\n",
    ],
    ids=["100,000 headers", "a long path", "a raw path", "a negative length", "no chunk", "nulls", "TLS"],
)
def test_what_is_no_http_is_refused_and_the_service_goes_on(server: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server), timeout=20) as connection:
        try:
            connection.sendall(sent)
            said = connection.recv(100)
        except ConnectionError:  # it hung up while we were still talking
            said = b""
    assert said == b"" or said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))
    assert httpx2.get(f"http://127.0.0.1:{server}/health", headers={"api-key": KEY}).json()["status"] == "ok"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real service."""
    program = [sys.executable, str(ROOT / "tests" / "idle_service.py")]
    home = tmp_path_factory.mktemp("wire") / "home"
    with subprocess.Popen(
        [*program, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as maker:
        assert maker.stdin is not None
        assert maker.stdout is not None
        maker.stdin.write("one\n")
        maker.stdin.flush()
        process, port = map(int, maker.stdout.readline().split())
        yield port
        os.kill(process, signal.SIGTERM)
        maker.stdin.close()
