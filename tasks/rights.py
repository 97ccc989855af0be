"""Rights of a video: from a list of sources, from a sidecar beside its file, else the machine's defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from store.objects import local_path
from store.workspace import Workspace

RIGHTS_SUFFIX = ".rights.json"


def sidecar_of(uri: str) -> bytes | None:
    """`NAME.EXT.rights.json` or `NAME.rights.json` beside a local file."""
    if uri.startswith("s3://"):
        return None
    file = local_path(uri)
    for sidecar in (file.with_name(file.name + RIGHTS_SUFFIX), file.with_name(file.stem + RIGHTS_SUFFIX)):
        if os.path.isfile(sidecar):  # Path.is_file raises where the longer name is too long for the file system
            return sidecar.read_bytes()
    return None


RIGHTS_KEYS = ("licence", "consent", "origin")


def rights_row(
    workspace: Workspace, video_id: str, uri: str, told: bytes | None, elsewhere: Iterable[str], told_by: str
) -> dict[str, object]:
    """Rights as `told` by a "sidecar" or a "list" (`told_by`), the machine's defaults where that is silent.

    Without any, a sidecar beside a copy of the same content `elsewhere` counts. One that can't be used leaves
    licence and consent "unknown" and says why in `told_by`: nobody's default may stand for what somebody wrote down.
    """
    for other in sorted(elsewhere):
        if told is None and (found := sidecar_of(other)) is not None:
            told, uri = found, other
    settings = workspace.settings
    defaults = {"licence": settings.default_licence, "consent": settings.default_consent, "origin": uri}
    if told is None:
        return {"video_id": video_id, **defaults, "told_by": "default"}
    try:
        return {"video_id": video_id, **defaults, **_told_rights(told), "told_by": told_by}
    except ValueError as error:
        return {"video_id": video_id, "licence": "unknown", "consent": "unknown", "origin": uri, "told_by": str(error)}


def _told_rights(sidecar: bytes) -> dict[str, str]:
    """Raises ValueError for what is not a JSON object of these keys with texts as values."""
    try:
        told = json.loads(sidecar)
    except ValueError as error:
        raise ValueError(f"the sidecar is no JSON ({error}); mend or remove it") from None
    if not isinstance(told, dict):
        raise ValueError(f'the sidecar holds {str(told)[:40]}; write an object such as {{"licence": "CC-BY-4.0"}}')
    for key, value in told.items():
        if key not in RIGHTS_KEYS or not isinstance(value, str):
            raise ValueError(
                f"the sidecar says {key!r}: {str(value)[:40]!r}; {', '.join(RIGHTS_KEYS)} may be said, each as a text"
            )
    return told
