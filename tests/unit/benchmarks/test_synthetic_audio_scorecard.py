from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scorecards import synthetic_audio
from benchmarks.scorecards.synthetic_audio import Judged, against, joined, taken


def values(*scores: float, made: bool) -> list[Judged]:
    return [Judged(s, s, 10 * s, made) for s in scores]


def test_auc_is_over_both_kinds_and_the_baseline_over_levels() -> None:
    row = against("x", {"ann": values(0.1, 0.6, made=False)}, {"joe": values(0.5, 0.9, made=True)})
    assert (row.value, row.baseline, row.n, row.people) == (0.75, 0.75, 4, 2)
    assert row.goal == 0.9


def test_one_person_s_values_stay_together() -> None:
    both = joined({"ann": values(0.1, made=False)}, {"ann": values(0.9, made=True)})
    assert [v.made for v in both["ann"]] == [False, True]
    assert taken(both["ann"]) == 0.5


def test_level_is_high_where_little_lies_above_4_khz(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.signal import NotApplicable, Output

    row = {"synthetic_score": 0.3, "synthetic_ratio": 0.0, "speech_s": 1.0}
    monkeypatch.setattr(synthetic_audio.synthetic_audio, "compute", lambda media, needs: Output(row=row))
    monkeypatch.setattr(synthetic_audio, "activity", lambda audio: None)
    time_s = np.arange(16_000) / 16_000
    low, high = (np.sin(2 * np.pi * hz * time_s).astype(np.float32) for hz in (1000, 6000))
    told = synthetic_audio.judged(low + np.float32(0.1) * high, True)
    assert told is not None
    assert (told.score, told.made) == (0.3, True)
    assert told.level == pytest.approx(20, abs=0.1)

    def refuse(*_: object) -> Output:
        raise NotApplicable("under 1 s of speech")

    monkeypatch.setattr(synthetic_audio.synthetic_audio, "compute", refuse)
    assert synthetic_audio.judged(low, True) is None
