"""Files that come in parts, that come from elsewhere on this machine, and that do not stay for good."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from idle_service import client_of, idle_service
from openai import OpenAI
from starlette.testclient import TestClient

from workbench.dataset.read import parse_jsonl
from workbench.local.emulation import DAY, Clock, Emulation
from workbench.local.store.store import Store

MIB = 1024 * 1024


@pytest.fixture
def http_client(home: Path) -> Iterator[TestClient]:
    with idle_service(home) as http:
        yield http


@pytest.fixture
def client(http_client: TestClient) -> OpenAI:
    return client_of(http_client)


def announce(client: OpenAI, size: int, **more: object) -> str:
    upload = client.uploads.create(
        filename="faq.jsonl", purpose="fine-tune", bytes=size, mime_type="text/jsonl", **more
    )
    return upload.id


def parts_on_disk(home: Path) -> list[str]:
    return [path.name for path in (home / "service" / "parts").iterdir()]


# In parts


def test_parts_become_one_file_in_the_order_given(client: OpenAI, home: Path) -> None:
    upload = announce(client, 11)
    world = client.uploads.parts.create(upload, data=b"world")
    hello = client.uploads.parts.create(upload, data=b"hello ")
    done = client.uploads.complete(
        upload, part_ids=[hello.id, world.id], md5=hashlib.md5(b"hello world").hexdigest()
    )
    assert (done.status, done.file.filename, done.file.bytes) == ("completed", "faq.jsonl", 11)
    assert client.files.content(done.file.id).content == b"hello world"
    assert client.files.retrieve(done.file.id).purpose == "fine-tune"
    assert parts_on_disk(home) == []


def test_an_upload_says_what_it_is_and_until_when(client: OpenAI) -> None:
    upload = client.uploads.create(filename="x.jsonl", purpose="batch", bytes=5, mime_type="text/jsonl")
    assert (upload.object, upload.status, upload.bytes, upload.purpose) == ("upload", "pending", 5, "batch")
    assert upload.expires_at == upload.created_at + 7200
    part = client.uploads.parts.create(upload.id, data=b"x")
    assert (part.object, part.upload_id) == ("upload.part", upload.id)


def test_the_clients_own_chunked_upload_works(client: OpenAI, tmp_path: Path) -> None:
    content = "".join(map(chr, range(32, 256))).encode() * 4096
    (tmp_path / "big.jsonl").write_bytes(content)
    done = client.uploads.upload_file_chunked(
        file=tmp_path / "big.jsonl", mime_type="text/jsonl", purpose="fine-tune", part_size=MIB // 3
    )
    assert client.files.content(done.file.id).content == content


@pytest.mark.parametrize(
    ("parts", "size", "md5", "finding"),
    [
        ([0], 11, None, "The parts have 6 bytes, but 11 were announced"),
        ([0, 0, 1], 11, None, "The parts have 17 bytes"),
        ([1, 0], 11, hashlib.md5(b"hello world").hexdigest(), "check the order of part_ids"),
        (["part_none"], 11, None, "'part_none' is no part of upload_"),
    ],
)
def test_parts_that_are_not_the_file_announced_leave_the_upload_open(
    client: OpenAI, parts: list[int | str], size: int, md5: str | None, finding: str
) -> None:
    upload = announce(client, size)
    sent = [client.uploads.parts.create(upload, data=data).id for data in (b"hello ", b"world")]
    wanted = [part if isinstance(part, str) else sent[part] for part in parts]
    with pytest.raises(openai.BadRequestError, match=finding):
        client.uploads.complete(upload, part_ids=wanted, md5=md5 or openai.omit)
    assert client.files.list().data == []
    assert client.uploads.complete(upload, part_ids=sent).status == "completed"


def test_a_cancelled_upload_takes_nothing_more(client: OpenAI, home: Path) -> None:
    upload = announce(client, 5)
    part = client.uploads.parts.create(upload, data=b"hello")
    assert client.uploads.cancel(upload).status == "cancelled"
    assert parts_on_disk(home) == []
    for call in (
        lambda: client.uploads.parts.create(upload, data=b"x"),
        lambda: client.uploads.complete(upload, part_ids=[part.id]),
        lambda: client.uploads.cancel(upload),
    ):
        with pytest.raises(openai.BadRequestError, match="it is cancelled") as caught:
            call()
        assert caught.value.code == "unexpectedEntityState"


def test_an_upload_expires_after_two_hours_with_its_parts(home: Path) -> None:
    now = [1_000_000.0]
    with idle_service(home, Emulation(clock=Clock(read=lambda: now[0]))) as http_client:
        client = client_of(http_client)
        upload = announce(client, 5)
        client.uploads.parts.create(upload, data=b"hello")
        now[0] += 7199
        client.uploads.parts.create(upload, data=b"again")
        now[0] += 1
        with pytest.raises(openai.BadRequestError, match="it is expired"):
            client.uploads.parts.create(upload, data=b"late")
    assert parts_on_disk(home) == []


def test_parts_survive_a_restart_and_orphans_do_not(home: Path) -> None:
    with idle_service(home) as http_client:
        upload = announce(client_of(http_client), 5)
        part = client_of(http_client).uploads.parts.create(upload, data=b"hello")
    (home / "service" / "parts" / "half.new").write_bytes(b"half a part")
    with idle_service(home) as http_client:
        assert parts_on_disk(home) == [part.id]
        done = client_of(http_client).uploads.complete(upload, part_ids=[part.id])
        assert client_of(http_client).files.content(done.file.id).content == b"hello"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"bytes": 0}, "bytes"),
        ({"bytes": 8 * 1024**3 + 1}, "bytes"),
        ({"purpose": "fun"}, "purpose"),
        ({"filename": ""}, "filename"),
        ({"mime_type": 5}, "mime_type"),
        ({"extra": 1}, "extra"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
    ],
)
def test_an_upload_that_makes_no_sense_is_refused(
    http_client: TestClient, change: dict[str, object], param: str
) -> None:
    asked = {"filename": "x", "purpose": "fine-tune", "bytes": 5, "mime_type": "text/jsonl"}
    answer = http_client.post("/v1/uploads", json=asked | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("part_size", ["67108865", "900000000"])
def test_a_part_beyond_64_mb_is_refused_unread(http_client: TestClient, part_size: str) -> None:
    upload = announce(client_of(http_client), 5)
    headers = {
        "content-type": "multipart/form-data; boundary=b",
        "content-length": str(int(part_size) + 70_000),
    }
    answer = http_client.post(f"/v1/uploads/{upload}/parts", content=b"x", headers=headers)
    assert answer.status_code == 413
    assert "67,108,864 bytes" in answer.json()["error"]["message"]


def test_an_unknown_upload_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no upload 'upload_none'"):
        client.uploads.parts.create("upload_none", data=b"x")


# For a time


def test_a_file_is_removed_when_its_time_is_over(home: Path) -> None:
    now = [1_000_000.0]
    with idle_service(home, Emulation(clock=Clock(read=lambda: now[0]))) as http_client:
        client = client_of(http_client)
        kept = client.files.create(file=("kept.jsonl", b"x"), purpose="fine-tune")
        file = client.files.create(
            file=("gone.jsonl", b"x"),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert file.expires_at == 1_003_600
        assert kept.expires_at is None
        now[0] += 3599
        assert client.files.retrieve(file.id) == file
        now[0] += 1
        assert [row.id for row in client.files.list()] == [kept.id]
        with pytest.raises(openai.NotFoundError):
            client.files.content(file.id)
    stored = sorted(path.name for path in (home / "service" / "files").iterdir())
    assert stored == [kept.id, f"{kept.id}.json"]


def test_a_fast_clock_brings_the_end_near(home: Path) -> None:
    now = [1_000_000.0]
    with idle_service(home, Emulation(clock=Clock(DAY, read=lambda: now[0]))) as http_client:
        client = client_of(http_client)
        file = client.files.create(
            file=("x.jsonl", b"x"),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 14 * 86400},
        )
        assert file.expires_at == 1_000_014
        now[0] += 14
        assert client.files.list().data == []


def test_an_expired_file_stays_readable_for_the_job_that_needs_it(home: Path) -> None:
    now = [1_000_000.0]
    store = Store(home, Clock(read=lambda: now[0]))
    with store.files.receive() as incoming:
        incoming.write(b"x")
        file = store.files.keep(incoming, "faq.jsonl", "fine-tune", expires_after=3600)
    store.jobs.add({"model": "nano", "training_file": file["id"], "hyperparameters": {}, "seed": 1})
    now[0] += 3600
    assert store.files.get(file["id"]) is None
    assert store.files.path(file["id"]).read_bytes() == b"x"
    store.close()


@pytest.mark.parametrize("seconds", [3599, 2_592_001])
def test_a_time_out_of_range_is_refused(client: OpenAI, seconds: int) -> None:
    with pytest.raises(openai.BadRequestError, match="from 3,600 to 2,592,000") as caught:
        client.files.create(
            file=("x.jsonl", b"x"),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": seconds},
        )
    assert caught.value.param == "expires_after.seconds"
    assert client.files.list().data == []


def test_azure_lets_no_file_expire_before_two_weeks(home: Path) -> None:
    with (
        idle_service(home, Emulation(quota="azure")) as http_client,
        pytest.raises(openai.BadRequestError, match="from 1,209,600 to 2,592,000"),
    ):
        client_of(http_client).files.create(
            file=("x.jsonl", b"x"),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 1_209_599},
        )


def test_a_file_in_parts_may_expire_too(client: OpenAI) -> None:
    upload = announce(client, 1, expires_after={"anchor": "created_at", "seconds": 3600})
    part = client.uploads.parts.create(upload, data=b"x")
    file = client.uploads.complete(upload, part_ids=[part.id]).file
    assert file.expires_at == file.created_at + 3600


# Limits


def test_the_hundred_and_first_file_is_refused_until_one_is_deleted(home: Path) -> None:
    with idle_service(home) as http_client:
        client, store = client_of(http_client), http_client.app.state.store
        ids = [store.files.add(f"{number}.jsonl", "fine-tune", [b"x"])["id"] for number in range(100)]
        with pytest.raises(openai.RateLimitError, match="100 files for fine-tuning are stored") as caught:
            client.files.create(file=("more.jsonl", b"x"), purpose="fine-tune")
        assert caught.value.code == "quotaExceeded"
        assert client.files.create(file=("other.jsonl", b"x"), purpose="evals").status == "processed"
        client.files.delete(ids[0])
        assert client.files.create(file=("more.jsonl", b"x"), purpose="fine-tune").status == "processed"


def test_without_a_quota_there_is_no_hundred_and_first(home: Path) -> None:
    with idle_service(home, Emulation(quota="off")) as http_client:
        store = http_client.app.state.store
        for number in range(100):
            store.files.add(f"{number}.jsonl", "fine-tune", [b"x"])
        file = client_of(http_client).files.create(file=("more.jsonl", b"x"), purpose="fine-tune")
        assert file.status == "processed"


def test_azure_keeps_one_gigabyte_for_fine_tuning(home: Path) -> None:
    with idle_service(home, Emulation(quota="azure")) as http_client:
        client = client_of(http_client)
        client.files.create(file=("x.jsonl", b"x" * 25), purpose="fine-tune")
        assert announce(client, 2**30 - 25)
        with pytest.raises(openai.RateLimitError, match="exceed 1,073,741,824 bytes"):
            announce(client, 2**30 - 24)


# From elsewhere on this machine


class _Shelf(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = {"/faq.jsonl?v=1": b'{"messages": []}\n', "/empty": b"", "/latin.jsonl": BROKEN}.get(
            self.path
        )
        self.send_response(200 if found is not None else 302)
        self.send_header("Location", "http://127.0.0.1/faq.jsonl")
        self.end_headers()
        self.wfile.write(found or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf() -> Iterator[int]:
    """The port of a web server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Shelf) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def import_file(http_client: TestClient, url: str) -> tuple[int, dict[str, object]]:
    asked = {"purpose": "fine-tune", "filename": "faq.jsonl", "content_url": url}
    answer = http_client.post("/openai/files/import?api-version=2024-10-21", json=asked)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_file_is_imported_from_this_machine(http_client: TestClient, shelf: int, host: str) -> None:
    status, file = import_file(http_client, f"http://{host}:{shelf}/faq.jsonl?v=1")
    assert (status, file["filename"], file["bytes"], file["status"]) == (201, "faq.jsonl", 17, "processed")
    assert client_of(http_client).files.content(str(file["id"])).content == b'{"messages": []}\n'


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/faq.jsonl",
        "http://10.0.0.1/faq.jsonl",
        "http://169.254.169.254/metadata",
        "http://127.0.0.1.example.org/",
        "http://127.0.0.1@example.org/",
        "http://[::ffff:10.0.0.1]/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/a b",
        "file:///etc/passwd",
        "faq.jsonl",
        "",
    ],
)
def test_nothing_is_fetched_from_anywhere_else(http_client: TestClient, url: str) -> None:
    status, answer = import_file(http_client, url)
    assert (status, answer["error"]["code"], answer["error"]["target"]) == (
        400,
        "invalidPayload",
        "content_url",
    )


