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

SIGNAL = Signal(
    grain="clip",
    version=1,
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
        Column("over_face_ratio", pa.float32(), "ratio", "share of the main face under text boxes, mean", 0, 1, 4),
        Column("num_frames", pa.int32(), "count", "frames looked at", 1, 1_000_000),
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
    },
    backend="pp_ocrv6_small",
    summary="Text found and read on one frame in two seconds; text of the scene itself (a shirt, a sign) counts too.",
    source="PP-OCRv6 (PaddleOCR), by RapidOCR on ONNX Runtime.",
)

_own = threading.local()


@dataclass
class Piece:
    """One piece of text at one place: its latest box and pixels, and the frames that show it."""

    box: Box
    pixels: np.ndarray
    text: str
    frames: list[int] = field(default_factory=list)


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
    boxes: dict[int, list[Box]] = {}
    for frame in frames:
        image = cv2.cvtColor(media.image(frame, SIDE_PX), cv2.COLOR_RGB2BGR)
        boxes[frame] = []
        for corners in find_text(image):
            piece = _same_piece(pieces, image, corners, frame)
            if piece is not None:
                piece.frames.append(frame)
                if piece.text:
                    boxes[frame].append(piece.box)
    shown = [piece for piece in pieces if piece.text]
    lines = list(dict.fromkeys(piece.text for piece in shown))
    text = "\n".join(lines)
    area = media.width_px * media.height_px
    return Output(
        row={
            "text": text,
            "num_boxes": len(shown),
            "char_count": sum(not c.isspace() for c in text),
            "text_ratio": float(np.mean([min(1.0, sum(b.area_px for b in boxes[f]) / area) for f in frames])),
            "persistent_ratio": max((len(set(p.frames)) / len(frames) for p in shown), default=0.0),
            "over_face_ratio": _over_face(boxes, needs["faces"]),
            "num_frames": len(frames),
        }
    )


def _same_piece(pieces: list[Piece], image: np.ndarray, corners: np.ndarray, frame: int) -> Piece | None:
    """The piece seen before at this place with the same pixels, else a new one that is read; None for an empty box.

    A piece at the same place that reads the same is the same piece though its background changed.
    """
    height, width = image.shape[:2]
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    box = Box(max(float(x0), 0.0), max(float(y0), 0.0), min(float(x1), width), min(float(y1), height))
    pixels = _thumbnail(image, box)
    if pixels is None:
        return None
    near = [p for p in pieces if frame not in p.frames and p.box.iou(box) >= SAME_PLACE_IOU]
    for piece in near:
        if float(np.abs(piece.pixels - pixels).reshape(16, 8, 8).mean(axis=(0, 2)).max()) < SAME_PIXELS:
            piece.box, piece.pixels = box, pixels
            return piece
    text = read_text(image, corners)
    for piece in near:
        if piece.text == text:
            piece.box, piece.pixels = box, pixels
            return piece
    pieces.append(Piece(box, pixels, text))
    return pieces[-1]


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
