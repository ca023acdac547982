"""A file on its way in: the fields of a multipart form as they arrive, the content straight to the disk."""

from io import BufferedWriter
from typing import TYPE_CHECKING

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from workbench.local.api.refusals import invalid, too_large

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_FIELD_BYTES = 64 * 1024


class UploadForm:
    """One form: small fields in ``fields``, the part named ``file`` in ``content``."""

    def __init__(self, content_type: str, content: BufferedWriter) -> None:
        """Raises ``Refusal`` when the body is announced to be something else than a form."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise invalid("A file is sent as multipart/form-data with the parts purpose and file.")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.content = content
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

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body; blocks while the disk is busy."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise invalid(f"The multipart form cannot be read: {error}.") from error

    def finish(self) -> None:
        """Raise ``Refusal`` unless the form came to its end and brought a file with something in it."""
        if not self._complete:
            raise invalid("The multipart form ends before its last boundary; the upload was cut off.")
        if self.filename is None:
            raise invalid("Missing required parameter: 'file'.", "file")
        if self.content.tell() == 0:
            raise invalid(f"The file {self.filename!r} is empty.", "file")

    def _begin_part(self) -> None:
        self._disposition, self._value = b"", bytearray()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header, self._header_value = bytearray(), bytearray()

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = _text(options.get(b"name", b""))
        if self._name == "file":
            if self.filename is not None:
                raise invalid("The form has two parts named file; upload one file at a time.", "file")
            self.filename = _base_name(_text(options.get(b"filename", b"")))

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.content.write(data[start:end])
            if self.content.tell() > MAX_FILE_BYTES:
                raise too_large(MAX_FILE_BYTES)
        else:
            self._value.extend(data[start:end])
            if len(self._value) > MAX_FIELD_BYTES:
                raise invalid(f"{self._name[:80]} is longer than {MAX_FIELD_BYTES:,} bytes.", self._name[:80])

    def _end_part(self) -> None:
        if self._name != "file":
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


def _base_name(filename: str) -> str:
    """The last part of a path from any system: a name to show, never a place to write to."""
    name = filename.replace("\\", "/").rpartition("/")[2].strip()
    if not 1 <= len(name) <= 255 or any(letter < " " for letter in name):
        raise invalid("The part named file needs a filename of 1 to 255 characters.", "file")
    return name
