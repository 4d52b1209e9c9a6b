"""One file on its way over HTTP: what is held of it, and one attempt at the rest."""

import datetime
import hashlib
import http.client
import io
import json
import os
import shutil
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .checksums import Checksum
from .http_answers import describe, looks_like_html, parse_content_range, parse_retry_after

BLOCK_BYTES = 1 << 20
SPARE_DISK_BYTES = 64 << 20
RETRIED_STATUSES = (408, 425, 429, 500, 502, 503, 504)
HTML_CURE = (
    "an HTML page came in place of the data (an error page, a login or a proxy): open the address "
    "in a browser to see what it says"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadConfig:
    """How long a server is waited for, and how it is asked."""

    max_retries: int = 6
    """Attempts one after another that bring nothing new before giving up."""
    stall_seconds: float = 60.0
    """A connection that gives no byte for so long is dropped and tried again."""
    first_wait_seconds: float = 2.0
    """Doubles with every attempt without progress; a `Retry-After` that is longer counts."""
    max_wait_seconds: float = 300.0
    """Of doubling."""
    max_retry_after_seconds: float = 1800.0
    """A server that asks to be left alone for longer ends the download, which says for how long."""
    show_progress: bool = True
    """A bar for each file, on a terminal."""
    user_agent: str = "openrinalmo-data-prep (one connection; python-urllib)"

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            raise ValueError(f"max_retries must be at least 0, got {self.max_retries}")
        if min(self.stall_seconds, self.max_wait_seconds) <= 0 or self.first_wait_seconds < 0:
            raise ValueError("stall_seconds and max_wait_seconds must be positive")


class FailedAttemptError(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class RefusedError(ValueError):
    """The server's answer is no data, and will be none if asked again."""


class NotFoundError(RefusedError):
    """The server has no such file."""


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects (ten at most, no address five times), but none from HTTPS to less."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to follow with."""
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise RefusedError(
                f"{req.full_url}: redirected to {newurl}, which is not HTTPS: refused"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_DROPPED = (
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
    urllib.error.URLError,
    http.client.HTTPException,
)
_OPENER = urllib.request.build_opener(SafeRedirects)


class Transfer:
    """One file on its way: what is held of it, and what the server said it is."""

    def __init__(self, url: str, path: Path, min_bytes: int, config: DownloadConfig) -> None:
        self.url, self.path, self.min_bytes, self.config = url, path, min_bytes, config
        self.partial = beside(path, ".partial")
        self.note = beside(path, ".partial.json")
        self.said = read_json(self.note) or {}
        if self.said.get("url") != url:
            self.discard()

    @property
    def held_bytes(self) -> int:
        """Size of what is on the disk so far."""
        return self.partial.stat().st_size if self.partial.is_file() else 0

    @property
    def stated_checksum(self) -> Checksum | None:
        """What the server's headers said, if they did."""
        stated = self.said.get("checksum")
        return Checksum(*stated) if stated else None

    def discard(self) -> None:
        """Forget what is held: it is damaged or the start of another file."""
        self.partial.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.said = {}

    def attempt(self) -> None:
        """Ask for what is missing and append it; returns when the stated size is held."""
        held = self.held_bytes
        if held and held == self.said.get("bytes"):
            return
        validator = self.said.get("validator")
        if held and not (validator and held < (self.said.get("bytes") or held + 1)):
            self.discard()  # cannot be known to be the start of what the server has now
            held = 0
        headers = {"User-Agent": self.config.user_agent, "Accept-Encoding": "identity"}
        if held:
            headers |= {"Range": f"bytes={held}-", "If-Range": str(validator)}
        try:
            request = urllib.request.Request(self.url, headers=headers)
            with _OPENER.open(request, timeout=self.config.stall_seconds) as response:
                self._receive(response, held)
        except urllib.error.HTTPError as error:
            with error:
                self._judge_status(error)
        except _DROPPED as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise RefusedError(
                    f"{self.url}: {reason}: the server is not who it says"
                ) from error
            raise FailedAttemptError(f"the connection failed ({reason!r})") from error
        if self.held_bytes != self.said["bytes"]:
            raise FailedAttemptError(
                f"the server sent {self.held_bytes} of {self.said['bytes']} bytes"
            )

    def _judge_status(self, error: urllib.error.HTTPError) -> None:
        if error.code == 416:  # what is held is not the start of what the server has
            self.discard()
            raise FailedAttemptError(
                "the server has no more than is held, but of another file"
            ) from error
        if error.code in RETRIED_STATUSES:
            wait = parse_retry_after(error.headers.get("Retry-After"))
            raise FailedAttemptError(
                f"the server answered {error.code} {error.reason}", wait
            ) from error
        reason = " ".join(str(error.reason).split())
        kind = NotFoundError if error.code in (404, 410) else RefusedError
        raise kind(
            f"{self.url}: the server answered {error.code} {reason}: look whether the address is "
            "still right, or get the file yourself and name it as an input"
        ) from error

    def _receive(self, response: http.client.HTTPResponse, held: int) -> None:
        said = describe(self.url, response)
        if said["content_type"] in ("text/html", "application/xhtml+xml"):
            raise RefusedError(f"{self.url}: {HTML_CURE}")
        if held and response.status == 206:
            start, total = parse_content_range(response.headers.get("Content-Range"))
            same = said["validator"] in (None, self.said["validator"])
            known = self.said["bytes"]
            if start != held or not same or (known and total and known != total):
                self.discard()
                raise FailedAttemptError("the server's file changed meanwhile")
            self.said["bytes"] = known or total
        elif response.status == 200:  # the whole file: also what a server does that knows no ranges
            held = 0
            self.discard()
            self._refuse_what_is_no_file(said, response)
            self.said = said
            self.note.write_text(json.dumps(said))
        else:
            raise FailedAttemptError(
                f"the server answered {response.status} to a question it was not asked"
            )
        self._append(response, held)

    def _refuse_what_is_no_file(self, said: dict[str, Any], response: Any) -> None:
        if said["bytes"] is None and not response.chunked:
            raise RefusedError(f"{self.url}: the server does not say how long the file is")
        if said["bytes"] is not None:
            if said["bytes"] < self.min_bytes:
                raise RefusedError(
                    f"{self.url}: the server's file has {said['bytes']} bytes, at least "
                    f"{self.min_bytes} were expected: look whether the release is whole"
                )
            free = shutil.disk_usage(self.path.parent).free
            if free < said["bytes"] + SPARE_DISK_BYTES:
                raise RefusedError(
                    f"{self.path.parent}: {free} bytes free, {self.path.name} needs "
                    f"{said['bytes']}: make room or give another folder"
                )

    def _append(self, response: http.client.HTTPResponse, held: int) -> None:
        total = self.said["bytes"]
        with (
            self.partial.open("ab" if held else "wb", buffering=0) as file,
            tqdm(
                total=total, initial=held, desc=self.path.name, unit="B", unit_scale=True,
                disable=None if self.config.show_progress else True,
            ) as bar,
        ):  # fmt: skip
            while block := response.read1(BLOCK_BYTES):
                if not held and looks_like_html(block):
                    file.close()
                    self.discard()
                    raise RefusedError(f"{self.url}: {HTML_CURE}")
                self._write(file, block)
                held += len(block)
                bar.update(len(block))
        if total is None:  # chunked, and read1 has seen the last chunk
            self.said["bytes"] = held
            if held < self.min_bytes:
                raise RefusedError(
                    f"{self.url}: {held} bytes, at least {self.min_bytes} were expected"
                )

    def _write(self, file: io.FileIO, block: bytes) -> None:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:  # a full disk: what is held stays, and is gone on from
            raise OSError(error.errno, error.strerror, str(self.partial)) from error

    def publish(self, checksum: Checksum | None) -> dict[str, Any]:
        """Rename the whole file and say beside it what it is."""
        with self.partial.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        record = {
            "url": self.url,
            "bytes": self.held_bytes,
            "sha256": sha256,
            "etag": self.said.get("etag"),
            "last_modified": self.said.get("last_modified"),
            "checksum": list(checksum) if checksum else None,
            "fetched": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        description = beside(self.path, ".json")
        scratch = beside(self.path, ".json.partial")
        scratch.write_text(json.dumps(record, indent=2) + "\n")
        self.path.unlink(missing_ok=True)  # never a new description beside an old file
        scratch.replace(description)
        self.partial.replace(self.path)
        self.note.unlink(missing_ok=True)
        return record


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that belongs to another one."""
    return path.with_name(path.name + suffix)


def read_json(path: Path) -> Any:
    """Return what a description says, None if it is missing or was cut short by a kill."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
