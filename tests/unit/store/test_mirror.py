"""A workspace copied into a bucket and back by s5cmd, against a real S3 server on this machine."""

from __future__ import annotations

import errno
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from headroom import main
from store import bulk
from store.bucket import main as make_bucket_main
from store.mirror import mirror
from store.objects import download_s3, list_s3, s3_client, upload_s3
from store.record import Batch, table_of
from store.schema import VIDEOS
from store.workspace import Workspace, open_workspace
from tests.commands import ROOT
from tests.faults import can_mount, small_disk

NUM_MEDIA = 300


def commit(workspace: Workspace, *names: str) -> None:
    batch = Batch()
    batch.add("videos", table_of([{"video_id": n, "name": n} for n in names], VIDEOS))
    workspace.commit(batch)


def names_in(workspace: Workspace) -> list[str]:
    with workspace.views() as reader:
        return [str(n) for n in reader.sql("SELECT name FROM videos ORDER BY 1")["name"]]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = open_workspace(tmp_path / "workspace")
    commit(made, "a", "b")
    for i in range(NUM_MEDIA):
        made.objects.put_bytes(f"proxy {i}".encode() * 400, f"media/v{i}/it's a *proxy?.mp4")
    for of_this_machine in ("cache/x", "scratch/y", "tiers/t.sql", "media/v0/.half", "password"):
        file = made.settings.workspace / of_this_machine
        file.parent.mkdir(exist_ok=True)
        file.write_text("not for a bucket")
    return made


def sizes(uri: str) -> dict[str, int]:
    return {u.removeprefix(f"{uri}/"): n for u, n, _ in list_s3(f"{uri}/")}


@pytest.mark.usefixtures("either_ledger")
def test_a_workspace_goes_into_a_bucket_is_worked_on_there_and_comes_back(
    workspace: Workspace, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"s3://{bucket}/corpus"
    told = mirror(workspace, place)
    assert told.sent == told.objects == len(sizes(place)) > NUM_MEDIA
    assert {key.split("/")[0] for key in sizes(place)} == {"lance", "media"}
    assert not [key for key in sizes(place) if "half" in key]
    assert (told.already, told.only_there) == (0, 0)
    again = mirror(workspace, place)
    assert (again.sent, again.already) == (0, told.objects)

    monkeypatch.setenv("HEADROOM_OBJECTS_URL", place)
    there = open_workspace(workspace.settings.workspace)
    assert names_in(there) == ["a", "b"]
    commit(there, "c")
    assert names_in(there) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="is newer than the workspace's; give an empty place"):
        mirror(workspace, place)

    told = mirror(there, str(tmp_path / "back"))
    assert told.sent == told.objects
    assert not list((tmp_path / "back").glob(".*"))
    assert (tmp_path / "back" / "media" / "v7" / "it's a *proxy?.mp4").read_bytes() == b"proxy 7" * 400
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", str(tmp_path / "back"))
    assert names_in(open_workspace(workspace.settings.workspace)) == ["a", "b", "c"]


