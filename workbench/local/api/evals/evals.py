"""Evals over HTTP: create, list, look up, rename, delete."""

import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.evaluation.graders import BadGraderError, Grader, check_grader
from workbench.local.api.evals.asked import EvalChange, EvalRequest
from workbench.local.api.evals.lines import check_schema
from workbench.local.api.evals.working import EvalWork
from workbench.local.api.graders.graders import GradersApi
from workbench.local.api.refusals import invalid, not_found
from workbench.local.api.requests import read_json, read_order, read_page, show_page
from workbench.local.storage.evals import Body
from workbench.local.storage.store import Store


class EvalsApi:
    """The part of the API that is about evals."""

    def __init__(self, store: Store, graders: GradersApi, work: EvalWork) -> None:
        """Keep evals in ``store``; ``work`` is told when one with runs is deleted."""
        self._store, self._graders, self._work = store, graders, work

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        return [
            Route("/evals", self.create, methods=["POST"]),
            Route("/evals", self.list_evals, methods=["GET"]),
            Route("/evals/{eval_id}", self.show, methods=["GET"]),
            Route("/evals/{eval_id}", self.change, methods=["POST"]),
            Route("/evals/{eval_id}", self.delete, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """Create an eval; its graders and its schema are checked now."""
        asked = await read_json(request, EvalRequest)
        await self._graders.in_thread(lambda: check_schema(asked.data_source_config.item_schema))
        for number, grader in enumerate(asked.testing_criteria):
            await self._check(grader, f"testing_criteria.{number}")
        made = self._store.evals.add(
            {
                "created_at": int(time.time()),
                "name": asked.name or "eval",
                "data_source_config": asked.data_source_config.shown(),
                "testing_criteria": list(asked.testing_criteria),
                "metadata": dict(asked.metadata or {}),
            }
        )
        return JSONResponse(made, 201)

    async def list_evals(self, request: Request) -> Response:
        """List evals, oldest first unless asked otherwise."""
        after, limit = read_page(request, default=20)
        order = read_order(request, default="asc")
        return show_page(*self._store.evals.page(after=after, limit=limit, order=order))

    async def show(self, request: Request) -> Response:
        """Describe one eval."""
        return JSONResponse(find_eval(self._store, request))

    async def change(self, request: Request) -> Response:
        """Rename an eval, or replace its metadata."""
        eval_id = str(find_eval(self._store, request)["id"])
        asked = await read_json(request, EvalChange)
        given = asked.model_dump(include=asked.model_fields_set, exclude_none=True)
        return JSONResponse(self._store.evals.update(eval_id, given))

    async def delete(self, request: Request) -> Response:
        """Delete an eval with its runs."""
        eval_id = str(find_eval(self._store, request)["id"])
        runs, _ = self._store.eval_runs.page(eval_id, status=None, after=None, limit=10_000, order="asc")
        for run in runs:
            self._work.end(str(run["id"]))
        self._store.evals.delete(eval_id)
        return JSONResponse({"object": "eval.deleted", "deleted": True, "eval_id": eval_id})

    async def _check(self, grader: Grader, place: str) -> None:
        try:
            await self._graders.in_thread(lambda: check_grader(grader))
        except BadGraderError as error:
            raise invalid(f"{place}: {error}", error.path.replace("grader", place, 1)) from None


def find_eval(store: Store, request: Request) -> Body:
    """The eval that a path names; raises ``Refusal`` when there is none."""
    eval_id = request.path_params["eval_id"]
    found = store.evals.get(eval_id)
    if found is None:
        raise not_found("eval", eval_id)
    return found
