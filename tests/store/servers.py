"""S3 servers that misbehave, for real: over HTTP, on loopback."""

import http.client
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["503", "drop before", "drop after", "slow", "silence", "half an answer", "act before", "act after"]
"""`drop after` lets the request act and loses the answer; `act ...` does what the test says, then drops."""

SLOW, SILENCE = 0.3, 3.0
"""Seconds until a slow answer, and until the connection ends where there is none."""

IMPATIENT = {"connect_timeout": 2, "read_timeout": 1, "retries": {"mode": "standard", "max_attempts": 3}}
"""`config_kwargs` of a client that gives a silent server up after a second."""

ONCE = IMPATIENT | {"retries": {"mode": "standard", "max_attempts": 1}}
"""Of a client that waits before no second attempt, where no attempt can succeed."""


class Handler(BaseHTTPRequestHandler, ABC):
    """Answers every method through `answer`."""

    protocol_version = "HTTP/1.1"

    @abstractmethod
    def answer(self, body: bytes) -> None:
        """Reply to `self.command` and `self.path`, or close the connection."""

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


class Server(ThreadingHTTPServer):
    """Says nothing of clients that went away, which is what they do here."""

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[Handler]) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), handler)
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

    def begin(self, plan: dict[int, Fault], act: Callable[[], object] = lambda: None) -> None:
        """act: what `act before` and `act after` do."""
        self.plan, self.act, self.done = plan, act, Counter[str]()
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
    """In front of a real server."""
    address = urlsplit(upstream).netloc

    class Proxy(Handler):
        def answer(self, body: bytes) -> None:
            fault = faults.next(f"{self.command} {self.path}")
            if fault == "503":
                self.reply(503, b"<Error><Code>ServiceUnavailable</Code></Error>")
                return
            if fault == "act before":
                faults.act()
            if fault == "silence":
                time.sleep(SILENCE)
            if fault in ("drop before", "act before", "silence"):
                self.drop()
                return
            if fault == "slow":
                time.sleep(SLOW)
            self.hand_on(fault, body)

        def hand_on(self, fault: Fault | None, body: bytes) -> None:
            try:
                answer, content = self.forward(body)
            except OSError:  # the server is gone
                self.drop()
                return
            if fault == "act after":
                faults.act()
            if fault in ("drop after", "act after"):
                self.drop()
                return
            sent = content[: len(content) // 2] if fault == "half an answer" else content
            self.reply(answer.status, sent, {name: answer.headers[name] for name in kept(answer)})
            if fault == "half an answer":
                self.drop()

        def drop(self) -> None:
            self.close_connection = True
            self.connection.close()

        def forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
            with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
                connection.request(self.command, self.path, body or None, dict(self.headers))
                answer = connection.getresponse()
                return answer, answer.read()

    return Proxy


def kept(answer: http.client.HTTPResponse) -> list[str]:
    """Headers to hand on; a HEAD's length is that of what it does not carry."""
    dropped = {"transfer-encoding", "connection", "date", "server"}
    return [name for name in answer.headers if name.lower() not in dropped]
