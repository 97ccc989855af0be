"""Rights of a video: from a list of sources, from a sidecar beside its file, else the machine's defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

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
    workspace: Workspace, video_id: str, uri: str, words: Mapping[str, tuple[bytes, str]]
) -> dict[str, object]:
    """Rights of a video that lies at `uri`, and what was said of it: by address the text, and "sidecar" or "list".

    The machine's defaults count where nothing is said. What can't be used, and a key of which two copies of one content
    say different things, is "unknown", and `told_by` says why: nobody's default, and no copy, may stand for what somebody
    wrote down.
    """
    settings = workspace.settings
    row = {
        "video_id": video_id,
        "licence": settings.default_licence,
        "consent": settings.default_consent,
        "origin": uri,
    }
    said: dict[str, tuple[str, str]] = {}
    by, problem = "default", ""
    for address, (text, kind) in sorted(words.items()):
        try:
            told = _told_rights(text)
        except ValueError as error:
            return {**row, "licence": "unknown", "consent": "unknown", "told_by": str(error)}
        by = kind if address == uri or by == "default" else by
        for key, value in told.items():
            before, where = said.setdefault(key, (value, address))
            if before != value and key != "origin":
                problem = (
                    problem or f"{where} says {key} {before!r}, its copy {address} says {value!r}; make them agree"
                )
                said[key] = ("unknown", where)
    return {**row, **{key: value for key, (value, _) in said.items()}, "told_by": problem or by}


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
