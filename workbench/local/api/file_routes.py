"""Files over HTTP: upload, import, upload in parts, list, download, delete; purposes and expiry."""

import ipaddress
import re
from http.client import HTTPConnection, HTTPException
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from workbench.catalog.limits import Limits
from workbench.dataset.json_text import require_utf_8
from workbench.errors import DataError
from workbench.local.api import http
from workbench.local.api.http import created, show_results
from workbench.local.chat_protocol import Refusal
from workbench.local.store.database import is_disk_full
from workbench.local.store.files import LostContentError
from workbench.local.store.rows import JSON, StoredFile, Upload
from workbench.local.store.store import Store

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# What a file may be uploaded for, how long it may live, and how many there may be.
#
# The purposes and the range of ``expires_after`` are those of OpenAI's API description (3,600 to
# 2,592,000 seconds). Azure's own range begins at 14 days (1,209,600; its 2025-04-01-preview
# specification), which a service with Azure's quota insists on. The numbers are ``catalog.limits``'.

Purpose = Literal["fine-tune", "assistants", "batch", "evals", "user_data", "vision"]
UNBOUNDED = 2**62  # bytes or seconds; what the database can hold


class ExpiresAfter(http.RequestShape):
    """When a file is to be removed: so many seconds after it was made."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=1, le=UNBOUNDED)]


class NewFile(http.RequestShape):
    """What an upload says about its file."""

    purpose: Purpose
    expires_after: ExpiresAfter | None = None

    def lifetime(self, limits: Limits) -> int | None:
        """The seconds that the file is to live; raises ``Refusal`` when they are too few or too many."""
        if self.expires_after is None:
            return None
        least, most = limits.min_expiry or 1, limits.max_expiry or self.expires_after.seconds
        if not least <= self.expires_after.seconds <= most:
            name = "expires_after.seconds"
            raise http.invalid(f"Invalid '{name}': it is from {least:,} to {most:,} on this service.", name)
        return self.expires_after.seconds


def need_quota(store: Store, purpose: str, size: int, limits: Limits) -> None:
    """Refuse one more file of ``size`` bytes when those for fine-tuning are too many already."""
    if purpose != "fine-tune":
        return
    files, held = store.files.holdings(purpose)
    if limits.max_files is not None and files >= limits.max_files:
        finding = f"{files} files for fine-tuning are stored, the most there may be"
    elif limits.max_all_files_bytes is not None and held + size > limits.max_all_files_bytes:
        finding = f"With this file, those for fine-tuning exceed {limits.max_all_files_bytes:,} bytes"
    else:
        return
    raise Refusal(429, "quotaExceeded", f"{finding}; delete one, or start with --quota off.")


def need_text(incoming: BufferedWriter, name: str, purpose: str) -> None:
    """Refuse a file for fine-tuning that is not UTF-8, in the words of the check; reads all of it."""
    if purpose != "fine-tune":
        return
    incoming.flush()
    try:
        with Path(incoming.name).open("rb") as content:
            require_utf_8(content, name)
    except DataError as error:
        raise Refusal(400, "jsonlValidationFailed", str(error), "file") from error


# A file that the service fetches by itself, from an address on this very machine and from nowhere else.
#
# On Azure the address is that of a blob in the cloud; a service that holds somebody's data calls
# nobody out there.

PATIENCE = 30.0  # seconds without a byte
CHUNK = 1024 * 1024


class ImportRequest(http.RequestShape):
    """Where a file is found, and what it is for."""

    purpose: Purpose
    filename: str
    content_url: str


def fetch(url: str, content: BufferedWriter, *, most: int) -> None:
    """Copy what lies at ``url`` into ``content``; no redirect is followed.

    Raises ``Refusal`` when it is not on this machine, not there, or larger than ``most`` bytes.
    """
    host, port, path = _on_this_machine(url)
    connection = HTTPConnection(host, port, timeout=PATIENCE)
    try:
        connection.connect()
    except OSError as error:
        raise _failed(f"nobody answers at {host}:{port} ({error})") from error
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise _failed(f"{host}:{port} answered {answer.status}")
        while chunk := answer.read(CHUNK):
            content.write(chunk)
            if content.tell() > most:
                raise http.too_large(most)
    except (HTTPException, OSError) as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        raise _failed(f"{host}:{port} cannot be read ({error or type(error).__name__})") from error
    finally:
        connection.close()
    if content.tell() == 0:
        raise _failed(f"{host}:{port} has an empty file")


def _on_this_machine(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else str(parts.hostname)
        is_here = parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
        port, path = parts.port or 80, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    except ValueError:
        is_here = False
    if not is_here or not (path.isascii() and path.isprintable() and " " not in path):
        raise http.invalid(
            "The local service imports from this machine only: content_url begins with http://127.0.0.1 "
            "or http://localhost. Download a file from elsewhere first and upload it.",
            "content_url",
        )
    return host, port, path


def _failed(finding: str) -> Refusal:
    return Refusal(400, "fileImportFailed", f"The file could not be imported: {finding}.", "content_url")


class NewUpload(NewFile):
    """A file as it is announced."""

    filename: str
    bytes: Annotated[int, Field(ge=1, le=UNBOUNDED)]
    mime_type: str  # said for the sake of others; a file is bytes here


class UploadCompletion(http.RequestShape):
    """The parts in their order, and what the whole must be."""

    part_ids: Annotated[list[str], Field(min_length=1, max_length=10_000)]
    md5: str | None = None


# Files over HTTP: upload, import, list, look up, read, delete.

OCTETS = "application/octet-stream"


class FilesApi:
    """The part of the API that is about files, whole and in parts."""

    def __init__(self, store: Store, limits: Limits) -> None:
        """Serve the files of ``store``, as many as ``limits`` allow."""
        self._store, self._limits = store, limits
        self._most = limits.max_file_bytes or UNBOUNDED
        self._most_in_parts = limits.max_upload_bytes or UNBOUNDED

    async def upload(self, request: Request) -> Response:
        """Take a file; it is safely on the disk when this is answered."""
        with self._store.files.receive() as incoming:
            form = UploadForm(request, incoming, part="file", most=self._most)
            await form.read()
            asked = http.check_shape(_unflatten(form.fields), NewFile)
            lifetime = asked.lifetime(self._limits)
            kept = await self._keep(incoming, str(form.filename), asked.purpose, lifetime)
        return created(request, kept, f"files/{kept['id']}")

    async def import_file(self, request: Request) -> Response:
        """Fetch a file from this machine; it is safely on the disk when this is answered."""
        asked = await http.read_json(request, ImportRequest)
        name = base_name(asked.filename, "filename")
        with self._store.files.receive() as incoming:
            await run_in_threadpool(fetch, asked.content_url, incoming, most=self._most)
            kept = await self._keep(incoming, name, asked.purpose, None)
        return created(request, kept, f"files/{kept['id']}", status=201)

    async def _keep(self, incoming: BufferedWriter, name: str, purpose: str, life: int | None) -> StoredFile:
        need_quota(self._store, purpose, incoming.tell(), self._limits)
        await run_in_threadpool(need_text, incoming, name, purpose)
        keep = self._store.files.keep
        return await run_in_threadpool(keep, incoming, name, purpose, expires_after=life)

    async def list_files(self, request: Request) -> Response:
        """List files, newest first unless asked otherwise."""
        after, limit = http.read_page(request, default=10_000)
        order, purpose = http.read_order(request, default="desc"), request.query_params.get("purpose")
        rows, more = self._store.files.page(purpose, after=after, limit=limit, order=order)
        return http.show_rows(request, rows, more, ends=True)

    async def show_file(self, request: Request) -> Response:
        """Describe one file."""
        return JSONResponse(self._file(request))

    async def send_content(self, request: Request) -> Response:
        """Send the bytes of a file; those of a result file as they are at this moment."""
        file = self._file(request)
        file_id = file["id"]
        job_id = self._store.files.job_of(file_id)
        if job_id is not None:
            csv = await run_in_threadpool(self._store.metrics.csv, job_id)
            return Response(show_results(request, csv), media_type=OCTETS)
        # Always the whole: what starlette says to a range that it cannot read is not in the API's shape.
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
        try:
            path, whole = self._store.files.content(file_id), {"accept-ranges": "none"}
        except LostContentError as error:
            raise Refusal(404, "notFound", str(error)) from error
        return FileResponse(path, headers=whole, media_type=OCTETS, filename=file["filename"])

    async def delete_file(self, request: Request) -> Response:
        """Delete a file."""
        file_id = request.path_params["file_id"]
        if not self._store.files.delete(file_id):
            raise http.not_found("file", file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    def _file(self, request: Request) -> StoredFile:
        file_id = request.path_params["file_id"]
        return http.known(self._store.files.get(file_id), "file", file_id)

    # Uploads over HTTP: a large file announced, sent in parts, and put together.
    #
    # Two hours from the first call to the last. Ids have the form that OpenAI gives them; Azure's own form is
    # not documented.

    async def announce(self, request: Request) -> Response:
        """Begin an upload."""
        asked = await http.read_json(request, NewUpload)
        most = self._most_in_parts
        if asked.bytes > most:
            raise http.invalid(f"Invalid 'bytes': an upload has at most {most:,} in all.", "bytes")
        lifetime = asked.lifetime(self._limits)
        need_quota(self._store, asked.purpose, asked.bytes, self._limits)
        name = base_name(asked.filename, "filename")
        return JSONResponse(self._store.uploads.add(name, asked.purpose, asked.bytes, expires_after=lifetime))

    async def add_part(self, request: Request) -> Response:
        """Take a part; it is safely on the disk when this is answered."""
        upload = self._open_upload(request)
        left = self._most_in_parts - self._store.uploads.received(upload["id"])
        if left <= 0:
            raise http.invalid(f"All parts together may have {self._most_in_parts:,} bytes.", "data")
        part_bytes = self._limits.max_part_bytes or UNBOUNDED
        with self._store.uploads.receive() as incoming:
            await UploadForm(request, incoming, part="data", most=min(left, part_bytes)).read()
            part = await run_in_threadpool(self._store.uploads.keep, upload["id"], incoming)
        if part is None:
            raise self._closed(request)
        return JSONResponse(part)

    async def complete(self, request: Request) -> Response:
        """Make a file of the parts; it is safely on the disk when this is answered."""
        asked = await http.read_json(request, UploadCompletion)
        upload = self._open_upload(request)
        need_quota(self._store, upload["purpose"], upload["bytes"], self._limits)
        complete, part_ids = self._store.uploads.complete, asked.part_ids
        whole = await run_in_threadpool(complete, upload["id"], part_ids, md5=asked.md5, examine=need_text)
        return JSONResponse(whole)

    async def cancel(self, request: Request) -> Response:
        """End an upload; its parts are forgotten."""
        cancelled = self._store.uploads.cancel(self._upload(request)["id"])
        if cancelled is None:
            raise self._closed(request)
        return JSONResponse(cancelled)

    def _upload(self, request: Request) -> Upload:
        upload_id = request.path_params["upload_id"]
        return http.known(self._store.uploads.get(upload_id), "upload", upload_id)

    def _open_upload(self, request: Request) -> Upload:
        upload = self._upload(request)
        if upload["status"] != "pending":
            raise self._closed(request)
        return upload

    def _closed(self, request: Request) -> Refusal:
        upload = self._upload(request)
        message = f"Upload {upload['id']} takes nothing more; it is {upload['status']}. Start a new one."
        return Refusal(400, "unexpectedEntityState", message)


def _unflatten(fields: dict[str, str]) -> dict[str, JSON]:
    """``{"expires_after[anchor]": …}`` of a form is ``{"expires_after": {"anchor": …}}``."""
    found: dict[str, JSON] = {}
    for name, text in fields.items():
        outer, _, inner = name.partition("[")
        if not inner:
            found[name] = text
        else:
            group = found.setdefault(outer, {})
            if isinstance(group, dict):
                group[inner.removesuffix("]")] = int(text) if re.fullmatch(r"\d{1,18}", text) else text
    return found


# A form on its way in: its fields as they arrive, the file in it straight to the disk.

MAX_FIELD_BYTES = 64 * 1024


class UploadForm:
    """One form: small fields in ``fields``, the part that is a file in ``content``."""

    def __init__(self, request: Request, content: BufferedWriter, *, part: str, most: int) -> None:
        """Expect a file of at most ``most`` bytes in the part named ``part``.

        Raises ``Refusal`` when the body is announced to be too large, or something else than a form.
        """
        announced = request.headers.get("content-length", "")
        # A server looks at this header itself, and more closely, before it hands a request on.
        if re.fullmatch("[0-9]{1,20}", announced) and int(announced) > most + MAX_FIELD_BYTES:
            raise http.too_large(most)
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise http.invalid(f"A file is sent as multipart/form-data, in the part named {part}.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.content = content
        self._request, self._part, self._most = request, part, most
        self._name, self._value = "", bytearray()
        self._header, self._header_value, self._disposition = bytearray(), bytearray(), b""
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": self._take,
            "on_part_end": self._end_part,
            "on_end": lambda: setattr(self, "_complete", True),
        }
        self._complete = False
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as error:
            raise http.invalid(f"The multipart form cannot be read: {error}.") from error

    async def read(self) -> None:
        """Take the body to its end; raises ``Refusal`` unless it brought a file with something in it."""
        async for chunk in self._request.stream():
            await run_in_threadpool(self._write, chunk)
        if not self._complete:
            raise http.invalid("The multipart form ends before its last boundary; the upload was cut off.")
        if self.filename is None:
            raise http.invalid(f"Missing required parameter: '{self._part}'.", self._part)
        if self.content.tell() == 0:
            raise http.invalid(f"The file {self.filename!r} is empty.", self._part)

    def _write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise http.invalid(f"The multipart form cannot be read: {error}.") from error

    def _begin_part(self) -> None:
        self._disposition, self._value = b"", bytearray()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header, self._header_value = bytearray(), bytearray()

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _text(options.get(b"name", b""))
        if self._name == self._part:
            if self.filename is not None:
                raise http.invalid(f"The form has two parts named {self._part}; send one.", self._part)
            self.filename = base_name(_text(options.get(b"filename", b"")), self._part)

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._part:
            self.content.write(data[start:end])
            if self.content.tell() > self._most:
                raise http.too_large(self._most)
            return
        self._value.extend(data[start:end])
        if len(self._value) > MAX_FIELD_BYTES:
            name = self._name[:80]
            raise http.invalid(f"{name} is longer than {MAX_FIELD_BYTES:,} bytes.", name)

    def _end_part(self) -> None:
        if self._name != self._part:
            self.fields[self._name] = _text(bytes(self._value))
            if len(self.fields) > 16:
                raise http.invalid("The form has more than 16 parts.")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def base_name(filename: str, param: str) -> str:
    """The last part of a path from any system: a name to show, never a place to write to."""
    name = filename.replace("\\", "/").rpartition("/")[2].strip()
    if not 1 <= len(name) <= 255 or any(letter < " " for letter in name):
        raise http.invalid(f"{param} needs a filename of 1 to 255 characters.", param)
    return name
