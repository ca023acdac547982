"""A managed identity's endpoint on 127.0.0.1, as App Service and virtual machines have one."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

HEADER = "canary-of-the-identity-header"


class Identity:
    """What the endpoint answers, which a test may change, and what it was asked."""

    def __init__(self) -> None:
        self.lifetime = 86_400  # seconds
        self.refusal: tuple[int, str] | None = None
        self.key: str | None = None  # given in place of a token, for a service that knows its key only
        self.issued: list[str] = []
        self.resources: list[str] = []

    def token(self, resource: str) -> str:
        """A new one, which says like Entra's how long it holds."""
        claims = {"aud": resource, "exp": int(time.time()) + self.lifetime, "n": len(self.issued)}
        head, body = ({"typ": "JWT"}, claims)
        parts = (
            base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (head, body)
        )
        self.issued.append(self.key or ".".join([*parts, "canary-signature"]))
        self.resources.append(resource)
        return self.issued[-1]


@contextmanager
def identity_service() -> Iterator[tuple[Identity, str]]:
    """Serve; gives what can be changed, and the root of the address."""
    identity = Identity()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            status, body = 200, {}
            if self.path.startswith("/msi/token") and self.headers["X-IDENTITY-HEADER"] != HEADER:
                status, body = 401, {"statusCode": 401, "message": "The header is missing."}
            elif identity.refusal is not None:
                status, message = identity.refusal
                body = {"statusCode": status, "message": message, "error": "invalid_request"}
                body["error_description"] = message
            else:
                token = identity.token(query["resource"][0])
                ends = int(time.time()) + identity.lifetime
                body = {"access_token": token, "expires_on": str(ends), "expires_in": str(identity.lifetime)}
                body |= {"resource": query["resource"][0], "token_type": "Bearer"}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield identity, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()
