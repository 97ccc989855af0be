"""Lists of sources: files, bucket objects and their rights, named in a table."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from flows.watch import scan
from store import ledger as tables
from store.erasure import drop_sources
from store.objects import s3_client
from store.workspace import Workspace, open_workspace
from tasks.ingest import Ingested, ingest
from tasks.source_list import read_list
from tasks.status import quarantined
from tests.unit.tasks.test_ingest import videos


@pytest.fixture
def workspace(tmp_path: Path, either_ledger: str) -> Workspace:
    return open_workspace(tmp_path / "workspace")


@pytest.fixture
def footage(tmp_path: Path) -> Path:
    folder = tmp_path / "footage"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"one")
    (folder / "b.mp4").write_bytes(b"two")
    return folder


def listed(tmp_path: Path, text: str) -> str:
    file = tmp_path / "sources.csv"
    file.write_text(text)
    return str(file)


def test_rights_are_columns_and_a_second_reading_changes_nothing(
    workspace: Workspace, footage: Path, tmp_path: Path
) -> None:
    path = listed(tmp_path, f"uri,licence,consent,note\nfootage/a.mp4,CC-BY-4.0,yes,x\n{footage}/b.mp4,,,y\n")
    assert len(ingest(workspace, [path]).new) == 2
    held = videos(workspace)
    assert (held["a.mp4"]["licence"], held["a.mp4"]["consent"], held["a.mp4"]["told_by"]) == (
        "CC-BY-4.0",
        "yes",
        "list",
    )
    assert (held["b.mp4"]["licence"], held["b.mp4"]["told_by"]) == ("unknown", "default")
    manifest = workspace.ledger.manifest()
    assert ingest(workspace, [path]) == Ingested(unchanged=2)
    assert workspace.ledger.manifest() == manifest


def test_what_a_list_says_stands_when_the_folder_is_met(workspace: Workspace, footage: Path, tmp_path: Path) -> None:
    path = listed(tmp_path, "uri,licence\nfootage/a.mp4,CC0-1.0\n")
    ingest(workspace, [path])
    ingest(workspace, [str(footage)])
    assert videos(workspace)["a.mp4"]["licence"] == "CC0-1.0"


def test_copies_in_one_list_that_say_different_things_leave_it_unknown(
    workspace: Workspace, footage: Path, tmp_path: Path
) -> None:
    (footage / "copy.mp4").write_bytes(b"one")
    path = listed(tmp_path, "uri,consent\nfootage/a.mp4,no\nfootage/copy.mp4,yes\n")
    seen = ingest(workspace, [path])
    (row,) = videos(workspace).values()
    assert row["consent"] == "unknown"
    assert "copy.mp4 says 'yes'; make them agree" in seen.rights[0][1]
    listed(tmp_path, "uri,consent\nfootage/a.mp4,no\nfootage/copy.mp4,no\n")
    ingest(workspace, [path])
    (row,) = videos(workspace).values()
    assert (row["consent"], row["told_by"]) == ("no", "list")


def test_changed_and_removed_rows_are_seen(workspace: Workspace, footage: Path, tmp_path: Path) -> None:
    path = listed(tmp_path, "uri,licence\nfootage/a.mp4,CC0-1.0\nfootage/b.mp4,CC0-1.0\n")
    ingest(workspace, [path])
    before = scan([path])
    listed(tmp_path, "uri,licence\nfootage/a.mp4,proprietary\n")
    assert scan([path]) != before
    seen = ingest(workspace, [path])
    assert seen.gone == ["b.mp4"]
    assert videos(workspace)["a.mp4"]["licence"] == "proprietary"
    assert [r["uri"] for r in workspace.ledger.rows(tables.listed.select())] == [str(footage / "a.mp4")]
    listed(tmp_path, "uri,licence\nfootage/a.mp4,\n")
    ingest(workspace, [path])
    assert videos(workspace)["a.mp4"]["told_by"] == "default"


def test_what_is_not_there_is_put_aside_and_counts_as_input_of_the_list(
    workspace: Workspace, footage: Path, tmp_path: Path
) -> None:
    path = listed(tmp_path, "uri\nfootage/a.mp4\nfootage/none.mp4\n")
    ingest(workspace, [path])
    assert quarantined(workspace, [path]) == ["none.mp4"]
    assert quarantined(workspace, [str(tmp_path / "elsewhere")]) == []


def test_json_lines_and_parquet_say_the_same(footage: Path, tmp_path: Path) -> None:
    table = pl.DataFrame({"uri": ["footage/a.mp4", "footage/b.mp4", "footage/a.mp4"], "licence": ["MIT", None, "MIT"]})
    table.write_parquet(tmp_path / "l.parquet")
    table.write_ndjson(tmp_path / "l.jsonl")
    told = [list(read_list(str(tmp_path / f"l.{s}"))) for s in ("parquet", "jsonl")]
    assert told[0] == told[1] == [(str(footage / "a.mp4"), b'{"licence": "MIT"}'), (str(footage / "b.mp4"), None)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("path,licence\na.mp4,x\n", "needs a column uri, this one has path, licence"),
        ('uri\na.mp4\n"  "\n', "row 2 has no uri"),
        ("uri\nhttps://host/a.mp4\n", "row 1: https://host/a.mp4 is neither a path nor an s3:// address"),
        ("", "can't be read as a list of sources"),
    ],
)
def test_a_list_that_is_none_is_told(workspace: Workspace, tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ingest(workspace, [listed(tmp_path, text)])
    assert not workspace.ledger.rows(tables.sources.select())


def test_a_list_that_is_not_there_says_so(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file or folder"):
        ingest(workspace, [str(tmp_path / "none.csv")])


def test_an_erased_source_leaves_the_list_of_the_ledger(workspace: Workspace, footage: Path, tmp_path: Path) -> None:
    path = listed(tmp_path, "uri,licence\nfootage/a.mp4,MIT\nfootage/b.mp4,MIT\n")
    ingest(workspace, [path])
    drop_sources(workspace, [str(videos(workspace)["a.mp4"]["video_id"])])
    assert [os.path.basename(r["uri"]) for r in workspace.ledger.rows(tables.listed.select())] == ["b.mp4"]


def test_a_list_on_s3_names_objects_beside_it(bucket: str, tmp_path: Path) -> None:
    client = s3_client()
    client.put_object(Bucket=bucket, Key="raw/a.mp4", Body=b"one")
    client.put_object(
        Bucket=bucket, Key="raw/l.csv", Body=f"uri,licence\na.mp4,MIT\ns3://{bucket}/raw/no.mp4,\n".encode()
    )
    workspace = open_workspace(tmp_path / "workspace")
    ingest(workspace, [f"s3://{bucket}/raw/l.csv"])
    held = videos(workspace)
    assert (held["a.mp4"]["licence"], held["a.mp4"]["uri"]) == ("MIT", f"s3://{bucket}/raw/a.mp4")
    assert held["no.mp4"]["state"] == "quarantined"
    assert "check that it exists" in str(held["no.mp4"]["reason"])


@pytest.mark.parametrize("together", [True, False])
def test_two_lists_that_disagree_on_an_address_leave_it_unknown_and_do_not_flip(
    together: bool, workspace: Workspace, footage: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("uri,licence,consent\nfootage/a.mp4,CC0-1.0,yes\n")
    second.write_text("uri,licence,consent\nfootage/a.mp4,CC-BY-NC-4.0,yes\n")
    runs = [[str(first), str(second)]] if together else [[str(first)], [str(second)]]
    told = [problem for paths in runs for problem in ingest(workspace, paths).rights]
    (name, why) = told[0]
    assert (len(told), name) == (1, "a.mp4"), "told once"
    assert f"{footage}/a.mp4 in {first} says licence 'CC0-1.0', its copy {footage}/a.mp4 in {second} says" in why
    held, manifest = videos(workspace)["a.mp4"], workspace.ledger.manifest()
    assert (held["licence"], held["consent"]) == ("unknown", "yes")
    for paths in (*runs, *reversed(runs), [str(second), str(first)], [str(first)], [str(footage / "a.mp4")]):
        assert ingest(workspace, paths).rights == []
        assert workspace.ledger.manifest() == manifest, paths
    second.write_text("uri,licence,consent\nfootage/a.mp4,CC0-1.0,yes\n")
    ingest(workspace, [str(second)])
    held = videos(workspace)["a.mp4"]
    assert (held["licence"], held["told_by"]) == ("CC0-1.0", "list")
