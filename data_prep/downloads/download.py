"""Download one file over HTTP: resumed, retried, verified, and in place only when it is whole.

The file grows as `<name>.partial`, beside `<name>.partial.json` with what the server said of it. A
later run, also after kill -9, asks for the rest only, and only of the very same file (`Range` with
`If-Range`). When size and checksum are right it is renamed, and `<name>.json` says what it is.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .checksums import Checksum, explain_damage
from .http_answers import map_ftp_to_https
from .transfer import DownloadConfig, FailedAttemptError, Transfer, beside, read_json

logger = logging.getLogger(__name__)


def download(
    url: str,
    path: Path,
    *,
    checksum: Checksum | None = None,
    min_bytes: int = 0,
    config: DownloadConfig | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> dict[str, Any]:
    """Bring `url` to `path` if it is not there yet; return what `<name>.json` says of it.

    `min_bytes` is what the file has at the least: a source's file does not shrink tenfold. A file
    that is there with its `.json` and its size is taken as it is; delete it to get it again.
    """
    config = config or DownloadConfig()
    url = map_ftp_to_https(url)
    known = read_json(beside(path, ".json"))
    if known and known["url"] == url and _is_there(path, known, checksum):
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    transfer = Transfer(url, path, min_bytes, config)
    best = transfer.held_bytes
    failures = 0
    last_damage: str | None = None
    while True:
        try:
            transfer.attempt()
        except FailedAttemptError as error:
            failures = 0 if transfer.held_bytes > best else failures + 1
            best = max(best, transfer.held_bytes)
            kept = f"{transfer.held_bytes} bytes are kept"
            if error.wait_seconds > config.max_retry_after_seconds:
                raise ConnectionError(
                    f"{url}: {error} and asks to be left alone for {error.wait_seconds:.0f} s; "
                    f"{kept}: run again after that to go on from there"
                ) from error
            if failures > config.max_retries:
                raise ConnectionError(
                    f"{url}: {error}; gave up after {failures} attempts without progress, "
                    f"{kept}: run again to go on from there"
                ) from error
            wait = config.first_wait_seconds * 2 ** max(failures - 1, 0)
            wait = max(min(wait, config.max_wait_seconds), error.wait_seconds)
            logger.warning("%s: %s; trying again in %.0f s", path.name, error, wait)
            sleep(wait)
            continue
        stated = checksum or transfer.stated_checksum
        damage = explain_damage(transfer.partial, stated, name=path.name)
        if not damage:
            return transfer.publish(stated)
        transfer.discard()
        if last_damage:
            raise ValueError(f"{url}: damaged twice ({damage}): tell its owner, or try a mirror")
        logger.warning("%s: %s; getting it again from its start", path.name, damage)
        last_damage = damage


def read_text(url: str, scratch: Path, *, config: DownloadConfig | None = None) -> str:
    """Return a small text file of a source, asked for anew; `scratch` holds it meanwhile."""
    described = beside(scratch, ".json")
    described.unlink(missing_ok=True)
    download(url, scratch, config=config)
    text = scratch.read_text(encoding="utf-8", errors="replace")
    described.unlink()
    scratch.unlink()
    return text


def _is_there(path: Path, known: dict[str, Any], checksum: Checksum | None) -> bool:
    if not path.is_file() or path.stat().st_size != known["bytes"]:
        return False
    return not checksum or known["checksum"] == list(checksum) or not explain_damage(path, checksum)
