"""The Lance tables: their columns and keys. Every table has one string key; rows are upserted by it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

S, I32, I64, U64, F64, B = pa.string(), pa.int32(), pa.int64(), pa.uint64(), pa.float64(), pa.bool_()

PROVENANCE: list[tuple[str, pa.DataType]] = [
    ("status", S),
    ("reason", S),
    ("fingerprint", S),
    ("input_digest", U64),
    ("output_digest", U64),
    ("computed_at", F64),
    ("attempts", I32),
    ("not_before", F64),
]
"""Carried by every computed row. `computed_at` and `not_before` are Unix seconds."""

VIDEOS = pa.schema(
    [
        ("video_id", S),
        ("name", S),
        ("uri", S),
        ("num_bytes", I64),
        ("state", S),  # new | done | quarantined | removed: quarantined once, and its file is gone or mended since
        ("stage", S),  # the stage that quarantined or rejected it
        ("reason", S),
        ("tool_version", S),
        ("ingested_at", F64),
        ("container", S),
        ("video_codec", S),
        ("audio_codec", S),
        ("duration_s", F64),
        ("source_fps", F64),
        ("source_width_px", I32),
        ("source_height_px", I32),
        ("rotation", I32),
        ("crop_x0", I32),
        ("crop_y0", I32),
        ("crop_x1", I32),
        ("crop_y1", I32),
        ("source_start_s", F64),
        ("has_audio", B),
        ("audio_reason", S),
        ("num_frames", I32),
        ("first_frame", I32),  # those before it repeat the first picture: it starts later than the sound
        ("width_px", I32),
        ("height_px", I32),
        ("proxy_uri", S),
        ("audio_uri", S),
        ("proxy_sha256", S),
        ("audio_sha256", S),
        ("normalise_fingerprint", S),
        ("normalise_cpu_s", F64),
        ("rejected", S),  # the prefilter's reason; such a video gets no signals and no clips
        ("duplicate_ratio", F64),
        ("static_ratio", F64),
        ("black_ratio", F64),
        ("mean_motion", F64),
        ("phash", S),
        ("attempts", I32),
        ("not_before", F64),
    ]
)

CLIPS = pa.schema(
    [
        ("clip_id", S),
        ("video_id", S),
        ("start_frame", I32),
        ("end_frame", I32),
        ("start_s", F64),  # on the source's own clock
        ("end_s", F64),
        ("duration_s", F64),
        ("source_width_px", I32),
        ("source_height_px", I32),
        ("source_fps", F64),
        ("active", B),  # chosen by the clipping run in force; retired clips keep their rows
        ("created_at", F64),
    ]
)

CLIPPING = pa.schema(
    [
        ("key", S),  # run:video_id:clip_id
        ("run", S),
        ("video_id", S),
        ("clip_id", S),  # NULL when the video yields no clip; then `reason` says why
        ("start_frame", I32),
        ("end_frame", I32),
        ("reason", S),
        ("binding", S),
        ("computed_at", F64),
    ]
)

TIMELINES = pa.schema(
    [
        ("key", S),  # video_id:name:window, or clip_id:name
        ("video_id", S),
        ("clip_id", S),
        ("name", S),
        ("grain", S),
        ("window_index", I32),
        ("start_frame", I32),
        ("end_frame", I32),
        *PROVENANCE,
        ("num_rows", I32),
        ("payload", pa.large_binary()),  # Arrow IPC stream, zstd
    ]
)

RIGHTS = pa.schema([("video_id", S), ("licence", S), ("consent", S), ("origin", S), ("told_by", S)])

IDENTITIES = pa.schema(
    [
        ("clip_id", S),
        ("video_id", S),
        ("identity", S),  # NULL when the clip shows no face that can be told
        ("fingerprint", S),
        ("input_digest", U64),  # of the face embedding it was made from
        ("computed_at", F64),
    ]
)

FACE_LINKS = pa.schema(
    [
        ("clip_id", S),
        ("video_id", S),
        ("digest", U64),  # of the face embedding that was compared; NULL once the clip has left
        ("others", pa.list_(S)),  # its nearest clips, the nearest first
        ("cosines", pa.list_(pa.float32())),
        # Of their embeddings: an entry holds while the clip's present one is this. Signed, since Lance does not filter a table
        # that has unsigned numbers in a list.
        ("digests", pa.list_(I64)),
        ("fingerprint", S),
        ("computed_at", F64),
    ]
)

DUPLICATES = pa.schema(
    [
        ("clip_id", S),
        ("video_id", S),
        ("cluster", S),  # the least of the ids of all clips that copies connect; NULL for a clip without a copy
        ("kept", B),
        ("best", S),  # the kept clip that this one is a copy of; NULL for a kept one
        ("reason", S),  # why it is not kept
        ("compared_digest", U64),  # of the picture and movement that were last compared with all others
        ("compared_by", S),  # the recipe of comparing
        ("fingerprint", S),  # the recipe of choosing
        ("input_digest", U64),  # on the row of no clip: of all that the choices rest on
        ("computed_at", F64),
    ]
)

DUPLICATE_PAIRS = pa.schema(
    [
        ("key", S),  # clip_a:clip_b, clip_a < clip_b
        ("clip_a", S),
        ("clip_b", S),
        ("cosine", F64),  # of the embeddings
        ("agreement", F64),  # of the movements at the best shift and speed
        ("digest_a", U64),  # what was compared: the pair holds while the clips' present digests are these
        ("digest_b", U64),
        ("fingerprint", S),
        ("computed_at", F64),
    ]
)

PAIRS = pa.schema(
    [
        ("key", S),  # clip_a:clip_b, clip_a <= clip_b
        ("clip_a", S),
        ("clip_b", S),  # the same clip on the row that says with whom it was compared
        ("identity", S),
        ("face_similarity", F64),  # cosine of the face embeddings
        ("background_similarity", F64),  # cosine of the background embeddings
        ("held", B),  # false once the clips are no pair any more
        ("digest", U64),  # on the row of a clip with itself: of all clips of its person when they were compared
        ("fingerprint", S),
        ("computed_at", F64),
    ]
)

LABELS = pa.schema(
    [
        ("key", S),  # item:side:question
        ("item", S),  # what the raters were shown, by the annotation database's own id for it
        ("version", I64),  # of the item's label: a later decision has a higher one
        ("video_id", S),
        ("clip_id", S),  # as it was cut when it was shown; what counts is the span
        ("start_frame", I32),
        ("end_frame", I32),
        ("other_video_id", S),  # the other side of a pair
        ("other_clip_id", S),
        ("task_type", S),
        ("schema", S),
        ("schema_version", I64),
        ("question", S),  # a dimension, an attribute, or a kind of bad case
        ("number", F64),  # a rating; 1 or 0 for a bad case that was flagged or not
        ("text", S),  # a choice; several, sorted, with commas; won, lost, tie or both_bad of a pair
        ("list", pa.list_(S)),  # the choices of a question that takes several
        ("detail", S),  # JSON: spans in seconds of the clip, and boxes
        ("num_raters", I32),
        ("agreement", F64),  # mean likeness of the raters' answers to the question, two by two; NULL under two
        ("confidence", F64),  # Dawid-Skene posterior of the value; NULL where too few answers tell
        ("how", S),  # consensus | adjudicated
        ("decided_at", F64),
        ("active", B),  # false once its gold was retired
    ]
)

LOG = pa.schema(
    [
        ("video_id", S),
        ("clip_id", S),
        ("signal", S),
        ("grain", S),
        ("window_index", I32),
        *PROVENANCE[:6],
        ("cpu_s", F64),
        ("model_s", F64),
        ("media_s", F64),
        ("host", S),
    ]
)

SIGNALS_BASE = pa.schema([("clip_id", S), ("video_id", S), ("active", B)])

KEYS = {
    "videos": "video_id",
    "clips": "clip_id",
    "clipping": "key",
    "timelines": "key",
    "rights": "video_id",
    "signals": "clip_id",
    "identities": "clip_id",
    "face_links": "clip_id",
    "duplicates": "clip_id",
    "duplicate_pairs": "key",
    "pairs": "key",
    "labels": "key",
}
BASE_SCHEMAS = {
    "videos": VIDEOS,
    "clips": CLIPS,
    "clipping": CLIPPING,
    "timelines": TIMELINES,
    "rights": RIGHTS,
    "signals": SIGNALS_BASE,
    "log": LOG,
    "identities": IDENTITIES,
    "face_links": FACE_LINKS,
    "duplicates": DUPLICATES,
    "duplicate_pairs": DUPLICATE_PAIRS,
    "pairs": PAIRS,
    "labels": LABELS,
}

MADE_FROM: dict[str, tuple[str, ...]] = {
    "identities": ("face_embedding",),
    "duplicates": ("embedding", "temporal_signature", "visual_quality"),
    "pairs": ("face_embedding", "background_embedding"),
}
"""The signals behind each relation over all clips. A clip's row rests on those of other clips, so a tier that reads the
relation wants them of every clip."""


def signal_fields(signal: str, columns: list[tuple[str, pa.DataType]]) -> list[pa.Field]:
    """The wide table's fields of one clip signal: its value columns, then its provenance."""
    return [pa.field(f"{signal}_{name}", dtype) for name, dtype in [*columns, *PROVENANCE]]


def columns_of(signal: str, wide: Sequence[str]) -> list[str]:
    """The columns of the wide table that are the signal's, and no other's whose name begins alike."""
    owners = {n.removesuffix("_input_digest") for n in wide if n.endswith("_input_digest")} | {signal}
    return [n for n in wide if max((o for o in owners if n.startswith(f"{o}_")), key=len, default="") == signal]


def embedding_schema(dim: int) -> pa.Schema:
    return pa.schema(
        [
            ("clip_id", S),
            ("video_id", S),
            ("vector", pa.list_(pa.float32(), dim)),
            ("fingerprint", S),
            ("output_digest", U64),
        ]
    )


def embeddings_table(signal: str, vector: str) -> str:
    return f"embeddings_{signal}_{vector}"


def narrow(table: str, fingerprint: str) -> str:
    """The table beside `table` that holds the rows of one version of a signal, which readers don't see: a candidate's,
    or those that it replaced."""
    return f"{table}@{fingerprint}"


def is_narrow(table: str) -> bool:
    return "@" in table


def key_of(table: str) -> str:
    return KEYS.get(table.partition("@")[0], "clip_id")
