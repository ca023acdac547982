"""Files over HTTP: upload, list, look up, read, delete."""

from typing import Literal, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.refusals import invalid, not_found, too_large
from workbench.local.api.requests import read_page, show_page
from workbench.local.api.upload import MAX_FIELD_BYTES, MAX_FILE_BYTES, UploadForm
from workbench.local.storage.store import Store

PURPOSES = ("fine-tune", "assistants", "batch", "evals", "user_data", "vision")
OCTETS = "application/octet-stream"


class FilesApi:
    """The part of the API that is about files."""

    def __init__(self, store: Store) -> None:
        """Serve the files of ``store``."""
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        return [
            Route("/files", self.upload, methods=["POST"]),
            Route("/files", self.list_files, methods=["GET"]),
            Route("/files/{file_id}", self.show_file, methods=["GET"]),
            Route("/files/{file_id}", self.delete_file, methods=["DELETE"]),
            Route("/files/{file_id}/content", self.send_content, methods=["GET"]),
        ]

    async def upload(self, request: Request) -> Response:
        """Take a file; it is safely on the disk when this is answered."""
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > MAX_FILE_BYTES + MAX_FIELD_BYTES:
            raise too_large(MAX_FILE_BYTES)
        with self._store.receive() as incoming:
            form = UploadForm(request.headers.get("content-type", ""), incoming)
            async for chunk in request.stream():
                await run_in_threadpool(form.write, chunk)
            form.finish()
            purpose = form.fields.pop("purpose", None)
            if purpose is None:
                raise invalid("Missing required parameter: 'purpose'.", "purpose")
            if purpose not in PURPOSES:
                raise invalid(f"Invalid 'purpose': it is one of {', '.join(PURPOSES)}.", "purpose")
            if any(name.startswith("expires_after") for name in form.fields):
                raise invalid(
                    "Files of the local service do not expire yet; leave expires_after out.", "expires_after"
                )
            if form.fields:
                name = next(iter(form.fields))[:80]
                raise invalid(f"Unknown parameter: '{name}'.", name)
            return JSONResponse(
                await run_in_threadpool(self._store.keep, incoming, str(form.filename), purpose)
            )

    async def list_files(self, request: Request) -> Response:
        """List files, newest first unless asked otherwise."""
        page, order = read_page(request, default=10_000), request.query_params.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid("order is asc or desc.", "order")
        direction = cast(Literal["asc", "desc"], order)
        purpose = request.query_params.get("purpose")
        return show_page(*self._store.files(purpose, after=page.after, limit=page.limit, order=direction))

    async def show_file(self, request: Request) -> Response:
        """Describe one file."""
        file = self._store.file(request.path_params["file_id"])
        if file is None:
            raise not_found("file", request.path_params["file_id"])
        return JSONResponse(file)

    async def send_content(self, request: Request) -> Response:
        """Send the bytes of a file; those of a result file as they are at this moment."""
        file_id = request.path_params["file_id"]
        file = self._store.file(file_id)
        if file is None:
            raise not_found("file", file_id)
        job_id = self._store.job_of_result_file(file_id)
        if job_id is not None:
            return Response(await run_in_threadpool(self._store.results_csv, job_id), media_type=OCTETS)
        return FileResponse(self._store.file_path(file_id), media_type=OCTETS, filename=file["filename"])

    async def delete_file(self, request: Request) -> Response:
        """Delete a file."""
        file_id = request.path_params["file_id"]
        if not self._store.delete_file(file_id):
            raise not_found("file", file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})
