"""The renderer: paints over the lower face what the warp of one picture lacks: teeth, tongue, shadow, and seams of skin.

    made = warp + fade * change(warp, lips, identity, state)

The last layer begins at nought, so an untrained renderer gives the warp itself, pixel by pixel, and the fade is nothing at
the square's border, so what is painted has no edge. `identity` is encoded once of a person's picture and the inside of the
mouth; `state` are features of the frame before. It is small: a frame takes a few milliseconds of one core.

Legend: B batch, T frames after each other, C channels, S side in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeling.mouth_crop import SIDE_PX, fade
from modeling.recipes.renderer import Renderer

GIVEN = 5
"""Channels of a frame: the warp's three, the gap between the lips, and all within their outline; each from 0 to 1."""
REFERENCE = 6
"""Of a person: the picture's square, and that of the mouth's inside."""


class RendererNet(nn.Module):
    """`identity` once per person, then frame by frame `made, state = net(given, identity, state)`, begun with `start`."""

    def __init__(self, recipe: Renderer) -> None:
        super().__init__()
        self.recipe = recipe
        wide, blocks = recipe.width, recipe.num_blocks
        self.who = nn.Sequential(
            nn.PixelUnshuffle(4), nn.Conv2d(16 * REFERENCE, 2 * wide, 1), nn.ReLU(),
            Block(2 * wide), Block(2 * wide), nn.Conv2d(2 * wide, recipe.identity_width, 1),
        )  # fmt: skip
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * GIVEN, wide, 3, padding=1), nn.ReLU())
        self.fine = nn.Sequential(*(Block(wide) for _ in range(blocks)))
        self.down = nn.Conv2d(wide, 2 * wide, 3, stride=2, padding=1)
        self.join = nn.Conv2d(2 * wide + recipe.identity_width + recipe.state_width, 2 * wide, 1)
        self.middle = nn.Sequential(*(Block(2 * wide) for _ in range(blocks)))
        self.deeper = nn.Conv2d(2 * wide, 3 * wide, 3, stride=2, padding=1)
        self.deep = nn.Sequential(*(Block(3 * wide) for _ in range(blocks)))
        self.rise = nn.Sequential(nn.Conv2d(3 * wide, 8 * wide, 1), nn.PixelShuffle(2))
        self.late = nn.Sequential(*(Block(2 * wide) for _ in range(blocks)))
        self.hand_on = nn.Conv2d(2 * wide, recipe.state_width, 1)
        self.up = nn.Sequential(nn.Conv2d(2 * wide, 4 * wide, 1), nn.PixelShuffle(2))
        self.last = nn.Sequential(*(Block(wide) for _ in range(blocks)))
        self.leave = nn.Conv2d(wide, 12, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)
        self.shuffle = nn.PixelShuffle(2)
        self.register_buffer("fade", torch.from_numpy(fade())[None, None], persistent=False)

    def blocks(self) -> list[nn.Module]:
        """What is compiled, and spread over devices, piece by piece."""
        return [part for part in self.modules() if isinstance(part, Block)]

    def start(self, batch: int = 1) -> Tensor:
        """The state before the first frame."""
        side = SIDE_PX // 4
        return torch.zeros(batch, self.recipe.state_width, side, side, device=self.leave.weight.device)

    def identity(self, reference_BCSS: Tensor) -> Tensor:
        made: Tensor = self.who(reference_BCSS)
        return made

    def forward(self, given_BCSS: Tensor, identity: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The square as it is to be, (B, 3, S, S), and the state after it. Values may leave [0, 1] by a little."""
        fine = self.fine(self.enter(given_BCSS))
        middle = self.middle(self.join(torch.cat([self.down(fine), identity, state], dim=1)))
        late = self.late(middle + self.rise(self.deep(self.deeper(middle))))
        after = torch.tanh(self.hand_on(late))
        change = self.shuffle(self.leave(self.last(fine + self.up(late))))
        return given_BCSS[:, :3] + self.fade * change, after


class Unrolled(nn.Module):
    """The network over frames that follow each other, in one call: that is how it is trained."""

    def __init__(self, net: RendererNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, given_BTCSS: Tensor, reference_BCSS: Tensor) -> Tensor:
        """(B, T, 3, S, S)."""
        reference = reference_BCSS.contiguous(memory_format=torch.channels_last)
        identity, state, made = self.net.identity(reference), self.net.start(len(reference)), []
        for given in given_BTCSS.unbind(1):
            one, state = self.net(given.contiguous(memory_format=torch.channels_last), identity, state)
            made.append(one)
        return torch.stack(made, dim=1)


class Block(nn.Module):
    """A separable convolution beside what comes in: 5 x 5 of each channel, then across channels, twice as wide within."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.each = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x + self.narrow(torch.relu(self.widen(self.each(x))))
        return made
