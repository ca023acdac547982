"""Runs of an eval over HTTP: start, watch, cancel, delete; and what came out for every line."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.deployments.serving import Serving
from workbench.local.api.evals.asked import FileSource, Questions, RunRequest
from workbench.local.api.evals.evals import find_eval
from workbench.local.api.evals.examining import question
from workbench.local.api.evals.lines import check_lines, read_lines
from workbench.local.api.evals.working import EvalWork
from workbench.local.api.faults import faults_of
from workbench.local.api.refusals import Refusal, invalid, not_found
from workbench.local.api.requests import read_json, read_order, read_page, show_page
from workbench.local.storage.evals import Body
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store

RUN_STATES = ("queued", "in_progress", "completed", "canceled", "failed")
ITEM_STATES = ("pass", "fail", "error")


class EvalRunsApi:
    """The part of the API that is about the runs of evals."""

    def __init__(self, store: Store, serving: Serving, work: EvalWork) -> None:
        """Keep runs in ``store``, and give them to ``work``."""
        self._store, self._serving, self._work = store, serving, work

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        runs, one = "/evals/{eval_id}/runs", "/evals/{eval_id}/runs/{run_id}"
        return [
            Route(runs, self.create, methods=["POST"]),
            Route(runs, self.list_runs, methods=["GET"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.cancel, methods=["POST"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/output_items", self.list_items, methods=["GET"]),
            Route(f"{one}/output_items/{{item_id}}", self.show_item, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        """Start a run; all its lines are checked and on the disk when this is answered."""
        whole = find_eval(self._store, request)
        asked = await read_json(request, RunRequest)
        source = asked.data_source
        lines = await run_in_threadpool(self._lines, whole, asked)
        model = source.model if isinstance(source, Questions) else ""
        if isinstance(source, Questions):
            self._serving.find(source.model, faults_of(request))
            question(source, cast(Mapping[str, JSON], lines[0]["item"]))
        body: dict[str, JSON] = {
            "created_at": int(time.time()),
            "name": asked.name or "run",
            "model": model,
            "data_source": source.model_dump(exclude_none=True),
            "metadata": dict(asked.metadata or {}),
            "error": None,
            "report_url": f"{request.url}",
        }
        run = await run_in_threadpool(self._store.eval_runs.add, str(whole["id"]), body, lines)
        self._work.begin(str(run["id"]))
        return JSONResponse(run, 201)

    async def list_runs(self, request: Request) -> Response:
        """List an eval's runs, oldest first unless asked otherwise."""
        eval_id = str(find_eval(self._store, request)["id"])
        after, limit = read_page(request, default=20)
        status, order = _status(request, RUN_STATES), read_order(request, default="asc")
        return show_page(
            *self._store.eval_runs.page(eval_id, status=status, after=after, limit=limit, order=order)
        )

    async def show(self, request: Request) -> Response:
        """Describe one run, with its counts at this moment."""
        return JSONResponse(self._run(request))

    async def cancel(self, request: Request) -> Response:
        """End a run that has not ended; what was examined stays."""
        run_id = str(self._run(request)["id"])
        cancelled = self._store.eval_runs.set_status(run_id, "canceled")
        if cancelled is None:
            message = f"Run {run_id} cannot be cancelled; it has ended: {self._run(request)['status']}."
            raise Refusal(400, "unexpectedEntityState", message)
        self._work.end(run_id)
        return JSONResponse(cancelled)

    async def delete(self, request: Request) -> Response:
        """Delete a run with its items."""
        run_id = str(self._run(request)["id"])
        self._work.end(run_id)
        self._store.eval_runs.delete(run_id)
        return JSONResponse({"object": "eval.run.deleted", "deleted": True, "run_id": run_id})

    async def list_items(self, request: Request) -> Response:
        """List what came out, in the order of the file unless asked otherwise."""
        run = self._run(request)
        after, limit = read_page(request, default=20)
        status, order = _status(request, ITEM_STATES), read_order(request, default="asc")
        items, more = self._store.eval_runs.items(
            str(run["id"]), status=status, after=after, limit=limit, order=order
        )
        return show_page([_of_run(run, item) for item in items], more)

    async def show_item(self, request: Request) -> Response:
        """Tell what came out for one line."""
        run, item_id = self._run(request), request.path_params["item_id"]
        item = self._store.eval_runs.item(str(run["id"]), item_id)
        if item is None:
            raise not_found("output item", item_id)
        return JSONResponse(_of_run(run, item))

    def _run(self, request: Request) -> Body:
        run_id = request.path_params["run_id"]
        run = self._store.eval_runs.get(run_id)
        if run is None or run["eval_id"] != request.path_params["eval_id"]:
            raise not_found("run", run_id)
        return run

    def _lines(self, whole: Body, asked: RunRequest) -> list[dict[str, JSON]]:
        """The lines of a run; raises ``DataError`` that names the first one that cannot be used."""
        source = asked.data_source.source
        if isinstance(source, FileSource):
            file = self._store.files.get(source.id)
            if file is None:
                raise not_found("file", source.id, "data_source.source.id")
            if file["purpose"] != "evals":
                message = f"This file was uploaded for {file['purpose']}; upload it with purpose evals."
                raise invalid(message, "data_source.source.id")
            found = read_lines(self._store.files.path(source.id), file["filename"])
        else:
            found = _sent(source.model_dump()["content"])
        config: Any = whole["data_source_config"]
        schema = config["schema"]["properties"]["item"]
        lines = list(check_lines(found, schema, answered=not isinstance(asked.data_source, Questions)))
        if not lines:
            raise invalid("The file has no lines.", "data_source.source.id")
        return lines


def _sent(content: list[dict[str, JSON]]) -> Iterator[tuple[str, dict[str, JSON]]]:
    for number, line in enumerate(content):
        yield f"content[{number}]", line


def _of_run(run: Body, item: Body) -> Body:
    return item | {"run_id": run["id"], "eval_id": run["eval_id"]}


def _status(request: Request, known: tuple[str, ...]) -> str | None:
    status = request.query_params.get("status")
    if status is not None and status not in known:
        raise invalid(f"status is one of {', '.join(known)}.", "status")
    return status
