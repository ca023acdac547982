"""Uploads over HTTP: a large file announced, sent in parts, and put together.

Parts of up to 64 MB, 8 GB in all, two hours from the first call to the last. Ids have the form
that OpenAI gives them; Azure's own form is not documented.
"""

from typing import Annotated

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.files.purposes import NewFile, need_room, need_text
from workbench.local.api.files.upload import MAX_PART_BYTES, UploadForm, base_name
from workbench.local.api.refusals import Refusal, invalid, not_found
from workbench.local.api.requests import Shape, read_json
from workbench.local.quota import Quota
from workbench.local.storage.rows import Upload
from workbench.local.storage.store import Store

MAX_UPLOAD_BYTES = 8 * 1024**3


class NewUpload(NewFile):
    """A file as it is announced."""

    filename: str
    bytes: Annotated[int, Field(ge=1, le=MAX_UPLOAD_BYTES)]
    mime_type: str  # said for the sake of others; a file is bytes here


class Completion(Shape):
    """The parts in their order, and what the whole must be."""

    part_ids: Annotated[list[str], Field(min_length=1, max_length=10_000)]
    md5: str | None = None


class UploadsApi:
    """The part of the API that is about uploads."""

    def __init__(self, store: Store, quota: Quota) -> None:
        """Gather parts in ``store``; what they become counts among the files of ``quota``."""
        self._store, self._quota = store, quota

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        return [
            Route("/uploads", self.announce, methods=["POST"]),
            Route("/uploads/{upload_id}/parts", self.add_part, methods=["POST"]),
            Route("/uploads/{upload_id}/complete", self.complete, methods=["POST"]),
            Route("/uploads/{upload_id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def announce(self, request: Request) -> Response:
        """Begin an upload."""
        asked = await read_json(request, NewUpload)
        lifetime = asked.lifetime(self._quota)
        need_room(self._store, asked.purpose, asked.bytes, self._quota)
        name = base_name(asked.filename, "filename")
        return JSONResponse(self._store.uploads.add(name, asked.purpose, asked.bytes, expires_after=lifetime))

    async def add_part(self, request: Request) -> Response:
        """Take a part; it is safely on the disk when this is answered."""
        upload = self._open_upload(request)
        room = MAX_UPLOAD_BYTES - self._store.uploads.received(upload["id"])
        if room <= 0:
            raise invalid(f"All parts together may have {MAX_UPLOAD_BYTES:,} bytes.", "data")
        with self._store.uploads.receive() as incoming:
            await UploadForm(request, incoming, part="data", most=min(MAX_PART_BYTES, room)).read()
            part = await run_in_threadpool(self._store.uploads.keep, upload["id"], incoming)
        if part is None:
            raise self._closed(request)
        return JSONResponse(part)

    async def complete(self, request: Request) -> Response:
        """Make a file of the parts; it is safely on the disk when this is answered."""
        asked = await read_json(request, Completion)
        upload = self._open_upload(request)
        need_room(self._store, upload["purpose"], upload["bytes"], self._quota)
        put_together = self._store.uploads.complete
        return JSONResponse(
            await run_in_threadpool(
                put_together, upload["id"], asked.part_ids, md5=asked.md5, examine=need_text
            )
        )

    async def cancel(self, request: Request) -> Response:
        """End an upload; its parts are forgotten."""
        cancelled = self._store.uploads.cancel(self._upload(request)["id"])
        if cancelled is None:
            raise self._closed(request)
        return JSONResponse(cancelled)

    def _upload(self, request: Request) -> Upload:
        upload = self._store.uploads.get(request.path_params["upload_id"])
        if upload is None:
            raise not_found("upload", request.path_params["upload_id"])
        return upload

    def _open_upload(self, request: Request) -> Upload:
        upload = self._upload(request)
        if upload["status"] != "pending":
            raise self._closed(request)
        return upload

    def _closed(self, request: Request) -> Refusal:
        upload = self._upload(request)
        message = f"Upload {upload['id']} takes nothing more; it is {upload['status']}. Start a new one."
        return Refusal(400, "unexpectedEntityState", message)
