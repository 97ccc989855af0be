"""What storage refuses is told with the address, the reason and the next step, and nothing is taken for empty."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from botocore.exceptions import NoCredentialsError

from headroom import main
from store import bulk
from store.mirror import mirror
from store.objects import Objects, download_s3, list_s3, refused, stat_s3
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import Workspace, open_workspace
from tests.databases import s3_environment
from tests.tables import doubled

NEXT_STEP = r"AccessDenied.*its policy must allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on mine"


class Quiet(WSGIRequestHandler):
    def log_message(self, *told: Any) -> None:
        pass


def forbidden(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """S3 with a key that may do nothing."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


@pytest.fixture
def denied(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix that answers every request with 403."""
    server = make_server("127.0.0.1", 0, forbidden, handler_class=Quiet)
    for name, value in s3_environment(f"http://127.0.0.1:{server.server_port}").items():
        monkeypatch.setenv(name, value)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield "s3://mine/corpus"
    server.shutdown()
    thread.join()
    server.server_close()


def one_video(name: str = "a") -> Batch:
    batch = Batch()
    batch.add("videos", table_of([{"video_id": name, "name": name}], VIDEOS))
    return batch


def held(workspace: Workspace) -> list[str]:
    with workspace.views() as reader:
        return [str(n) for n in reader.sql("SELECT name FROM videos ORDER BY 1")["name"]]


def test_a_denied_key_is_told_wherever_it_is_met(denied: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"proxy")
    objects = Objects(denied, tmp_path / "cache")
    with pytest.raises(ValueError, match=f"{denied}/media/x: can't be written .*{NEXT_STEP}"):
        objects.put(file, "media/x")
    assert file.read_bytes() == b"proxy"
    with pytest.raises(ConnectionError, match=f"{denied}/media/y: can't be written now .*403"):
        objects.put_new({"y": b"proxy"}, "media")
    assert not [f for f in (tmp_path / "cache").rglob("*") if f.is_file()]
    for asked in (
        lambda: objects.exists("media/x"),
        lambda: stat_s3(f"{denied}/media/x"),
        lambda: objects.delete(["media/x"]),
        lambda: list(list_s3(f"{denied}/")),
        lambda: download_s3(f"{denied}/media/x", tmp_path / "x"),
        lambda: bulk.send([bulk.Piece(file, f"{denied}/media/x", 5)]),
    ):
        with pytest.raises(ValueError, match=f"{denied}/.*its policy must allow"):
            asked()
    assert sorted(f.name for f in tmp_path.iterdir() if f.is_file()) == ["file"]


def test_tables_behind_a_denied_key_are_told_and_nothing_is_published(
    denied: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", denied)
    workspace = open_workspace(tmp_path / "workspace")
    with pytest.raises(ValueError, match=f"{denied}/lance/: can't list it .*{NEXT_STEP}"):
        workspace.commit(one_video())
    assert not (tmp_path / "workspace" / "ledger.sqlite").exists(), "none is begun where tables may lie"


def test_a_missing_bucket_is_told_and_with_it_the_same_commit_goes_on(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"missing-{bucket}"
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{name}/corpus")
    workspace = open_workspace(tmp_path / "workspace")
    step = rf"there is no bucket {name}; make it with `python -m store.bucket s3://{name}`"
    with pytest.raises(ValueError, match=f"lance/: can't list it .*NoSuchBucket.*{step}"):
        workspace.commit(one_video())
    with pytest.raises(ValueError, match=f"media/x: can't be written .*{step}"):
        workspace.objects.put_bytes(b"x", "media/x")
    with pytest.raises(ValueError, match=f"media/x: can't be read .*{step}"):
        stat_s3(f"s3://{name}/corpus/media/x")
    with pytest.raises(SystemExit) as ended:
        main(["curate", f"s3://{name}/raw/", "-w", str(tmp_path / "workspace")])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith(f"headroom: s3://{name}/corpus/lance/: can't list it")
    assert "\n" not in said
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", "")
    local = open_workspace(tmp_path / "local")
    local.commit(one_video("b"))
    with pytest.raises(ValueError, match=f"s3://{name}/there/: can't list it .*{step}"):
        mirror(local, f"s3://{name}/there")

    from store.bucket import make_bucket

    assert make_bucket(f"s3://{name}")
    workspace.commit(one_video())
    assert held(workspace) == ["a"]
    assert doubled(workspace) == []


def test_a_wrong_prefix_is_not_taken_for_an_empty_workspace(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/right")
    open_workspace(tmp_path / "workspace").commit(one_video())
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/wrong")
    with pytest.raises(
        ValueError, match=f"there is none at s3://{bucket}/wrong/lance/videos.lance, and the ledger names"
    ):
        held(open_workspace(tmp_path / "workspace"))
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/right")
    assert held(open_workspace(tmp_path / "workspace")) == ["a"]


def test_keys_that_are_wrong_or_an_endpoint_that_is_not_there(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ValueError, match="can't be looked for .*; check AWS_ENDPOINT_URL and the network"):
        Objects(f"s3://{bucket}/x", tmp_path / "cache").exists("y")
    told = str(refused("s3://mine/x", "can't be read", NoCredentialsError()))
    assert told.endswith("check AWS_ACCESS_KEY_ID and its secret, or AWS_PROFILE")
