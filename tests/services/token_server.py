"""A token server for OAuth 2 client credentials, whose tokens the private RabbitMQ node accepts."""

import functools
import json
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

#: What RabbitMQ calls itself: the audience of tokens, and the beginning of each scope.
RESOURCE = "rabbitmq"
CLIENT_ID, CLIENT_SECRET = "plant-7", "client/secret;1 +&"
SCOPES = tuple(f"{RESOURCE}.{right}" for right in ("configure:*/*/*", "write:*/*/*", "read:*/*/*", "tag:administrator"))


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_key() -> bytes:
    """Return the key that tokens of this process are verified with, as PEM."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return _key().public_key().public_bytes(serialization.Encoding.PEM, form)


class TokenServer:
    """Knows one client. Tests change the public attributes while it runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        #: Seconds that a token lasts by the answer, and how many more by what is in it, which the broker goes by.
        self.life = 3600.0
        self.grace = 1.0
        self.scopes = SCOPES
        self.audience = RESOURCE
        #: Status and JSON of an answer without a token; None: there is a token.
        self.refusal: tuple[int, dict[str, str]] | None = None
        #: Cleared: no request is answered until it is set.
        self.answering = threading.Event()
        self.answering.set()
        #: The requests so far, and how many tokens there were.
        self.forms: list[dict[str, str]] = []
        self.tokens = 0

    def token(self) -> str:
        """Return a new token."""
        self.tokens += 1
        now = time.time()
        claims = {
            "sub": CLIENT_ID,
            "client_id": CLIENT_ID,
            "aud": [self.audience],
            "scope": list(self.scopes),
            "iat": int(now),
            "exp": int(now + self.life + self.grace),
            "jti": str(self.tokens),
        }
        return jwt.encode(claims, _key(), "RS256", {"kid": "test"})

    def respond(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.forms.append(form)
        self.answering.wait(60)
        if self.refusal is not None:
            return self.refusal
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return 401, {"error": "invalid_client", "error_description": "wrong client or secret"}
        return 200, {"access_token": self.token(), "token_type": "Bearer", "expires_in": self.life}

    def config(self, **overrides: Any) -> dict[str, Any]:
        """Return the section `token` of a configuration file."""
        return {"url": self.url, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, **overrides}


@contextmanager
def token_server() -> Iterator[TokenServer]:
    """Run a token server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, answer = server.respond(dict(urllib.parse.parse_qsl(body)))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = TokenServer(f"http://127.0.0.1:{http.server_port}/token")
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.answering.set()
        http.shutdown()
        http.server_close()
        thread.join(10)
