import email.utils
import gzip
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import pytest

from openrinalmo.data_prep.downloads.checksums import Checksum, compute_bsd_sum, find_checksum
from openrinalmo.data_prep.downloads.download import download, read_text
from openrinalmo.data_prep.downloads.http_answers import map_ftp_to_https
from openrinalmo.data_prep.downloads.transfer import DownloadConfig, SafeRedirects
from support.flaky_server import FlakyServer, chunked, error, good, redirect, stall

DATA = random.Random(0).randbytes(300_000)
QUICK = DownloadConfig(max_retries=2, stall_seconds=0.4, first_wait_seconds=0.0)
NAME = "rna.fa"


@pytest.fixture
def server():
    with FlakyServer({"/rna.fa": DATA, "/rna.fa.gz": gzip.compress(DATA)}) as running:
        yield running


@pytest.fixture
def fetch(server, tmp_path):
    def run(name=NAME, config=QUICK, **how):
        waits = []
        path = tmp_path / name
        record = download(f"{server.url}/{name}", path, config=config, sleep=waits.append, **how)
        assert sorted(p.name for p in tmp_path.iterdir()) == [name, f"{name}.json"]
        assert json.loads((tmp_path / f"{name}.json").read_text()) == record
        assert path.read_bytes() == server.files[f"/{name}"]
        return record, waits

    return run


def asked_ranges(server):
    return [headers.get("Range") for _, headers in server.requests]


def test_brings_a_file_and_says_what_it_is(server, fetch):
    record, waits = fetch()
    assert record["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert (record["bytes"], record["url"]) == (len(DATA), f"{server.url}/rna.fa")
    assert record["etag"] == f'"{hashlib.md5(DATA).hexdigest()}"'
    assert not waits
    assert "openrinalmo" in server.requests[0][1]["User-Agent"]


def test_a_file_that_is_there_is_not_asked_for_again(server, fetch):
    first, _ = fetch()
    second, _ = fetch()
    assert (first, len(server.requests)) == (second, 1)


def test_a_file_cut_by_hand_is_brought_again(server, fetch, tmp_path):
    fetch()
    (tmp_path / NAME).write_bytes(DATA[:-1])
    fetch()
    assert len(server.requests) == 2


def test_an_empty_file_is_a_file(server, tmp_path):
    server.files["/empty"] = b""
    assert download(f"{server.url}/empty", tmp_path / "empty", config=QUICK)["bytes"] == 0


def test_goes_on_where_the_connection_closed(server, fetch):
    server.plan = [good(sent=1_000), good(sent=70_000), good()]
    fetch()
    assert asked_ranges(server) == [None, "bytes=1000-", "bytes=71000-"]
    assert server.requests[1][1]["If-Range"] == f'"{hashlib.md5(DATA).hexdigest()}"'


def test_a_stalled_connection_is_dropped(server, fetch):
    server.plan = [stall(5_000)]
    fetch()
    assert asked_ranges(server) == [None, "bytes=5000-"]


def test_a_server_without_ranges_gives_the_whole_again(server, fetch):
    server.plan = [good(sent=1_000), good(ranges=False)]
    fetch()
    assert asked_ranges(server) == [None, "bytes=1000-"]


def test_another_file_behind_the_address_starts_anew(server, fetch):
    new = DATA[::-1]

    def replaced(handler, data):
        server.files["/rna.fa"] = new
        handler.give(new)

    server.plan = [good(sent=1_000), replaced]
    fetch()
    assert asked_ranges(server) == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    "headers",
    [{"ETag": '"other"'}, {"Content-Range": "bytes 0-9/300000"}, {"Content-Range": None}],
    ids=["etag", "place", "none"],
)
def test_a_part_of_another_file_is_not_appended(server, fetch, headers):
    def part(handler, data):
        handler.give(data[1_000:], status=206, ranges=False, headers=headers)

    server.plan = [good(sent=1_000), part]
    fetch()
    assert asked_ranges(server) == [None, "bytes=1000-", None]


