"""A workspace whose tables, media and footage lie on S3 and whose ledger lies on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.objects import s3_client
from store.workspace import Workspace, open_workspace
from tasks import forget
from tasks.curate import bring_up_to_date
from tasks.freeze import build
from tasks.ingest import ingest
from tests.tables import contents, contents_differ
from tests.unit.tasks import stand_in

pytestmark = pytest.mark.usefixtures("quick_sql")

TIER = "SELECT clip_id FROM clips WHERE duration_s > 1"


def curated(root: Path, source: str) -> Workspace:
    workspace = open_workspace(root)
    ingest(workspace, [source])
    bring_up_to_date(workspace, stand_in.serial(workspace))
    (root / "tiers").mkdir(exist_ok=True)
    (root / "tiers" / "long.sql").write_text(TIER)
    return workspace


def test_it_holds_what_a_local_one_holds_and_forgets_as_thoroughly(
    tmp_path: Path, bucket: str, postgres_url: str, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    footage = tmp_path / "footage"
    footage.mkdir()
    stand_in.make_video(footage / "a.mp4", 3.0, luma=90)
    stand_in.make_video(footage / "b.mp4", 4.0, luma=160, tone=False)
    local = curated(tmp_path / "local", str(footage))
    for file in footage.iterdir():
        s3_client().upload_file(str(file), bucket, f"raw/{file.name}")
    monkeypatch.setenv("HEADROOM_OBJECTS_URL", f"s3://{bucket}/corpus")
    monkeypatch.setenv("HEADROOM_LEDGER_URL", postgres_url)
    remote = curated(tmp_path / "remote", f"s3://{bucket}/raw/")
    assert contents_differ(contents(local), contents(remote)) == []
    assert build(remote, "long")["clips"] == 2

    standing = remote.ledger.manifest()
    assert curated(tmp_path / "remote", f"s3://{bucket}/raw/").ledger.manifest() == standing

    told = forget.forget(remote, "a.mp4", lambda step: None)
    assert told["complete"], told
    with remote.views() as reader:
        assert reader.sql("SELECT name FROM videos")["name"].to_list() == ["b.mp4"]
    left = [o["Key"] for o in s3_client().list_objects_v2(Bucket=bucket, Prefix="corpus/media/")["Contents"]]
    assert len({key.split("/")[2] for key in left}) == 1
