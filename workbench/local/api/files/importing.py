"""A file that the service fetches by itself, from an address on this very machine and from nowhere else.

On Azure the address is that of a blob in the cloud; a service that holds somebody's data calls
nobody out there.
"""

import http.client
import ipaddress
from io import BufferedWriter
from urllib.parse import urlsplit

from workbench.local.api.files.purposes import Purpose
from workbench.local.api.refusals import Refusal, invalid, too_large
from workbench.local.api.requests import Shape
from workbench.local.storage.disk import is_disk_full

PATIENCE = 30.0  # seconds without a byte
CHUNK = 1024 * 1024


class ImportRequest(Shape):
    """Where a file is found, and what it is for."""

    purpose: Purpose
    filename: str
    content_url: str


def fetch(url: str, content: BufferedWriter, *, most: int) -> None:
    """Copy what lies at ``url`` into ``content``; no redirect is followed.

    Raises ``Refusal`` when it is not on this machine, not there, or larger than ``most`` bytes.
    """
    host, port, path = _on_this_machine(url)
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
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
                raise too_large(most)
    except (http.client.HTTPException, OSError) as error:
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
        raise invalid(
            "The local service imports from this machine only: content_url begins with http://127.0.0.1 "
            "or http://localhost. Download a file from elsewhere first and upload it.",
            "content_url",
        )
    return host, port, path


def _failed(finding: str) -> Refusal:
    return Refusal(400, "fileImportFailed", f"The file could not be imported: {finding}.", "content_url")
