"""Blinks of real people, seen by eye: what the eyes' measures are held against.

All frames of the first 10 s of each file of talk/ were looked at on contact sheets of the eyes, on the grid of 25 fps.
Wherever the mesh's lids come nearer each other by a fifth larger pictures were looked at too, and what the signal finds
was marked on those. A blink is both lids coming down until hardly any iris shows, and up again. Where that can't be told
(lowered looks, half blinks, eyes in shadow) the frames are listed as unclear and count neither way.
"""

from __future__ import annotations

Span = tuple[int, int]

BLINKS: dict[str, tuple[tuple[int, ...], tuple[Span, ...]]] = {
    "inft__ref_video.mp4": ((84, 116), ()),
    "latent__demo1_video.mp4": ((3, 50, 70, 93, 129, 162, 184, 212), ((247, 250),)),
    "latent__demo3_video.mp4": ((29, 57, 103, 132, 165, 195, 225, 232), ((121, 125),)),
    "lipnet__bbaf2n.mpg": ((43, 52), ()),
    "lipnet__brbk7n.mpg": ((22,), ()),
    "lipnet__id2_vcd_swwp2s.mpg": ((28, 44), ((70, 75),)),
    "lipnet__lbax4n.mpg": ((28,), ()),
    "lipnet__lbbc2a.mpg": ((), ()),
    "lipnet__lrwp9a.mpg": ((), ((35, 75),)),
    "lipnet__lwbsza.mpg": ((), ()),
    "lipnet__pwij3p.mpg": ((35, 49), ()),
    "lipnet__sbia1a.mpg": ((), ()),
    "lipnet__sbwe5n.mpg": ((24,), ()),
    "livep__d10.mp4": ((186,), ()),
    "livep__d11.mp4": ((), ((122, 160),)),
    "livep__d12.mp4": ((49, 93, 136), ()),
    "livep__d14.mp4": ((15, 43, 55, 66, 91, 238), ((77, 81), (96, 182), (216, 220))),
    "livep__d20.mp4": ((), ()),
    "pcavs__00015.mp4": ((), ((0, 12),)),
    "pcavs__00067.mp4": ((63, 108), ((51, 56),)),
    "pcavs__00086.mp4": ((32, 44), ()),
    "pcavs__00098.mp4": ((), ((0, 246),)),
    "pcavs__00473.mp4": ((9, 26, 57, 88, 133), ()),
    "pcavs__517600055.mp4": ((45, 50, 81, 88), ()),
    "pcavs__620900105.mp4": ((), ((0, 108),)),
    "pcavs__681100216.mp4": ((26, 104, 190, 214, 226), ((49, 54), (65, 70))),
    "pcavs__796100172.mp4": ((29, 80, 150), ((56, 76), (95, 116))),
    "retalk__1.mp4": ((93,), ()),
    "retalk__2.mp4": ((), ()),
    "retalk__3.mp4": ((12, 28, 36, 58, 83, 99, 113), ()),
    "retalk__4.mp4": ((25, 32, 64, 73, 105, 116), ()),
    "retalk__5.mp4": ((10, 16), ()),
    "sad__RD_Radio2_000.mp4": ((44, 54), ()),
    "sad__RD_Radio34_000.mp4": ((), ()),
    "sad__WDA_AlexandriaOcasioCortez_000.mp4": ((11, 26, 34, 57, 81, 97, 111, 129, 151, 178), ()),
    "sad__WDA_BobMenendez_000.mp4": ((39, 155), ()),
    "sad__WDA_KatieHill_000.mp4": ((24, 32, 113, 171), ()),
}
"""Of each file: a frame in the middle of each blink, and the unclear spans [first, end)."""