def killed_mirror(workspace: Workspace, place: str, begun: Any) -> None:
    """kill -9 of the command alone, once `begun` says so; what it had begun must end with it."""
    command = [sys.executable, "-m", "headroom", "mirror", place, "-w", str(workspace.settings.workspace)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not begun():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert process.stderr is not None
    process.stderr.close()
    time.sleep(1)  # requests that the server had already


def test_killed_in_the_middle_it_sends_the_rest_and_nothing_twice(workspace: Workspace, bucket: str) -> None:
    s3_client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    place = f"s3://{bucket}/corpus"
    killed_mirror(workspace, place, lambda: len(sizes(place)) > 10)
    num_there = len(sizes(place))
    assert num_there < NUM_MEDIA, "the kill came too late: s5cmd went on without its parent"
    told = mirror(workspace, place)
    assert (told.already, told.sent) == (num_there, told.objects - num_there)
    versions = s3_client().get_paginator("list_object_versions").paginate(Bucket=bucket)
    assert sum(len(page["Versions"]) for page in versions) == told.objects


def test_killed_on_the_way_back_no_file_is_half_there(
    workspace: Workspace, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, back = f"s3://{bucket}/corpus", tmp_path / "back"
    mirror(workspace, place)
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", place)
    there = open_workspace(workspace.settings.workspace)
    killed_mirror(there, str(back), lambda: len(list(back.glob("media/*/*"))) > 10)
    known = sizes(place)
    whole = {f.relative_to(back).as_posix(): f.stat().st_size for f in back.rglob("*") if f.is_file()}
    whole = {key: size for key, size in whole.items() if not key.startswith(".staged/")}
    assert whole == {key: known[key] for key in whole}
    assert 10 < len(whole) < NUM_MEDIA
    told = mirror(there, str(back))
    assert (told.already, told.sent) == (len(whole), told.objects - len(whole))
    assert not (back / ".staged").exists()


@pytest.mark.usefixtures("either_ledger")
def test_what_was_committed_meanwhile_is_copied_too(
    workspace: Workspace, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, late = bulk.send, ["c", "d"]

    def send_while_others_write(*told: Any) -> None:
        send(*told)
        if late:
            commit(workspace, late.pop())

    monkeypatch.setattr(bulk, "send", send_while_others_write)
    mirror(workspace, f"s3://{bucket}/corpus")
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/corpus")
    assert names_in(open_workspace(workspace.settings.workspace)) == ["a", "b", "c", "d"]


def test_a_workspace_that_is_written_to_all_the_while_is_told(
    workspace: Workspace, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = bulk.send
    monkeypatch.setattr(bulk, "send", lambda *told: (send(*told), commit(workspace, "again", str(time.time()))))
    with pytest.raises(ValueError, match="was written to all the while; end what writes to it"):
        mirror(workspace, f"s3://{bucket}/corpus")


def test_digests_hold_for_large_and_for_foreign_objects(bucket: str, tmp_path: Path) -> None:
    """One that s5cmd sends in parts, one that boto3 does, and one whose ETag is no digest that we could work out."""
    file = tmp_path / "large"
    file.write_bytes(os.urandom(bulk.PARTS_BYTES[0] + 1000))
    place = f"s3://{bucket}/large"
    bulk.send([bulk.Piece(file, f"{place}/s5cmd", file.stat().st_size)])
    upload_s3(file, f"{place}/boto3")
    stated = {"md5": hashlib.md5(file.read_bytes()).hexdigest()}
    client, key = s3_client(), "large/foreign"
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, Metadata=stated)["UploadId"]
    data, parts = file.read_bytes(), []
    for number, start in enumerate(range(0, len(data), 30 << 20), 1):
        body = data[start : start + (30 << 20)]
        part = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    held = list(list_s3(f"{place}/"))
    assert [etag.rpartition("-")[2] for _, _, etag in held] == ["7", "2", "2"]
    assert [bulk.is_same(file, *of) for of in held] == [True] * 3
    with file.open("r+b") as other:
        other.write(b"x")
    assert [bulk.is_same(file, *of) for of in held] == [False] * 3
    assert download_s3(f"{place}/s5cmd", tmp_path / "back").read_bytes() == data


def test_places_that_can_not_be_meant(workspace: Workspace, bucket: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="are both folders; copy them by cp -a or rsync"):
        mirror(workspace, str(tmp_path / "other"))
    with pytest.raises(ValueError, match="no s3://bucket/key address"):
        mirror(workspace, "s3:///nothing")
    with pytest.raises(ValueError, match="gs://bucket/x is no place for it; give s3://bucket/prefix or a folder"):
        mirror(workspace, "gs://bucket/x")
    piece = bulk.Piece(tmp_path / "a\nb", f"s3://{bucket}/x", 1)
    (tmp_path / "a\nb").write_bytes(b"1")
    with pytest.raises(ValueError, match="a name with a line break can't be transferred; rename it"):
        bulk.send([piece])


def test_s5cmd_says_what_did_not_arrive(workspace: Workspace, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    pieces = [bulk.Piece(tmp_path / "a", f"s3://{bucket}/a", 1), bulk.Piece(tmp_path / "a", "s3://nowhere/a", 1)]
    with pytest.raises(
        ValueError, match="s3://nowhere/a: 1 of 2 objects were not transferred .*store.bucket s3://nowhere"
    ):
        bulk.send(pieces)
    assert sizes(f"s3://{bucket}") == {"a": 1}
    with pytest.raises(ValueError, match=f"s3://{bucket}/none: 1 of 1 objects were not transferred .*NoSuchKey"):
        bulk.fetch([bulk.Piece(tmp_path / "back" / "none", f"s3://{bucket}/none", 1)], tmp_path / "back")


def test_keys_and_endpoint_go_by_the_environment_alone(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for an hour")
    told = bulk.environment()
    assert (told["AWS_SECRET_ACCESS_KEY"], told["AWS_SESSION_TOKEN"]) == ("testing", "for an hour")
    assert (told["AWS_REGION"], told["S3_ENDPOINT_URL"]) == ("us-east-1", s3_server)
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    profile = tmp_path / "credentials"
    profile.write_text("[mine]\naws_access_key_id = AKIAMINE\naws_secret_access_key = of a profile\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile))
    with pytest.raises(ValueError, match="there are no credentials; set AWS_ACCESS_KEY_ID"):
        bulk.environment()
    monkeypatch.setenv("AWS_PROFILE", "mine")
    told = bulk.environment()
    assert told["AWS_SECRET_ACCESS_KEY"] == "of a profile"
    assert not {"AWS_PROFILE", "S3_ENDPOINT_URL", "AWS_SESSION_TOKEN"} & set(told)


def test_a_full_disk_on_the_way_back_is_told_and_the_next_one_goes_on(
    workspace: Workspace,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not can_mount():
        pytest.skip("a small disk needs root and mount")
    for i in range(4):
        workspace.objects.put_bytes(os.urandom(1 << 20), f"media/w{i}/proxy.mp4")
    place = f"s3://{bucket}/corpus"
    mirror(workspace, place)
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", place)
    with small_disk(tmp_path / "disk", 3) as resize:
        with pytest.raises(OSError) as full:
            mirror(open_workspace(workspace.settings.workspace), str(tmp_path / "disk" / "back"))
        assert full.value.errno == errno.ENOSPC
        with pytest.raises(SystemExit):
            main(["mirror", str(tmp_path / "disk" / "back"), "-w", str(workspace.settings.workspace)])
        assert "headroom: the disk is full" in capsys.readouterr().err
        resize(64)
        told = mirror(open_workspace(workspace.settings.workspace), str(tmp_path / "disk" / "back"))
        assert 0 < told.already < told.objects
        assert told.sent + told.already == told.objects


def test_the_commands_of_the_page_move_a_workspace_into_a_bucket(
    workspace: Workspace, bucket: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    block = next(part for part in page.split("```") if "headroom mirror" in part)
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", "")
    ran = []
    for line in block.strip().splitlines():
        words = shlex.split(line.replace("headroom-corpus", f"new-{bucket}"), comments=True)
        words = [str(workspace.settings.workspace) if w == "data" else w for w in words]
        ran.append(words[0])
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
        elif words[:3] == ["python", "-m", "store.bucket"]:
            assert make_bucket_main(words[3:]) == 0
        else:
            with pytest.raises(SystemExit) as ended:
                main(words[1:])
            assert ended.value.code == 0
    assert ran == ["python", "headroom", "export", "headroom"]
    assert f"to work on it there: export HEADROOM_OBJECTS_URL=s3://new-{bucket}/first" in capsys.readouterr().out
    there = open_workspace(workspace.settings.workspace)
    assert (there.record.root, names_in(there)) == (f"s3://new-{bucket}/first/lance", ["a", "b"])