@pytest.mark.parametrize(("path", "finding"), [("/moved", "answered 302"), ("/empty", "has an empty file")])
def test_what_cannot_be_imported_says_why(
    http_client: TestClient, home: Path, shelf: int, path: str, finding: str
) -> None:
    status, answer = import_file(http_client, f"http://127.0.0.1:{shelf}{path}")
    assert (status, answer["error"]["code"]) == (400, "fileImportFailed")
    assert finding in answer["error"]["message"]
    assert list((home / "service" / "incoming").iterdir()) == []


def test_a_port_where_nobody_listens_is_an_import_that_failed(http_client: TestClient, shelf: int) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Shelf) as closed:
        port = closed.server_address[1]
    for host in ("127.0.0.1", "[::1%25none]"):
        status, answer = import_file(http_client, f"http://{host}:{port}/")
        assert (status, answer["error"]["code"]) == (400, "fileImportFailed")


# As other programs write them


def test_a_byte_order_mark_and_windows_line_ends_are_tolerated(client: OpenAI) -> None:
    line = b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}'
    file = client.files.create(
        file=("windows.jsonl", b"\xef\xbb\xbf" + (line + b"\r\n") * 10), purpose="fine-tune"
    )
    content = client.files.content(file.id).content
    assert content.startswith(b"\xef\xbb\xbf")
    assert [example.answer for example in parse_jsonl(content, file.filename)] == ["ho"] * 10