def test_a_part_of_a_longer_file_is_not_appended(server, fetch):
    grown = {"Content-Range": f"bytes 1000-{len(DATA) + 9}/{len(DATA) + 10}"}
    server.plan = [good(sent=1_000), good(headers=grown)]
    fetch()
    assert asked_ranges(server) == [None, "bytes=1000-", None]


def test_without_a_validator_nothing_is_appended(server, fetch):
    server.plan = [good(sent=1_000, headers={"ETag": None})]
    fetch()
    assert asked_ranges(server) == [None, None]


def test_a_weak_etag_gives_way_to_the_date(server, fetch):
    date = "Mon, 01 Jun 2026 10:00:00 GMT"
    server.plan = [good(sent=1_000, etag='W/"x"', headers={"Last-Modified": date})]
    fetch()
    assert server.requests[1][1]["If-Range"] == date


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_in_trouble_is_asked_again(server, fetch, status):
    server.plan = [error(status), error(status, Retry_After="7")]
    _, waits = fetch()
    assert waits == [0, 7]


def test_a_date_to_come_back_at_is_kept(server, fetch):
    until = email.utils.formatdate(time.time() + 100, usegmt=True)
    server.plan = [error(503, Retry_After=until), error(503, Retry_After="soon")]
    _, (first, second) = fetch()
    assert 90 < first <= 100
    assert second == 0


def test_waits_double_up_to_the_limit(server, fetch):
    server.plan = [error(500)] * 5
    config = DownloadConfig(max_retries=5, first_wait_seconds=2, max_wait_seconds=10)
    _, waits = fetch(config=config)
    assert waits == [2, 4, 8, 10, 10]


def test_a_server_is_left_alone_for_as_long_as_it_asks(server, fetch):
    server.plan = [error(503, Retry_After="1800")]
    config = DownloadConfig(max_wait_seconds=10)
    assert fetch(config=config)[1] == [1800]


def test_a_server_that_asks_for_very_long_is_not_waited_for(server, fetch):
    server.plan = [good(sent=1_000), error(429, Retry_After="3600")]
    message = "429.*asks to be left alone for 3600 s; 1000 bytes are kept: run again after that"
    with pytest.raises(ConnectionError, match=message):
        fetch()
    assert len(server.requests) == 2


def test_gives_up_and_keeps_what_it_has(server, fetch, tmp_path):
    server.plan = [good(sent=1_000)] + [error(500)] * 3
    with pytest.raises(
        ConnectionError, match=r"500.*gave up after 3 attempts.*1000 bytes are kept"
    ):
        fetch()
    fetch()
    assert asked_ranges(server)[-1] == "bytes=1000-"


def test_a_length_that_is_too_long_ends_in_an_error(server, fetch):
    server.plan = [good(stated=len(DATA) + 5)] * 9
    with pytest.raises(ConnectionError, match="gave up"):
        fetch()


def test_a_length_that_is_too_short_is_found_by_the_archive(server, fetch, tmp_path):
    packed = server.files["/rna.fa.gz"]
    server.plan = [good(stated=len(packed) - 9)]
    fetch("rna.fa.gz")
    server.plan = [good(stated=1_000, etag='"b"')] * 2
    with pytest.raises(ValueError, match=r"damaged twice \(the gzip stream ends early"):
        download(f"{server.url}/rna.fa.gz", tmp_path / "again.fa.gz", config=QUICK)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_an_address_that_is_wrong_is_not_asked_again(server, fetch, status):
    server.plan = [error(status)]
    with pytest.raises(ValueError, match=rf"/rna.fa: the server answered {status} .*address is"):
        fetch()
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html; charset=utf-8"}, {}])
def test_html_in_place_of_data_is_refused(server, fetch, tmp_path, headers):
    page = b"\n<!DOCTYPE html><html>Please log in</html>"
    server.plan = [lambda handler, data: handler.give(page, headers=headers)]
    with pytest.raises(ValueError, match="an HTML page came in place of the data"):
        fetch()
    assert not (tmp_path / NAME).exists()


