import gzip
import hashlib
import json
import logging
import socket

import pytest
from ingestion.geo_server import geo_server

from synthome.errors import InputError
from synthome.ingestion.download import CHECKSUMS, LineProgress, fetch

CONTENT = gzip.compress(bytes(range(256)) * 2000, mtime=0)
SHA = hashlib.sha256(CONTENT).hexdigest()
PATH = "/suppl/values.csv.gz"

pytestmark = pytest.mark.network


@pytest.fixture
def server():
    with geo_server() as geo:
        geo.files[PATH] = CONTENT
        yield geo


def get(server, folder, sha256=None, path=PATH):
    return fetch(server.url + path, folder, sha256, wait=0.01)


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_download_is_kept_and_its_checksum_recorded(server, tmp_path):
    path, notes = get(server, tmp_path / "geo")
    assert path.read_bytes() == CONTENT
    assert f"SHA-256 {SHA} recorded" in notes[0]
    entry = json.loads((tmp_path / "geo" / CHECKSUMS).read_text())["values.csv.gz"]
    assert entry["sha256"] == SHA
    assert entry["url"].endswith(PATH)


def test_the_second_time_nothing_is_asked_of_the_network(server, tmp_path):
    get(server, tmp_path)
    _, notes = get(server, tmp_path)
    assert server.asked == [PATH]
    assert "taken from the cache, checksum verified" in notes[0]


def test_a_pinned_checksum_is_verified(server, tmp_path):
    _, notes = get(server, tmp_path, SHA.upper())
    assert notes == ["values.csv.gz downloaded, checksum verified"]


def test_a_wrong_checksum_keeps_nothing(server, tmp_path):
    with pytest.raises(InputError, match=rf"another checksum.*{SHA}.*expected {'0' * 64}"):
        get(server, tmp_path, "0" * 64)
    assert names(tmp_path) == []


def test_a_wrong_checksum_keeps_the_earlier_good_file(server, tmp_path):
    get(server, tmp_path, SHA)
    with pytest.raises(InputError, match="another checksum"):
        get(server, tmp_path, "0" * 64)
    assert (tmp_path / "values.csv.gz").read_bytes() == CONTENT
    assert names(tmp_path) == ["values.csv.gz"]


def test_a_file_that_changed_in_the_cache_is_noticed(server, tmp_path):
    """Someone edited it, or a disk lost a bit: the scores of yesterday would not come again."""
    path, _ = get(server, tmp_path)
    path.write_bytes(CONTENT + b"x")
    with pytest.raises(InputError, match="has changed since it was first downloaded"):
        get(server, tmp_path)


def test_a_damaged_cache_is_mended_when_the_checksum_is_pinned(server, tmp_path):
    path, _ = get(server, tmp_path, SHA)
    path.write_bytes(b"damaged")
    get(server, tmp_path, SHA)
    assert path.read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_taken_and_recorded(server, tmp_path):
    """The way out for people behind a firewall."""
    (tmp_path / "values.csv.gz").write_bytes(CONTENT)
    _, notes = get(server, tmp_path)
    assert server.asked == []
    assert "was in" in notes[0]
    assert json.loads((tmp_path / CHECKSUMS).read_text())["values.csv.gz"]["sha256"] == SHA


def test_a_packed_file_arrives_packed_from_servers_that_call_gzip_an_encoding(server, tmp_path):
    """The HTTP library would unpack it on the way, and no checksum would fit."""
    server.labelled.add(PATH)
    assert get(server, tmp_path, SHA)[0].read_bytes() == CONTENT


def test_a_missing_file_is_told_at_once(server, tmp_path):
    with pytest.raises(
        InputError, match=r"Cannot download .*/none\.gz: there is no such file \(404\)"
    ):
        get(server, tmp_path, path="/none.gz")
    assert server.asked == ["/none.gz"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("cut", [0, 100, len(CONTENT) - 1])
def test_a_connection_that_breaks_leaves_no_half_file(server, tmp_path, cut):
    server.cut[PATH] = cut
    with pytest.raises(InputError, match=r"Cannot download .*\(3 attempts\).*put it into"):
        get(server, tmp_path)
    assert len(server.asked) == 3
    assert names(tmp_path) == []


def test_a_connection_that_breaks_leaves_the_earlier_file(server, tmp_path):
    path, _ = get(server, tmp_path, SHA)
    path.write_bytes(b"old but whole")
    server.cut[PATH] = 100
    with pytest.raises(InputError):
        get(server, tmp_path, SHA)
    assert path.read_bytes() == b"old but whole"


def test_gzip_that_is_cut_short_at_the_source_is_noticed(server, tmp_path):
    """The server itself has half a file, and says so in Content-Length."""
    server.files[PATH] = CONTENT[:500]
    with pytest.raises(InputError, match="cut short on the way or is damaged at the source"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_a_page_in_place_of_a_file_is_noticed(server, tmp_path):
    server.files[PATH] = b"<html>please log in</html>"
    with pytest.raises(InputError, match="did not send a gzip file"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_an_empty_answer_is_noticed(server, tmp_path):
    server.files[PATH] = b""
    with pytest.raises(InputError, match="empty file"):
        get(server, tmp_path)


def test_a_busy_server_is_asked_again(server, tmp_path, caplog):
    server.refusals[PATH] = [503, 429]
    with caplog.at_level(logging.INFO, logger="synthome.ingestion"):
        path, _ = get(server, tmp_path)
    assert path.read_bytes() == CONTENT
    assert "the server answers 503; trying again" in caplog.text


def test_a_server_that_refuses_is_not_asked_again(server, tmp_path):
    server.refusals[PATH] = [403, 403, 403]
    with pytest.raises(InputError, match="the server answers 403"):
        get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_told(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match=r"the server cannot be reached \(3 attempts\).*proxy"):
        fetch(f"http://127.0.0.1:{port}/x.gz", tmp_path / "geo", wait=0.01)
    assert names(tmp_path / "geo") == []


def test_an_address_that_is_none_is_told(tmp_path):
    with pytest.raises(InputError, match="this is not a web address"):
        fetch("x.gz", tmp_path, wait=0.01)


def test_unreadable_checksums_are_told(server, tmp_path):
    (tmp_path / CHECKSUMS).write_text("{")
    with pytest.raises(InputError, match=r"checksums\.json is not readable"):
        get(server, tmp_path)


def test_progress_without_a_terminal_is_a_few_lines(caplog, monkeypatch):
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr("synthome.ingestion.download.time.monotonic", lambda: float(next(now)))
    progress = LineProgress("x.gz")
    progress.total = 1_000_000
    with caplog.at_level(logging.INFO, logger="synthome.ingestion"):
        for _ in range(100):
            progress.update(10_000)
    assert [r.getMessage() for r in caplog.records] == [
        "x.gz: 25 % of 1.0 MB", "x.gz: 50 % of 1.0 MB", "x.gz: 75 % of 1.0 MB",
        "x.gz: 100 % of 1.0 MB",
    ]  # fmt: skip


def test_progress_in_a_terminal_is_a_bar(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "synthome.ingestion.download.sys.stderr.isatty", lambda: True, raising=False
    )
    get(server, tmp_path)
    assert "values.csv.gz" in capsys.readouterr().err
