"""The benchmark of training on a small scale: it measures what it says, and its limits can be missed."""

from __future__ import annotations

import pytest

from benchmarks import training
from modeling.recipes.audio_to_motion import recipe
from modeling.recipes.renderer import renderer


def test_a_step_costs_more_than_its_data_and_no_memory() -> None:
    one = training.one_process(recipe("audio_to_motion_tiny", num_steps=30, batch_size=8))
    assert 0 < one["data_ratio"] < 1
    assert one["steps_per_cpu_s"] == pytest.approx(1 / one["step_cpu_s"])
    assert one["clip_s_per_cpu_s"] == pytest.approx(8 * one["steps_per_cpu_s"])
    assert 0.8 < one["growth_ratio"] < 1.2
    found = {"one": one, "two_ratio": 9.0}
    assert [ratio <= most for _, ratio, most in training.limits(found)][1:] == [True, False]


def test_a_renderers_training_is_measured_alike() -> None:
    made = renderer("renderer_tiny", num_steps=10)
    one = training.one_process(made)
    assert 0 < one["data_ratio"] < 1
    assert one["clip_s_per_cpu_s"] == pytest.approx(2 * 2 / 25 * one["steps_per_cpu_s"])
    assert 0.8 < one["growth_ratio"] < 1.2
    assert len({clip.who for clip in training.faces()}) == training.FACES


@pytest.mark.slow
def test_two_processes_are_told_by_what_both_spend() -> None:
    spent = training.processes_step_s(recipe("audio_to_motion_tiny", num_steps=40), 2)
    assert 0 < spent < 1
