"""Text in the picture: captions, banners, watermarks. What it says, how much of the frame it takes, what it covers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.face_geometry import Box, box_of, face_rows, main_faces
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, Output, Signal

FPS = 0.5
SIDE_PX = 640
MIN_BOX_SCORE = 0.5
MIN_READ_SCORE = 0.6
MIN_CHARS = 2
SAME_PLACE_IOU = 0.5
SAME_PIXELS = 10.0
"""Gray levels. A box at the same place is not read again when no eighth of its width differs by more on average: a
clock that moves on changes one digit only."""
NEAR_FRAMES = 10
WATERMARK_FRAMES, WATERMARK_SHARE, WATERMARK_DRIFT = 3, 0.9, 0.15
"""A watermark is read the same on nine of ten sampled frames, at least three, and the edges of its box stay within
0.15 of its height: so much the detector's own boxes wander."""

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column("text", pa.string(), "text", "lines read, top to bottom, each once, one a line; empty without text"),
        Column("num_boxes", pa.int32(), "count", "different pieces of text, by place", 0, 100_000),
        Column("char_count", pa.int32(), "count", "characters of `text` without white space", 0, 10_000_000),
        Column("text_ratio", pa.float32(), "ratio", "share of the frame's area within text boxes, mean", 0, 1, 5),
        Column(
            "persistent_ratio",
            pa.float32(),
            "ratio",
            "share of the sampled frames with the longest-lasting text",
            0,
            1,
            4,
        ),
        Column(
            "watermark",
            pa.string(),
            "text",
            "text that stands still all the time: a watermark, a logo, a fixed banner; empty in clips under 6 s",
        ),
        Column("watermark_ratio", pa.float32(), "ratio", "share of the frame's area within its boxes", 0, 1, 5),
        Column("over_face_ratio", pa.float32(), "ratio", "share of the main face under text boxes, mean", 0, 1, 4),
        Column("num_frames", pa.int32(), "count", "frames looked at", 1, 1_000_000),
    ),
    timeline=(
        Column(
            "piece", pa.int32(), "count", "number of the piece of text, from 0; the same while it stays", 0, 100_000
        ),
        Column("text", pa.string(), "text", "what it says"),
        Column("x0", pa.float32(), "px", "left edge of its box in the proxy", 0, 640, 1),
        Column("y0", pa.float32(), "px", "top edge", 0, 640, 1),
        Column("x1", pa.float32(), "px", "right edge", 0, 640, 1),
        Column("y1", pa.float32(), "px", "bottom edge", 0, 640, 1),
    ),
    needs=("faces",),
    look=Look(frames_fps=FPS),
    cost_cpu_s=0.029,
    weights=("ppocr_det", "ppocr_rec"),
    params={
        "fps": FPS,
        "side_px": SIDE_PX,
        "min_box_score": MIN_BOX_SCORE,
        "min_read_score": MIN_READ_SCORE,
        "min_chars": MIN_CHARS,
        "same_place_iou": SAME_PLACE_IOU,
        "same_pixels": SAME_PIXELS,
        "watermark": (WATERMARK_FRAMES, WATERMARK_SHARE, WATERMARK_DRIFT),
    },
    backend="pp_ocrv6_small",
    summary="Text found and read on one frame in two seconds; text of the scene itself (a shirt, a sign) counts too.",
    source="PP-OCRv6 (PaddleOCR), by RapidOCR on ONNX Runtime.",
)

_own = threading.local()


@dataclass
class Piece:
    """One piece of text at one place: its latest pixels, and its box on each frame that shows it."""

    pixels: np.ndarray
    text: str
    boxes: dict[int, Box] = field(default_factory=dict)

    @property
    def box(self) -> Box:
        """The latest."""
        return next(reversed(self.boxes.values()))

    def stands_still(self, num_frames: int) -> bool:
        """As a watermark does, on a clip of which so many frames were looked at."""
        if len(self.boxes) < max(WATERMARK_FRAMES, WATERMARK_SHARE * num_frames):
            return False
        edges = np.array([(b.x0, b.y0, b.x1, b.y1) for b in self.boxes.values()])
        height = float(np.median(edges[:, 3] - edges[:, 1]))
        return bool((np.ptp(edges, axis=0) <= WATERMARK_DRIFT * height).all())


def _reader() -> Any:
    """One reader per thread, of the files that infra.weights names; nothing is fetched."""
    if not hasattr(_own, "reader"):
        from rapidocr import RapidOCR

        _own.reader = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "Det.model_path": str(weights.path("ppocr_det")),
                "Det.limit_type": "max",
                "Det.limit_side_len": SIDE_PX,
                "Det.box_thresh": MIN_BOX_SCORE,
                "Rec.model_path": str(weights.path("ppocr_rec")),
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
    return _own.reader


def find_text(image_bgr: np.ndarray) -> np.ndarray:
    """Corners (N, 4, 2) of text boxes in pixels, top to bottom."""
    found = _reader()(image_bgr, use_det=True, use_cls=False, use_rec=False)
    return np.zeros((0, 4, 2), np.float32) if found.boxes is None else np.asarray(found.boxes, np.float32)


