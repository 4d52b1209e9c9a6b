"""What an HTTP server's answer says of a file; which addresses are asked at all."""

import base64
import binascii
import email.utils
import http.client
import re
import time
import urllib.parse
from email.message import Message
from typing import Any, Literal

from .checksums import KIND_OF_HEX_DIGITS, Checksum

HTTPS_TOO = (
    "ftp.ebi.ac.uk",
    "ftp.ensembl.org",
    "ftp.ensemblgenomes.ebi.ac.uk",
    "ftp.ncbi.nlm.nih.gov",
)
"""Hosts that give by HTTPS, under the same path, what they give by FTP."""


def map_ftp_to_https(url: str) -> str:
    """Return an HTTP address for an FTP one whose host serves both; refuse other schemes."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "ftp" and parts.hostname in HTTPS_TOO:
        return parts._replace(scheme="https").geturl()
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"{url!r} is not an address that is read: http://, https://, or ftp:// at "
            f"{', '.join(HTTPS_TOO)}; get the file yourself and name it as an input"
        )
    return url


def describe(url: str, response: http.client.HTTPResponse) -> dict[str, Any]:
    """Say what an answer states of the file: what of it is kept until the file is whole."""
    headers = response.headers
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    length = headers.get("Content-Length", "")
    checksum = parse_digest_headers(headers)
    return {
        "url": url,
        "bytes": int(length) if length.isdecimal() else None,
        "etag": etag,
        "last_modified": modified,
        "validator": etag if etag and not etag.startswith("W/") else modified,
        "checksum": list(checksum) if checksum else None,
        "content_type": headers.get_content_type() if "Content-Type" in headers else None,
    }


def parse_content_range(value: str | None) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the whole, each None where it is not stated."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", (value or "").strip())
    if not match:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def parse_retry_after(value: str | None) -> float:
    """Return the seconds that a server asks to be left alone, 0 if it does not say."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, until.timestamp() - time.time())


def looks_like_html(block: bytes) -> bool:
    """Say whether a file's first bytes are those of an HTML page."""
    return block[:512].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def parse_digest_headers(headers: Message) -> Checksum | None:
    """Return the checksum of the whole file that an answer states, if it states one."""
    stated = ",".join(headers.get(name) or "" for name in ("Repr-Digest", "Digest"))
    if match := re.search(r"\bsha-256=:?([A-Za-z0-9+/]+=*)", stated, re.IGNORECASE):
        return _decode("sha256", match[1])
    if match := re.search(r"\bmd5=:?([A-Za-z0-9+/]+=*)", stated, re.IGNORECASE):
        return _decode("md5", match[1])
    return _decode("md5", headers.get("Content-MD5") or "")


def _decode(kind: Literal["md5", "sha256"], text: str) -> Checksum | None:
    try:
        digest = base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        return None
    return Checksum(kind, digest) if KIND_OF_HEX_DIGITS.get(len(digest)) == kind else None
