"""People at the desk who rate the clips of a workspace, and keyframes whose quality is known."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pyarrow as pa

from store.annotation_database import Database, database_url
from store.workspace import Workspace
from tasks.media.media import Media
from tasks.signal import Column, LoadedSignal, Look, Needs, Output, Signal
from tasks.signals import visual_quality
from tests.annotators import Crew, rated
from tests.unit.tasks import stand_in


def keyframes() -> LoadedSignal:
    """The measures that the real signal reads; quality rises with the luma, from about 2 to 4."""
    columns = tuple(Column(n, stand_in.F32, "", n, decimals=3) for n in visual_quality.MEASURES)
    spec = Signal(grain="video", version=1, timeline=columns, look=Look(frames_fps=1))

    def compute(media: Media, needs: Needs) -> Output:
        frames = media.at(1)
        made = {n: pa.array([0.5] * len(frames), stand_in.F32) for n in visual_quality.MEASURES}
        made["quality"] = pa.array([float(media.image(f, None, "gray").mean()) / 64 + 1 for f in frames], stand_in.F32)
        return Output(timeline=pa.table({"frame": pa.array(frames, pa.int32()), **made}))

    return stand_in.loaded("keyframes", spec, compute)


class Desk:
    """Two annotators; what they decide waits in the outbox."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.crew = Crew(Database(database_url(workspace.settings)))
        self.schema = self.crew.schema()
        self.people = [self.crew.person(name) for name in ("one", "two")]
        for person in self.people:
            self.crew.ready(person, self.schema)

    def rate(self, grade: Callable[[str], int], only: Collection[str] | None = None) -> None:
        """Both rate the visual quality of every clip (or of those named), and give 3 for all else."""
        with self.workspace.views() as reader:
            rows = reader.sql("SELECT c.*, v.proxy_uri FROM clips c JOIN videos v USING (video_id) ORDER BY clip_id")
        kept = ("clip_id", "video_id", "start_frame", "end_frame", "proxy_uri")
        told = [{k: r[k] for k in kept} for r in rows.to_dicts() if only is None or r["clip_id"] in only]
        self.crew.batch(self.schema, [(float(len(told)), [media]) for media in told])
        for person in self.people:
            self.crew.work(person, lambda held: rated(3, visual_quality=grade(held["media"][0]["clip_id"])))

    def close(self) -> None:
        self.crew.database.close()
