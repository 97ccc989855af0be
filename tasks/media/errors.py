"""What goes wrong between a file and its frames."""

from __future__ import annotations


class MediaError(Exception):
    """A file that can't be used, or a decoder that gave up. `reason` names what was met and the next step.

    `stage` is where: probe, normalise, decode. `transient` is true when the same file may well succeed another time
    (a child killed from outside); a file that breaks its limits is not transient.
    """

    def __init__(self, stage: str, reason: str, transient: bool = False) -> None:
        super().__init__(stage, reason, transient)
        self.stage = stage
        self.reason = reason
        self.transient = transient

    def __str__(self) -> str:
        return f"{self.stage}: {self.reason}"
