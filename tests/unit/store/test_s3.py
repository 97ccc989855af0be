"""Objects, tables and sources on S3, against a real server on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from store import registry
from store.bucket import main, make_bucket
from store.objects import Objects, download_s3, list_s3, s3_client, split_s3
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import open_workspace
from tasks.ingest import ingest


def test_an_object_goes_in_and_comes_back(bucket: str, tmp_path: Path) -> None:
    objects = Objects(f"s3://{bucket}/corpus", tmp_path / "cache")
    uri = objects.put_bytes(b"proxy", "media/v/proxy.mp4")
    assert (uri, objects.uri(uri)) == ("media/v/proxy.mp4", f"s3://{bucket}/corpus/media/v/proxy.mp4")
    assert objects.exists(uri)
    assert not objects.exists(uri + ".not")
    assert objects.local(uri).read_bytes() == b"proxy"


def test_tables_live_on_s3(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/tables")
    workspace = open_workspace(tmp_path / "workspace")
    for name in ("a", "b", "a"):
        batch = Batch()
        batch.add("videos", table_of([{"video_id": name, "name": name}], VIDEOS))
        workspace.commit(batch)
    with workspace.views() as reader:
        assert reader.sql("SELECT video_id FROM videos ORDER BY 1")["video_id"].to_list() == ["a", "b"]


def test_a_copy_of_a_checkpoint_that_is_not_what_it_should_be_is_fetched_anew(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/served")
    workspace = open_workspace(tmp_path / "workspace")
    told = {"recipe": {"name": "tiny"}, "snapshot": {"id": "s1"}, "data": {"clips": ["aa11"]}}
    made = registry.publish(workspace, b"weights", told)
    assert registry.load(workspace, made.id) == made
    for copy in (tmp_path / "workspace" / "cache" / "objects").iterdir():
        copy.write_bytes(b"half of")
    assert registry.load(workspace, made.id) == made
    assert registry.redact(workspace, lambda text: text.replace(b"aa11", b"forgotten")) == [made.id]
    assert registry.load(workspace, made.id).told["data"]["clips"] == ["forgotten"]
    workspace.objects.put_bytes(b"weightz", f"checkpoints/{made.id}/weights.safetensors")
    registry.load(workspace, made.id)  # the copy is still good
    workspace.objects.drop_copies()
    with pytest.raises(ValueError, match="its weights are not what was published"):
        registry.load(workspace, made.id)


def test_sources_on_s3_are_known_by_content(bucket: str, tmp_path: Path) -> None:
    client = s3_client()
    for key, body in (
        ("raw/a.mp4", b"one"),
        ("raw/copy of a.mp4", b"one"),
        ("raw/b.mov", b"two"),
        ("raw/notes.txt", b"no"),
    ):
        client.put_object(Bucket=bucket, Key=key, Body=body)
    workspace = open_workspace(tmp_path / "workspace")
    seen = ingest(workspace, [f"s3://{bucket}/raw/"])
    assert (len(seen.new), seen.unchanged, seen.ignored) == (2, 1, {".txt": 1})
    assert ingest(workspace, [f"s3://{bucket}/raw/"]).unchanged == 3


def test_what_is_not_there_says_so(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="s3://nowhere/x: can't list it"):
        list(list_s3("s3://nowhere/x"))
    with pytest.raises(ValueError, match=f"s3://{bucket}/none: can't fetch it"):
        download_s3(f"s3://{bucket}/none", tmp_path / "x")
    with pytest.raises(ValueError, match="no s3://bucket/key address"):
        split_s3("http://a/b")
    with pytest.raises(ValueError, match="expected a folder or s3://"):
        Objects("gs://bucket/x", tmp_path)


def test_a_bucket_is_made_once(
    bucket: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"s3://new-{bucket}"
    assert [make_bucket(name), make_bucket(name)] == [True, False]
    assert main([name]) == 0
    assert "was there" in capsys.readouterr().out
    assert main(["/a/folder"]) == 1
    assert "is no s3://bucket/key address" in capsys.readouterr().err
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ValueError, match="check AWS_ENDPOINT_URL and the credentials"):
        make_bucket(name)
