"""A gate in front of a server, which a test can shut and open again: a network that is cut for a while."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class Gate:
    """Passes TCP connections on to the server while it is open; shut, it drops those there are and every new one."""

    def __init__(self, endpoint: str) -> None:
        """endpoint: `http://host:port` of the server."""
        parts = urlsplit(endpoint)
        self._server = (str(parts.hostname), int(parts.port or 80))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open, self._connections = True, set[socket.socket]()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def endpoint(self) -> str:
        """Where clients go instead of to the server."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> "Gate":
        self._accepting.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.shut()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()

    def shut(self) -> None:
        """Cut every connection, and let none through from now on."""
        self._open = False
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def open(self) -> None:
        """Let connections through again."""
        self._open = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if not self._open:
                client.close()
                continue
            server = socket.create_connection(self._server)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """Until either side ends; each of the two threads of a connection closes the socket that it reads."""
        self._connections.add(source)
        with source, contextlib.suppress(OSError):
            while data := source.recv(2**16):
                target.sendall(data)
        self._connections.discard(source)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
