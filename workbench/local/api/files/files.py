"""Files over HTTP: upload, import, list, look up, read, delete."""

import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.dialects import created, show_results
from workbench.local.api.files.importing import ImportRequest, fetch
from workbench.local.api.files.purposes import NewFile, need_room, need_text
from workbench.local.api.files.upload import MAX_FILE_BYTES, UploadForm, base_name
from workbench.local.api.refusals import Refusal, not_found
from workbench.local.api.requests import check_shape, read_json, read_order, read_page, show_rows
from workbench.local.quota import Quota
from workbench.local.storage.files import LostContentError
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

OCTETS = "application/octet-stream"


class FilesApi:
    """The part of the API that is about files."""

    def __init__(self, store: Store, quota: Quota) -> None:
        """Serve the files of ``store``, as many as ``quota`` allows."""
        self._store, self._quota = store, quota

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        return [
            Route("/files", self.upload, methods=["POST"]),
            Route("/files", self.list_files, methods=["GET"]),
            Route("/files/import", self.import_file, methods=["POST"]),
            Route("/files/{file_id}", self.show_file, methods=["GET"]),
            Route("/files/{file_id}", self.delete_file, methods=["DELETE"]),
            Route("/files/{file_id}/content", self.send_content, methods=["GET"]),
        ]

    async def upload(self, request: Request) -> Response:
        """Take a file; it is safely on the disk when this is answered."""
        with self._store.files.receive() as incoming:
            form = UploadForm(request, incoming, part="file", most=MAX_FILE_BYTES)
            await form.read()
            asked = check_shape(_unflatten(form.fields), NewFile)
            lifetime = asked.lifetime(self._quota)
            need_room(self._store, asked.purpose, incoming.tell(), self._quota)
            keep, name = self._store.files.keep, str(form.filename)
            await run_in_threadpool(need_text, incoming, name, asked.purpose)
            kept = await run_in_threadpool(keep, incoming, name, asked.purpose, expires_after=lifetime)
        return created(request, kept, f"files/{kept['id']}")

    async def import_file(self, request: Request) -> Response:
        """Fetch a file from this machine; it is safely on the disk when this is answered."""
        asked = await read_json(request, ImportRequest)
        name = base_name(asked.filename, "filename")
        with self._store.files.receive() as incoming:
            await run_in_threadpool(fetch, asked.content_url, incoming, most=MAX_FILE_BYTES)
            need_room(self._store, asked.purpose, incoming.tell(), self._quota)
            await run_in_threadpool(need_text, incoming, name, asked.purpose)
            kept = await run_in_threadpool(self._store.files.keep, incoming, name, asked.purpose)
        return created(request, kept, f"files/{kept['id']}", status=201)

    async def list_files(self, request: Request) -> Response:
        """List files, newest first unless asked otherwise."""
        page, order = read_page(request, default=10_000), read_order(request, default="desc")
        purpose = request.query_params.get("purpose")
        rows, more = self._store.files.page(purpose, after=page.after, limit=page.limit, order=order)
        return show_rows(request, rows, more, ends=True)

    async def show_file(self, request: Request) -> Response:
        """Describe one file."""
        file = self._store.files.get(request.path_params["file_id"])
        if file is None:
            raise not_found("file", request.path_params["file_id"])
        return JSONResponse(file)

    async def send_content(self, request: Request) -> Response:
        """Send the bytes of a file; those of a result file as they are at this moment."""
        file_id = request.path_params["file_id"]
        file = self._store.files.get(file_id)
        if file is None:
            raise not_found("file", file_id)
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
            raise not_found("file", file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})


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
