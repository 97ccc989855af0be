"""What containers ask of a server: whether an address answers, and whether its last session has ended.

    python -m infra.probe http://127.0.0.1:8700/api/avatars
    python -m infra.probe --until-idle 3600 http://127.0.0.1:8700/metrics

The first is a health check: exit status 0 for an answer of 200, else 1 with the reason. The second is what a server that
is to be ended waits for: it returns when `headroom_sessions` is 0 over all checkpoints, after so many seconds at the
latest, or when the server is gone.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

SESSIONS = re.compile(r"^headroom_sessions(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
TIMEOUT_S = 5.0
POLL_S = 2.0


def read(url: str) -> str:
    """The text at an address. Raises ValueError for an address that is none, OSError for one that does not answer 200."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"address {url!r}: give one that begins with http:// or https://")
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - its scheme was looked at
        return str(answer.read().decode(errors="replace"))


def sessions(url: str) -> float:
    """Sessions that a live server has now, by its /metrics. Raises ValueError where that tells of none."""
    told = SESSIONS.findall(read(url))
    if not told:
        raise ValueError(f"{url}: tells no headroom_sessions; give the /metrics of a headroom serve")
    return sum(map(float, told))


def until_idle(url: str, most_s: float, poll_s: float = POLL_S) -> bool:
    """Whether the last session ended, or the server did, within the time."""
    until = time.monotonic() + most_s
    while True:
        try:
            if not sessions(url):
                return True
        except urllib.error.HTTPError:
            pass  # it is there and busy: sessions may go on
        except OSError:
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(poll_s)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--until-idle", type=float, metavar="SECONDS", help="wait for the last session to end")
    options = parser.parse_args(arguments)
    try:
        if options.until_idle is None:
            read(options.url)
        elif not until_idle(options.url, options.until_idle):
            print(f"{options.url}: sessions go on after {options.until_idle:g} s", file=sys.stderr)  # noqa: T201
            return 1
    except (OSError, ValueError) as error:
        print(f"{options.url}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
