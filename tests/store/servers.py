"""S3 servers that misbehave, for real: over HTTP, on loopback."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["503", "drop before", "drop after", "slow"]


class Handler(BaseHTTPRequestHandler):
    """Answers every method through `answer`."""

    protocol_version = "HTTP/1.1"

    def answer(self, body: bytes) -> None:
        raise NotImplementedError

    def handle_any(self) -> None:
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815, the names http.server asks for

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def look_alike(seconds_to_decide: float | None) -> type[Handler]:
    """A server that ignores If-None-Match (None), or looks first and writes so many seconds later."""
    stored: dict[str, bytes] = {}

    class LookAlike(Handler):
        def answer(self, body: bytes) -> None:
            path = urlsplit(self.path).path
            if self.command == "PUT":
                self.put(path, body)
            elif self.command == "DELETE":
                stored.pop(path, None)
                self.reply(204)
            elif path in stored:
                self.reply(200, stored[path], {"ETag": '"x"'})
            else:
                self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")

        def put(self, path: str, body: bytes) -> None:
            if seconds_to_decide is not None and self.headers.get("If-None-Match"):
                if path in stored:
                    self.reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                    return
                time.sleep(seconds_to_decide)
            stored[path] = body
            self.reply(200, headers={"ETag": '"x"'})

    return LookAlike


class Faults:
    """Which requests go wrong, and how: decided by their number, from 1, since `begin`. Keeps all that came."""

    def __init__(self) -> None:
        self.begin({})

    def begin(self, plan: dict[int, Fault]) -> None:
        self.plan, self.done = plan, Counter[str]()
        self.requests: list[str] = []
        """Method and path of each."""
        self._lock = threading.Lock()

    def next(self, request: str) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            fault = self.plan.get(len(self.requests))
            self.done[fault or "passed"] += 1
            return fault


def proxy(upstream: str, faults: Faults) -> type[Handler]:
    """In front of a real server; `drop after` lets the request act and loses the answer."""
    address = urlsplit(upstream).netloc

    class Proxy(Handler):
        def answer(self, body: bytes) -> None:
            fault = faults.next(f"{self.command} {self.path}")
            if fault == "503":
                self.reply(503, b"<Error><Code>ServiceUnavailable</Code></Error>")
                return
            if fault == "slow":
                time.sleep(1)
            if fault != "drop before":
                answer, content = self.forward(body)
            if fault in ("drop before", "drop after"):
                self.close_connection = True
                self.connection.close()
                return
            self.reply(answer.status, content, {name: answer.headers[name] for name in kept(answer)})

        def forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
            connection = http.client.HTTPConnection(address, timeout=30)
            connection.request(self.command, self.path, body or None, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            return answer, content

    return Proxy


def kept(answer: http.client.HTTPResponse) -> list[str]:
    """Headers to hand on; a HEAD's length is that of what it does not carry."""
    dropped = {"transfer-encoding", "connection", "date", "server"}
    return [name for name in answer.headers if name.lower() not in dropped]
