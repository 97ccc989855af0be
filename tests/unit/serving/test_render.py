"""From a sound file and a portrait to a talking MP4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import soundfile

from modeling.mouth_inside import painted_inside
from serving import avatar as avatars
from serving import portrait as pictures
from serving import render as rendering
from serving.avatar import avatar, of_clip, of_picture
from serving.render import read_blocks, render, render_folder
from serving.serve import people_of
from serving.talking import motion_module
from store import deployments
from store.workspace import Workspace, open_workspace
from tasks.signals import landmarks
from tests.drawn_face import draw_face, wall
from tests.unit.modeling.spoken_corpus import fill_spoken
from tests.unit.modeling.spoken_motion import made_clip
from tests.unit.serving.faces import net, publish
from tests.unit.serving.talker import published


def portrait(folder: Path, name: str = "ann.png", image: np.ndarray | None = None) -> Path:
    image = draw_face(wall(320, 320), 160, 150, 150) if image is None else image
    cv2.imwrite(str(folder / name), image[..., ::-1])
    return folder / name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(tmp_path_factory.mktemp("rendered") / "ws")
    fill_spoken(made)
    published(made)
    return made


def test_a_portrait_says_a_sound_file(place: Workspace, tmp_path: Path) -> None:
    sound = made_clip("c", "p", 1.5).sound[:-100]
    soundfile.write(tmp_path / "said.wav", np.stack([sound, sound], axis=1), 16_000)
    told = render(place, tmp_path / "said.wav", str(portrait(tmp_path)), tmp_path / "out.mp4", side_px=96)
    assert told["frames"] == 38
    assert told["real_time_factor"] > 0
    with av.open(told["path"]) as container:
        assert container.streams.audio[0].rate == 16_000
        pictures = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(int)
    assert pictures.shape == (38, 96, 96, 3)
    assert np.abs(np.diff(pictures, axis=0)).mean() > 0.05
    reference = of_picture(tmp_path / "ann.png", 96).plate.picture.astype(int)
    assert np.abs(pictures[0] - reference).mean() < 12


def test_what_is_deployed_speaks_and_not_the_latest(tmp_path: Path) -> None:
    place = open_workspace(tmp_path / "ws")
    deployed, latest = published(place), published(place, note="later")
    soundfile.write(tmp_path / "said.wav", made_clip("c", "p", 0.2).sound, 16_000)

    def said() -> str:
        told = render(place, tmp_path / "said.wav", str(portrait(tmp_path)), tmp_path / "out.mp4", side_px=96)
        return str(told["checkpoint"])

    assert said() == latest
    deployments.first(place, deployed)
    assert said() == deployed


def test_a_clip_makes_an_avatar_with_its_own_rest(place: Workspace) -> None:
    made = avatar(place, "ca")
    assert (made.key, made.name, made.plate.picture.shape) == ("ca", "va", (256, 256, 3))
    assert made.person.scale[0] > 0.01
    assert made.plate.points[:, :2].min() > -40
    assert {a.key for a in people_of(place)} == {
        "ca",
        "cb",
        "cc",
        "ce",
    }  # cd is of the same person as ca; cf has no mesh


def test_a_clip_that_makes_none_says_why(place: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="avatar cf: no mesh is stored of it"):
        of_clip(place, "cf")
    with pytest.raises(ValueError, match="avatar nobody: no such clip is active"):
        of_clip(place, "nobody")
    with pytest.raises(ValueError, match="a clip needs a workspace"):
        avatar(None, "ca")
    with pytest.raises(ValueError, match="no clip of the workspace makes an avatar"):
        people_of(open_workspace(tmp_path / "empty"))


def test_a_picture_that_makes_none_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture")
    two = draw_face(draw_face(wall(640, 320), 160, 150, 150), 480, 150, 150)
    cases = {
        "there is no such picture": Path("/nowhere/ann.png"),
        "is no picture that can be read": tmp_path / "text.png",
        "shows no face": portrait(tmp_path, "wall.png", wall()),
        "shows 2 faces; cut the picture to one": portrait(tmp_path, "two.png", two),
        "px high; it must have 64": portrait(tmp_path, "small.png", draw_face(wall(320, 320), 160, 150, 50)),
        "is cut off by the picture's edge": portrait(tmp_path, "cut.png", draw_face(wall(320, 320), 160, 45, 150)),
    }
    for why, file in cases.items():
        with pytest.raises(ValueError, match=why):
            avatar(None, str(file))
    good = portrait(tmp_path)
    for module, name, value, why in (
        (pictures, "MOST_PICTURE_BYTES", 10, "bytes, at most 10 are read"),
        (pictures, "MOST_PICTURE_PX", 10, "320 x 320 pixels, at most 10 are read"),
        (avatars, "MOST_PITCH_DEG", -1.0, "an avatar needs one that looks at the camera"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(module, name, value)
            with pytest.raises(ValueError, match=why):
                of_picture(good)
    monkeypatch.setattr(landmarks, "MIN_PRESENCE", 1.1)
    with pytest.raises(ValueError, match="its face can't be made out"):
        of_picture(good)


def test_without_a_checkpoint_it_says_what_trains_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="headroom train audio_to_motion --tier a2v_bronze trains one"):
        motion_module(open_workspace(tmp_path / "ws"))
    with pytest.raises(ValueError, match="'abcdef': no checkpoint"):
        motion_module(open_workspace(tmp_path / "ws"), "abcdef")


def test_sound_that_cannot_be_said_says_why(place: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.wav").write_text("no sound" * 100)
    silent = tmp_path / "silent.mp4"
    with av.open(str(silent), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    for why, name in (
        ("there is no such file", "gone.wav"),
        ("can't be decoded", "text.wav"),
        ("the file has none; give one with a voice", "silent.mp4"),
        ("the file has none; give one with a voice", "empty.wav"),
    ):
        with pytest.raises(ValueError, match=why):
            list(read_blocks(tmp_path / name))
    soundfile.write(tmp_path / "long.wav", np.zeros(16_000), 16_000)
    monkeypatch.setattr(rendering, "MOST_S", 0.5)
    with pytest.raises(ValueError, match="cut it"):
        render(place, tmp_path / "long.wav", str(portrait(tmp_path)), tmp_path / "out.mp4", side_px=96)
    assert not list(tmp_path.glob("*out*"))  # nothing half done is left


def test_painted_teeth_lie_below_the_upper_lip() -> None:
    from tests.unit.serving.faces import plate

    made = plate()
    x, y = made.points[13, :2].astype(int)
    inside = painted_inside(made.picture, made.points).astype(int).sum(axis=2)
    assert inside[y + 1, x] > 2 * inside[y + 6, x]


def test_a_folder_is_said_at_once_as_each_would_be_alone(place: Workspace, tmp_path: Path) -> None:
    drawn_by = publish(place, net())
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for name, seconds in (("long", 1.2), ("short", 0.4), ("middle", 0.7)):
        soundfile.write(sounds / f"{name}.wav", made_clip(name, "p", seconds).sound, 16_000)
    (sounds / "broken.wav").write_bytes(b"no sound")
    person = str(portrait(tmp_path))

    def said(*, at_once: int = 2) -> dict[str, Any]:
        return render_folder(place, sounds, person, tmp_path / "out", side_px=96, renderer=drawn_by, at_once=at_once)

    told = said()
    assert sorted(told["rendered"]) == ["long.wav", "middle.wav", "short.wav"]
    assert list(told["failed"]) == ["broken.wav"]
    assert "can't be decoded" in told["failed"]["broken.wav"]
    assert told["frames"] == 30 + 10 + 18
    for name in ("long", "short", "middle"):
        alone = render(place, sounds / f"{name}.wav", person, tmp_path / "alone.mp4", side_px=96, renderer=drawn_by)
        together, by_itself = (_pictures(Path(f)) for f in (tmp_path / "out" / f"{name}.mp4", alone["path"]))
        assert together.shape == by_itself.shape
        assert np.abs(together - by_itself).mean() < 0.5

    again = said()
    assert (again["rendered"], again["kept"], list(again["failed"])) == ([], 3, ["broken.wav"])
    soundfile.write(sounds / "short.wav", made_clip("other", "p", 0.5).sound, 16_000)
    (sounds / "broken.wav").unlink()
    (tmp_path / "out" / "middle.mp4").unlink()
    changed = said(at_once=1)
    assert (sorted(changed["rendered"]), changed["kept"], changed["failed"]) == (["middle.wav", "short.wav"], 1, {})


def test_a_folder_that_can_not_be_said_says_why(place: Workspace, tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    with pytest.raises(ValueError, match="holds no file; give a folder of sound files"):
        render_folder(place, tmp_path / "sounds", "ca", tmp_path / "out")
    for name in ("a.wav", "a.mp3"):
        (tmp_path / "sounds" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"two files are called a, and both would be a\.mp4"):
        render_folder(place, tmp_path / "sounds", "ca", tmp_path / "out")


def _pictures(file: Path) -> np.ndarray:
    with av.open(str(file)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)]).astype(int)
