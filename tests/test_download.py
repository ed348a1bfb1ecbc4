"""Laws of the download, against a server on this machine that fails in every way."""

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from geodecloud.data import download
from geodecloud.data.download import MD5, URL, download_eurosat
from geodecloud.data.eurosat import load_eurosat
from geodecloud.errors import DataError, UsageError
from tests.test_eurosat import eurosat, zipped


class Server:
    """Serves one file at any path that ends in ``.zip``.

    ranges: whether it can go on in the middle.
    breaks: after so many bytes it breaks off, once for each.
    requests: the Range of each request.
    """

    def __init__(self, data):
        self.data, self.ranges, self.breaks, self.requests = data, True, [], []
        self.lengths, self.stalls, self.sent = True, False, 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server.answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/files/EuroSAT_RGB.zip?download=1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.requests.append(wanted)
        if ".zip" not in request.path:
            request.send_error(404)
            return
        middle = wanted and self.ranges
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if middle else 0
        total = len(self.data)
        if first >= total:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{total}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if first else 200)
        if first:
            request.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        if self.lengths:
            request.send_header("Content-Length", str(total - first))
        request.send_header("Connection", "close")
        request.close_connection = True
        request.end_headers()
        body = self.data[first:]
        if self.breaks:
            body = body[: self.breaks.pop(0)]
        self.sent += len(body)  # before the client can have it
        request.wfile.write(body)
        if self.stalls:
            request.wfile.flush()
            threading.Event().wait(1)

    def close(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The bytes of a small EuroSAT."""
    folder = tmp_path_factory.mktemp("archive")
    return zipped(eurosat(folder / "EuroSAT_RGB", 10), folder / "EuroSAT_RGB.zip").read_bytes()


@pytest.fixture
def server(archive):
    server = Server(archive)
    yield server
    server.close()


def sums(data):
    return {"md5": hashlib.md5(data, usedforsecurity=False).hexdigest()}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_file_comes_whole_once_and_serves_training(tmp_path, server, archive):
    path = download_eurosat(tmp_path / "data", server.url, sums(archive))
    assert files(tmp_path / "data") == {"EuroSAT_RGB.zip": archive}
    assert len(load_eurosat(tmp_path / "data")) == 14
    assert download_eurosat(tmp_path / "data", server.url, sums(archive)) == path
    assert server.requests == [None]


def test_a_connection_that_breaks_is_taken_up_again(tmp_path, server, archive):
    server.breaks = [1000, 20_000, 70_000]
    download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip": archive}
    assert server.requests == [None, "bytes=1000-", "bytes=21000-", "bytes=91000-"]
    assert server.sent == len(archive)


def test_the_next_run_goes_on_where_the_last_one_ended(tmp_path, server, archive):
    server.breaks = [1000, 0]
    with pytest.raises(DataError, match=r"broke off at 1000 of \d+ bytes; run again to resume"):
        download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip.part": archive[:1000]}
    download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip": archive}
    assert server.sent == len(archive)


@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_that_cannot_go_on_begins_anew(tmp_path, server, archive, lengths):
    server.ranges, server.lengths = False, lengths
    (tmp_path / "EuroSAT_RGB.zip.part").write_bytes(b"x" * (len(archive) + 5))
    download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip": archive}


@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_part_that_is_whole_or_too_long_is_seen(tmp_path, server, archive, size):
    (tmp_path / "EuroSAT_RGB.zip.part").write_bytes(archive + b"x" * size)
    download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip": archive}
    assert server.sent == (len(archive) if size else 0)


def test_a_file_that_changed_meanwhile_is_refused_then_fetched_anew(tmp_path, server, archive):
    (tmp_path / "EuroSAT_RGB.zip.part").write_bytes(b"of another file")
    with pytest.raises(DataError, match=r"its md5 is .*; the download was removed; run again"):
        download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {}
    download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip": archive}


def test_without_a_checksum_the_zips_own_serve(tmp_path, server, archive):
    download_eurosat(tmp_path, server.url)
    assert files(tmp_path) == {"EuroSAT_RGB.zip": archive}
    damaged = bytearray(archive)
    damaged[300] ^= 255
    for data, words in (
        (bytes(damaged), "its file .*Forest_0.jpg is damaged"),
        (b"<html>", "not a complete"),
    ):
        server.data = data
        with pytest.raises(DataError, match=words):
            download_eurosat(tmp_path / "other", server.url)
        assert files(tmp_path / "other") == {}


def test_another_file_of_that_name_stays(tmp_path, server, archive):
    (tmp_path / "EuroSAT_RGB.zip").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"EuroSAT_RGB.zip: exists, but its md5 is .*; move it"):
        download_eurosat(tmp_path, server.url, sums(archive))
    assert files(tmp_path) == {"EuroSAT_RGB.zip": b"mine"}
    assert server.requests == []


def test_a_connection_that_stalls_ends(tmp_path, server, archive, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server.breaks, server.stalls = [1000, 0], True
    with pytest.raises(DataError, match="timed out; run again to resume after 1000 bytes"):
        download_eurosat(tmp_path, server.url, sums(archive))


def test_the_command_says_what_is_wrong_in_one_line(tmp_path, server, archive, cli):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/e.zip"
        failures = {
            (1, "HTTP Error 404: Not Found"): ("--url", server.url.partition("/files")[0] + "/x"),
            (1, "Connection refused"): ("--url", nobody),
            (1, "its sha256 is"): ("--url", server.url, "--sha256", "0" * 64),
            (2, "--url is 'ftp://a/b.zip'"): ("--url", "ftp://a/b.zip"),
            (2, "--url is 'http://['"): ("--url", "http://["),
            (2, "--md5 is 'abc'"): ("--url", server.url, "--md5", "abc"),
        }
        for (code, words), options in failures.items():
            cli("download-eurosat", tmp_path / "d", *options)
            assert cli.code == code
            assert words in cli.err
            assert cli.err.count("\n") == 1
    md5 = sums(archive)["md5"]
    for words in ("", "exists and is complete"):
        cli("download-eurosat", tmp_path / "d", "--url", server.url, "--md5", f"md5:{md5.upper()}")
        assert cli.code == 0
        assert "EuroSAT_RGB.zip: complete" in cli.out
        assert words in cli.err


def test_the_published_address_and_checksum_are_the_default(tmp_path, archive, monkeypatch):
    assert "7711810" in URL
    monkeypatch.setattr(download, "_fetch", lambda url, part: part.write_bytes(archive))
    with pytest.raises(DataError, match=f"its md5 is .*, not {MD5}"):
        download_eurosat(tmp_path)
    with pytest.raises(UsageError, match="64 hexadecimal"):
        download_eurosat(tmp_path, URL, {"sha256": "x"})


def test_a_name_never_leads_out_of_the_folder(tmp_path, server):
    base = server.url.partition("/files")[0]
    names = [
        download_eurosat(tmp_path / "d", f"{base}/{tail}").name
        for tail in (
            "a/..%2F..%2Fb.zip",
            "file?name=c.zip",
        )
    ]
    assert names == ["b.zip", "EuroSAT_RGB.zip"]
    assert {path.name for path in tmp_path.iterdir()} == {"d"}