def test_a_file_much_smaller_than_it_was_is_refused(fetch):
    with pytest.raises(ValueError, match="has 300000 bytes, at least 400000 were expected"):
        fetch(min_bytes=400_000)


def test_a_redirect_is_followed_with_its_range(server, fetch):
    server.files["/moved"] = DATA
    server.plan = [redirect("/moved"), good(sent=1_000), redirect("/moved"), good()]
    fetch()
    assert asked_ranges(server) == [None, None, "bytes=1000-", "bytes=1000-"]


def test_a_redirect_loop_is_refused(server, fetch):
    server.plan = [redirect("/rna.fa")] * 30
    with pytest.raises(ValueError, match="302 .*infinite loop"):
        fetch()
    assert len(server.requests) < 15


def test_chunks_are_whole_with_their_last(server, fetch):
    server.plan = [chunked([200_000, 100_000])]
    fetch()


def test_cut_chunks_are_not_whole(server, fetch):
    server.plan = [chunked([200_000], whole=False)]
    fetch()
    assert len(server.requests) == 2


def test_a_file_of_unknown_length_is_refused(server, fetch):
    server.plan = [good(headers={"Content-Length": None})]
    with pytest.raises(ValueError, match="does not say how long the file is"):
        fetch()


def checksums_of(data):
    return [
        Checksum("md5", hashlib.md5(data).hexdigest()),
        Checksum("sha256", hashlib.sha256(data).hexdigest()),
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_file_is_brought_again_once(server, fetch, tmp_path, number):
    damaged = DATA[:-1] + bytes([DATA[-1] ^ 1])
    server.plan = [lambda handler, data: handler.give(damaged)]
    record, _ = fetch(checksum=checksums_of(DATA)[number])
    assert record["checksum"] == list(checksums_of(DATA)[number])
    server.plan = [lambda handler, data: handler.give(damaged)] * 2
    other = tmp_path / "again.fa"
    with pytest.raises(ValueError, match="damaged twice .its (md5|sha256) is"):
        download(f"{server.url}/rna.fa", other, checksum=checksums_of(DATA)[number], config=QUICK)
    assert not other.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": "sha-256=:AAAA{}:"},
        {"Digest": "sha-256=AAAA{}"},
        {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    ],
    ids=lambda h: next(iter(h)),
)
def test_checksums_in_headers_are_checked(server, fetch, headers):
    padded = {name: value.format("A" * 39 + "=") for name, value in headers.items()}
    server.plan = [good(headers=padded)]
    record, _ = fetch()  # the second time the server states nothing
    assert (len(server.requests), record["checksum"]) == (2, None)


def test_a_killed_download_goes_on(server, tmp_path):
    server.plan = [stall(100_000)]
    path = tmp_path / NAME
    code = (
        "import sys; from pathlib import Path;"
        "from openrinalmo.data_prep.downloads.download import download;"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code, f"{server.url}/rna.fa", str(path)])
    partial = tmp_path / "rna.fa.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size == 100_000):
        assert time.monotonic() < deadline, "the child wrote nothing"
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    download(f"{server.url}/rna.fa", path, config=QUICK)
    assert path.read_bytes() == DATA
    assert asked_ranges(server) == [None, "bytes=100000-"]


@pytest.mark.parametrize("left", [b"", b"{", b'{"url": "http://elsewhere"}'])
def test_a_partial_file_of_unknown_origin_is_not_used(server, fetch, tmp_path, left):
    (tmp_path / "rna.fa.partial").write_bytes(b"something else")
    (tmp_path / "rna.fa.partial.json").write_bytes(left)
    fetch()
    assert asked_ranges(server) == [None]


