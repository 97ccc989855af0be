"""`headroom` that is killed between writing its tables and publishing them: `python -m tests.killed_commit NUMBER ...`.

NUMBER is that of the manifest which the commit would have published; the rest is a command line of `headroom`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from unittest.mock import patch

import headroom
from store.ledger import Turn


def main(number: int) -> None:
    publish = Turn.publish

    def killed(turn: Turn, *told: Any, **more: Any) -> Any:
        if turn.manifest.id + 1 >= number:
            os.killpg(0, signal.SIGKILL)
        return publish(turn, *told, **more)

    with patch.object(Turn, "publish", killed):
        headroom.main()


if __name__ == "__main__":
    number = int(sys.argv.pop(1))
    main(number)
