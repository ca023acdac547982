"""A service that answers every request alike, and remembers what it was asked."""

from openai import OpenAI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient


class Recorder:
    """A service that answers every request alike, and remembers what it was asked."""

    def __init__(self, response: Response | None = None) -> None:
        self.response = response or JSONResponse({"object": "list", "data": [{"id": "a"}, {"id": "b"}]})
        self.requests: list[Request] = []

    async def answer(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response

    def __call__(self, client: OpenAI) -> OpenAI:
        """The same client, wired to this service instead of the network."""
        app = Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])
        return client.with_options(http_client=TestClient(app), max_retries=0)
