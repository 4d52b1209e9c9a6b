"""A local HTTP server of files that misbehaves as told, request by request."""

import hashlib
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Handler", bytes], None]
"""Answers one request for a file; by default `Handler.give`."""


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files` by path; the answers in `server.plan` are used up first, in order."""

    protocol_version = "HTTP/1.1"
    server: "FlakyServer"  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self):
        self.close_connection = True
        self.server.requests.append((self.path, dict(self.headers)))
        if self.path not in self.server.files:
            return self.fail(404)
        plan = self.server.plan
        answer = plan.pop(0) if plan else Handler.give
        try:
            return answer(self, self.server.files[self.path])
        except (BrokenPipeError, ConnectionResetError):
            return None  # the client has had enough

    def give(
        self, data, *, ranges=True, etag=None, sent=None, stated=None, headers=(), status=None
    ):
        """Answer as a good server does; each argument is one way not to.

        `sent` bytes of the body really go out, `stated` is the length of the header.
        """
        etag = etag or f'"{hashlib.md5(data).hexdigest()}"'
        headers = dict(headers)
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = 0
        if wanted and ranges and self.headers.get("If-Range") in (None, headers.get("ETag", etag)):
            start = int(wanted[1])
            if start >= len(data):
                return self.fail(416)
            headers.setdefault("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        body = data[start:]
        self.send_response(status or (206 if start else 200))
        length = len(body) if stated is None else stated
        fields = {"ETag": etag, "Content-Type": "application/gzip", "Content-Length": length}
        for name, value in (fields | headers).items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body[:sent])
        return None

    def fail(self, status, **headers):
        """Answer with an error and its page, as web servers do."""
        page = b"<!DOCTYPE html><html><body>no</body></html>"
        self.send_response(status)
        headers = {"Content-Type": "text/html", "Content-Length": str(len(page))} | headers
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format, *args):
        pass


def good(**how) -> Answer:
    return lambda handler, data: handler.give(data, **how)


def error(status: int, **headers) -> Answer:
    return lambda handler, data: handler.fail(status, **headers)


def stall(sent: int) -> Answer:
    """Send some bytes of a stated whole, then nothing for as long as the server lives."""

    def answer(handler: Handler, data: bytes) -> None:
        handler.give(data, sent=sent)
        handler.wfile.flush()
        handler.server.stopped.wait()

    return answer


def chunked(sizes: list[int], *, whole: bool = True) -> Answer:
    """Send chunks without a stated length; a cut one lacks its last chunk."""

    def answer(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        place = 0
        for size in sizes:
            handler.wfile.write(b"%x\r\n%s\r\n" % (size, data[place : place + size]))
            place += size
        if whole:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


def redirect(to: str) -> Answer:
    return error(302, Location=to, Content_Length="0")


class FlakyServer(ThreadingHTTPServer):
    """`files` by path, `plan` of answers to come, `requests` that came: path and headers."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.plan: list[Answer] = []
        self.stopped = threading.Event()
        self.requests: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.stopped.set()
        self.shutdown()
        self.server_close()