LINE = b'{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n'
BROKEN = LINE * 11 + LINE.replace(b"hi", b"caf\xe9")
NOT_UTF_8 = (
    (
        BROKEN,
        "bad.jsonl:12 character 47: the byte 0xE9 is not UTF-8; "
        "write the right character there; `python -m workbench fix` tries Windows-1252.",
    ),
    (
        LINE.decode().encode("utf-16"),
        "bad.jsonl: the file is UTF-16, not UTF-8: line 1 has the byte 0xFF; "
        "save it as UTF-8; `python -m workbench build` does it.",
    ),
)


@pytest.mark.parametrize(("content", "message"), NOT_UTF_8)
def test_a_training_file_that_is_not_utf_8_is_refused_with_line_and_byte(
    client: OpenAI, home: Path, content: bytes, message: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=("bad.jsonl", content), purpose="fine-tune")
    assert caught.value.body == {
        "code": "jsonlValidationFailed",
        "message": message,
        "param": "file",
        "type": "error",
    }
    upload = client.uploads.create(
        filename="bad.jsonl", purpose="fine-tune", bytes=len(content), mime_type="text/jsonl"
    )
    halves = content[:1100], content[1100:]
    parts = [client.uploads.parts.create(upload.id, data=half).id for half in halves if half]
    with pytest.raises(openai.BadRequestError, match="not UTF-8") as caught:
        client.uploads.complete(upload.id, part_ids=parts)
    assert caught.value.body["message"] == message  # type: ignore[index]
    assert client.files.list().data == []
    assert list((home / "service" / "files").iterdir()) == []


def test_a_file_for_another_purpose_is_bytes(client: OpenAI) -> None:
    file = client.files.create(file=("photo.png", b"\x89PNG\xff\xfe"), purpose="vision")
    assert client.files.content(file.id).content == b"\x89PNG\xff\xfe"


def test_an_import_that_is_not_utf_8_is_refused(http_client: TestClient, shelf: int) -> None:
    status, answer = import_file(http_client, f"http://127.0.0.1:{shelf}/latin.jsonl")
    assert (status, answer["error"]["code"]) == (400, "jsonlValidationFailed")
    assert answer["error"]["message"].startswith("faq.jsonl:12 character 47: the byte 0xE9 is not UTF-8; ")
    assert client_of(http_client).files.list().data == []
