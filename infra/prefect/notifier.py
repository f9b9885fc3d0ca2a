#!/usr/bin/env python3
"""From a bucket's notifications to `apd.task.arrived`: an example of 60 lines, to run beside the Prefect server.

    PREFECT_API_URL=http://127.0.0.1:4200/api infra/prefect/notifier.py s3://bucket/stream [PORT]

Point the bucket's notifications for created objects (Ceph, MinIO and AWS all post the same JSON) to
http://HOST:PORT/, 8010 where none is given. A task is complete once its task.json is there, so only that object
counts.
"""

import http.server
import json
import sys
from typing import Any
from urllib.parse import unquote_plus

from flows.events import announce_arrival

PORT = 8010
"""Beside those of `apd up`, where S3 answers on 8000 and Ceph's monitor on 8001."""


def arrived(notification: dict[str, Any], stream: str) -> list[str]:
    """Folders of the stream's inbox that a notification says are complete."""
    inbox = f"{stream.rstrip('/')}/inbox/"
    found = []
    for record in notification.get("Records", []):
        name = f"s3://{record['s3']['bucket']['name']}/{unquote_plus(record['s3']['object']['key'])}"
        folder, _, file = name.removeprefix(inbox).rpartition("/")
        if name.startswith(inbox) and file == "task.json" and "ObjectCreated" in record["eventName"]:
            found.append(folder)
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 503 when Prefect is away, so that the bucket sends the notification again."""

    stream = ""

    def do_POST(self) -> None:
        """One notification."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        folders = arrived(json.loads(body or b"{}"), self.stream)
        told = not folders or announce_arrival(self.stream, folders)
        self.send_response(200 if told else 503)
        self.end_headers()


def main() -> None:
    """Serve until interrupted."""
    Handler.stream = sys.argv[1]
    port = int(sys.argv[2]) if len(sys.argv) > 2 else PORT
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
