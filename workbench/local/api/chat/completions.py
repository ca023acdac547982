"""Stored completions over HTTP: list, look up, describe anew, delete; chats sent with ``store`` come here."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from workbench.local.api.metadata import Metadata, read_metadata
from workbench.local.api.refusals import not_found
from workbench.local.api.requests import Shape, read_json, read_order, read_page, show_page
from workbench.local.storage.rows import JSON
from workbench.local.storage.store import Store


class CompletionChange(Shape):
    """What may change in a stored completion."""

    metadata: Metadata | None


class CompletionsApi:
    """The part of the API that is about stored completions."""

    def __init__(self, store: Store) -> None:
        """Show the completions of ``store``."""
        self._store = store

    @property
    def routes(self) -> list[BaseRoute]:
        """Where each call is found."""
        one = "/chat/completions/{completion_id}"
        return [
            Route("/chat/completions", self.list_completions, methods=["GET"]),
            Route(one, self.show, methods=["GET"]),
            Route(one, self.change, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/messages", self.list_messages, methods=["GET"]),
        ]

    async def list_completions(self, request: Request) -> Response:
        """List stored completions, oldest first unless asked otherwise; by model and metadata, if asked."""
        after, limit = read_page(request, default=20)
        return show_page(
            *self._store.completions.page(
                after=after,
                limit=limit,
                order=read_order(request, default="asc"),
                model=request.query_params.get("model"),
                metadata=read_metadata(request),
            )
        )

    async def show(self, request: Request) -> Response:
        """Give one stored completion."""
        return JSONResponse(self._completion(request))

    async def change(self, request: Request) -> Response:
        """Replace the metadata of a stored completion."""
        completion_id = str(self._completion(request)["id"])
        asked = await read_json(request, CompletionChange)
        return JSONResponse(self._store.completions.set_metadata(completion_id, asked.metadata or {}))

    async def delete(self, request: Request) -> Response:
        """Delete a stored completion."""
        completion_id = self._completion(request)["id"]
        self._store.completions.delete(str(completion_id))
        return JSONResponse({"id": completion_id, "object": "chat.completion.deleted", "deleted": True})

    async def list_messages(self, request: Request) -> Response:
        """List the messages of the conversation that led to the answer."""
        completion_id = str(self._completion(request)["id"])
        after, limit = read_page(request, default=20)
        said = enumerate(self._store.completions.messages(completion_id))
        messages: list[dict[str, JSON]] = [
            {"id": f"{completion_id}-{number}", "refusal": None, "content_parts": None, **message}
            for number, message in said
        ]
        if read_order(request, default="asc") == "desc":
            messages.reverse()
        ids = [message["id"] for message in messages]
        if after is not None and after not in ids:
            raise not_found("message", after, "after")
        begin = ids.index(after) + 1 if after else 0
        return show_page(messages[begin : begin + limit], len(messages) > begin + limit)

    def _completion(self, request: Request) -> dict[str, JSON]:
        completion_id = request.path_params["completion_id"]
        completion = self._store.completions.get(completion_id)
        if completion is None:
            raise not_found("stored completion", completion_id)
        return completion
