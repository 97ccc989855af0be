"""Sample pictures of a renderer: the person's picture, then frames as filmed, as the warp shows them, and as drawn."""

from __future__ import annotations

import numpy as np
import torch

from modeling.motion_picture import HEAD_PX
from modeling.mouth_crop import SIDE_PX
from modeling.recipes.renderer import renderer
from modeling.renderer import RendererNet
from modeling.renderer_metrics import drawn
from modeling.renderer_picture import LANES, NAME_PX, NUM_FRAMES, draw_samples, shown_rows
from tests.unit.modeling.drawn_lips import GRAY, TEETH, face_clip


def shaken() -> RendererNet:
    torch.manual_seed(0)
    net = RendererNet(renderer("renderer_tiny")).eval()
    torch.nn.init.normal_(net.leave.weight, std=0.2)
    return net


def test_frames_stand_below_each_other_from_closed_lips_to_open_ones() -> None:
    clips, net = [face_clip(), face_clip("c1", "p1", seed=1)], shaken()
    picture = draw_samples(net, clips)
    tall = HEAD_PX + len(LANES) * SIDE_PX
    assert picture.shape == (2 * tall, (1 + NUM_FRAMES) * SIDE_PX + NAME_PX, 3)
    for number, clip in enumerate(clips):
        part = picture[number * tall + HEAD_PX :][: len(LANES) * SIDE_PX]
        assert np.array_equal(part[:SIDE_PX, :SIDE_PX], clip.references[0, 0])
        rows = shown_rows(clip)
        assert sorted(clip.gap[rows].tolist()) == clip.gap[rows].tolist()
        assert clip.gap[rows[0]] == clip.gap.min()
        assert clip.gap[rows[-1]] == clip.gap.max()
        cells = part[:, SIDE_PX + NAME_PX :].reshape(len(LANES), SIDE_PX, NUM_FRAMES, SIDE_PX, 3).swapaxes(1, 2)
        assert np.array_equal(cells[0], clip.true[rows])
        assert np.array_equal(cells[1], clip.warps[0, rows])
        assert [tuple(cells[lane, -1, 50, 48]) for lane in (0, 1)] == [TEETH, GRAY]
        off = np.abs(cells[2].astype(int) - drawn(net, clip, 0)[rows])
        assert off.max() <= 3, "as in a drawing of the whole clip, but for what is left of the frames long before"
        assert np.abs(cells[2].astype(int) - cells[1]).max() > 10