def read_text(image_bgr: np.ndarray, corners: np.ndarray) -> str:
    """The text in one box; empty when it is not surely text."""
    reader = _reader()
    read = reader.recognize_txt(reader.crop_text_regions(image_bgr, corners[None]))
    text = str(read.txts[0]).strip()
    letters = sum(c.isalnum() for c in text)
    return text if read.scores[0] >= MIN_READ_SCORE and letters >= MIN_CHARS else ""


def compute(media: Media, needs: Needs) -> Output:
    import cv2

    frames = media.at(FPS)
    pieces: list[Piece] = []
    for frame in frames:
        image = cv2.cvtColor(media.image(frame, SIDE_PX), cv2.COLOR_RGB2BGR)
        for corners in find_text(image):
            _put(pieces, image, corners, frame)
    shown = [piece for piece in pieces if piece.text]
    boxes = {frame: [p.boxes[frame] for p in shown if frame in p.boxes] for frame in frames}
    text = "\n".join(dict.fromkeys(piece.text for piece in shown))
    still = [piece for piece in shown if piece.stands_still(len(frames))]
    area = media.width_px * media.height_px
    return Output(
        row={
            "text": text,
            "num_boxes": len(shown),
            "char_count": sum(not c.isspace() for c in text),
            "text_ratio": float(np.mean([min(1.0, sum(b.area_px for b in boxes[f]) / area) for f in frames])),
            "persistent_ratio": max((len(p.boxes) / len(frames) for p in shown), default=0.0),
            "watermark": "\n".join(dict.fromkeys(piece.text for piece in still)),
            "watermark_ratio": min(1.0, sum(p.box.area_px for p in still) / area),
            "over_face_ratio": _over_face(boxes, needs["faces"]),
            "num_frames": len(frames),
        },
        timeline=_timeline(shown),
    )


def _timeline(shown: list[Piece]) -> pa.Table:
    """One row per piece and frame, by frame."""
    rows = sorted((frame, number) for number, piece in enumerate(shown) for frame in piece.boxes)
    columns: dict[str, list[Any]] = {"frame": [], **{c.name: [] for c in SIGNAL.timeline}}
    for frame, number in rows:
        piece = shown[number]
        columns["frame"].append(frame)
        columns["piece"].append(number)
        columns["text"].append(piece.text)
        for edge in ("x0", "y0", "x1", "y1"):
            columns[edge].append(getattr(piece.boxes[frame], edge))
    schema = pa.schema([("frame", pa.int32()), *((c.name, c.dtype) for c in SIGNAL.timeline)])
    return pa.table(columns, schema=schema)


def _put(pieces: list[Piece], image: np.ndarray, corners: np.ndarray, frame: int) -> None:
    """Adds a box to the piece seen before at this place with the same pixels, else to a new one that is read.

    A piece at the same place that reads the same is the same piece though its background changed.
    """
    height, width = image.shape[:2]
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    box = Box(max(float(x0), 0.0), max(float(y0), 0.0), min(float(x1), width), min(float(y1), height))
    pixels = _thumbnail(image, box)
    if pixels is None:
        return
    near = [p for p in pieces if frame not in p.boxes and p.box.iou(box) >= SAME_PLACE_IOU]
    changes = [float(np.abs(p.pixels - pixels).reshape(16, 8, 8).mean(axis=(0, 2)).max()) for p in near]
    same = [p for p, change in zip(near, changes, strict=True) if change < SAME_PIXELS]
    if not same:
        text = read_text(image, corners)
        same = [p for p in near if p.text == text] or [Piece(pixels, text)]
    piece = same[0]
    if not piece.boxes:
        pieces.append(piece)
    piece.pixels = pixels
    piece.boxes[frame] = box


def _thumbnail(image: np.ndarray, box: Box) -> np.ndarray | None:
    import cv2

    part = image[int(box.y0) : int(np.ceil(box.y1)), int(box.x0) : int(np.ceil(box.x1))]
    if part.size == 0:
        return None
    gray = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(gray, (64, 16), interpolation=cv2.INTER_AREA), np.float32)


def _over_face(boxes: dict[int, list[Box]], faces: pa.Table) -> float:
    """Mean share of the main face that text boxes cover, over the frames that have a face nearby; 0 without one."""
    main = [(int(row["frame"]), box_of(row)) for _, row in main_faces(face_rows(faces))]
    shares = []
    for frame, texts in boxes.items():
        near = [(abs(at - frame), at, face) for at, face in main if abs(at - frame) <= NEAR_FRAMES]
        if not near:
            continue
        face = min(near, key=lambda n: n[:2])[2]
        covered = sum(face.overlap_px(text) for text in texts)
        shares.append(min(1.0, covered / face.area_px) if face.area_px > 0 else 0.0)
    return float(np.mean(shares)) if shares else 0.0
