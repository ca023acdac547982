"""A form on its way in: its fields as they arrive, the file in it straight to the disk."""

import re
from io import BufferedWriter
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from workbench.local.api.http import invalid, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

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
            raise too_large(most)
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise invalid(f"A file is sent as multipart/form-data, in the part named {part}.")
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
            "on_end": self._end,
        }
        self._complete = False
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError as error:
            raise invalid(f"The multipart form cannot be read: {error}.") from error

    async def read(self) -> None:
        """Take the body to its end; raises ``Refusal`` unless it brought a file with something in it."""
        async for chunk in self._request.stream():
            await run_in_threadpool(self._write, chunk)
        if not self._complete:
            raise invalid("The multipart form ends before its last boundary; the upload was cut off.")
        if self.filename is None:
            raise invalid(f"Missing required parameter: '{self._part}'.", self._part)
        if self.content.tell() == 0:
            raise invalid(f"The file {self.filename!r} is empty.", self._part)

    def _write(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise invalid(f"The multipart form cannot be read: {error}.") from error

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
                raise invalid(f"The form has two parts named {self._part}; send one at a time.", self._part)
            self.filename = base_name(_text(options.get(b"filename", b"")), self._part)

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name == self._part:
            self.content.write(data[start:end])
            if self.content.tell() > self._most:
                raise too_large(self._most)
        else:
            self._value.extend(data[start:end])
            if len(self._value) > MAX_FIELD_BYTES:
                raise invalid(f"{self._name[:80]} is longer than {MAX_FIELD_BYTES:,} bytes.", self._name[:80])

    def _end_part(self) -> None:
        if self._name != self._part:
            self.fields[self._name] = _text(bytes(self._value))
            if len(self.fields) > 16:
                raise invalid("The form has more than 16 parts.")

    def _end(self) -> None:
        self._complete = True


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def base_name(filename: str, param: str) -> str:
    """The last part of a path from any system: a name to show, never a place to write to."""
    name = filename.replace("\\", "/").rpartition("/")[2].strip()
    if not 1 <= len(name) <= 255 or any(letter < " " for letter in name):
        raise invalid(f"{param} needs a filename of 1 to 255 characters.", param)
    return name