def test_killed_between_the_last_byte_and_the_new_name(server, fetch, tmp_path):
    fetch()
    (tmp_path / NAME).rename(tmp_path / "rna.fa.partial")
    said = {"url": f"{server.url}/rna.fa", "bytes": len(DATA), "validator": '"x"'}
    (tmp_path / "rna.fa.partial.json").write_text(json.dumps(said))
    fetch()
    assert len(server.requests) == 1


def test_a_full_disk_is_said_beforehand(fetch, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=5))
    with pytest.raises(ValueError, match=r"5 bytes free, rna.fa needs 300000: make room"):
        fetch()


def test_a_disk_that_fills_names_the_file_and_keeps_what_it_holds(server, tmp_path):
    path = tmp_path / NAME
    code = (
        "import resource, sys; from pathlib import Path;"
        "from openrinalmo.data_prep.downloads.download import download;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (99_999, 99_999));"
        "download(sys.argv[1], Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, f"{server.url}/rna.fa", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "File too large: " in done.stderr
    assert "rna.fa.partial'" in done.stderr
    download(f"{server.url}/rna.fa", path, config=QUICK)
    assert asked_ranges(server) == [None, "bytes=99999-"]
    assert path.read_bytes() == DATA


def test_no_redirect_leaves_https():
    request = urllib.request.Request("https://a.org/x")
    for to in ("http://a.org/x", "ftp://a.org/x"):
        with pytest.raises(ValueError, match=f"a.org/x: redirected to {to}, which is not HTTPS"):
            SafeRedirects().redirect_request(request, None, 302, "", {}, to)


def test_no_server_at_all(tmp_path):
    with pytest.raises(ConnectionError, match="the connection failed.*refused.*gave up after 3"):
        download("http://127.0.0.1:9/x", tmp_path / "x", config=QUICK)


def test_reads_small_texts_anew(server, tmp_path):
    server.files["/VERSION"] = b"116\n"
    assert read_text(f"{server.url}/VERSION", tmp_path / "v", config=QUICK) == "116\n"
    server.files["/VERSION"] = b"117\n"
    assert read_text(f"{server.url}/VERSION", tmp_path / "v", config=QUICK) == "117\n"
    assert not list(tmp_path.iterdir())


def test_ftp_addresses_become_https_where_both_are_served():
    assert map_ftp_to_https("ftp://ftp.ebi.ac.uk/pub/x") == "https://ftp.ebi.ac.uk/pub/x"
    assert map_ftp_to_https("http://x.org/y") == "http://x.org/y"
    for bad in ("ftp://x.org/y", "file:///etc/passwd", "x.fa", "https://"):
        with pytest.raises(ValueError, match=f"{re.escape(repr(bad))} is not an address"):
            map_ftp_to_https(bad)


def test_finds_checksums_in_listings(tmp_path):
    md5, sha = "d41d8cd98f00b204e9800998ecf8427e", "e3" * 32
    listing = f"{md5}  a.fa.gz\n{sha} *dir/b.fa.gz\n15374 10912 c.fa.gz\n00042     1 d.fa.gz\n"
    assert find_checksum(listing, "a.fa.gz") == ("md5", md5)
    assert find_checksum(listing, "b.fa.gz") == ("sha256", sha)
    assert find_checksum(listing, "c.fa.gz") == ("sum", "15374 10912")
    assert find_checksum(listing, "d.fa.gz") == ("sum", "42 1")
    with pytest.raises(ValueError, match="no checksum of e.fa.gz among the 4 lines"):
        find_checksum(listing, "e.fa.gz")


def test_bsd_sums_are_those_of_the_tool(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA[:5_000])
    said = subprocess.run(["sum", "-r", path], capture_output=True, text=True, check=True).stdout
    value, blocks, *_ = said.split()
    assert compute_bsd_sum(path) == f"{int(value)} {int(blocks)}"
