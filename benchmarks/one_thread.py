"""Import before anything numeric: libraries read these when they are loaded. Seconds then mean one core's seconds."""

from __future__ import annotations

import os

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
os.environ.update(dict.fromkeys(NAMES, "1"))
