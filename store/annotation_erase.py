"""Annotation without a video that is taken out of the workspace: its media, its labels and what was gold of it go.

Answers stay for pay, as values of an item that shows nothing any more.
"""

from __future__ import annotations

import json
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from store.annotation import assignments, items, labels, outbox, unshown


def erase_videos(c: Connection, video_ids: Collection[str]) -> int:
    """Empties and retires every item that shows one of the videos; gives how many there were."""
    held = c.execute(sa.select(items.c.id, items.c.media)).all()
    gone = [item for item, media in held if any(m["video_id"] in video_ids for m in json.loads(media))]
    if gone:
        c.execute(labels.delete().where(labels.c.item_id.in_(gone)))
        c.execute(outbox.delete().where(outbox.c.item_id.in_(gone)))
        c.execute(unshown.delete().where(unshown.c.item_id.in_(gone)))
        leased = assignments.c.item_id.in_(gone) & (assignments.c.state == "leased")
        c.execute(assignments.update().where(leased).values(state="expired"))
        c.execute(items.update().where(items.c.id.in_(gone)).values(media="[]", truth=None, state="retired"))
    return len(gone)
