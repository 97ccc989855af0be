"""Secrets of a cluster that has its own stores (infra/kubernetes/components/stores), new on every call, as manifests:

    python -m infra.passwords | kubectl create -f -

`create`, not `apply`: the databases keep the password that they were begun with, so other secrets must not replace these.
With managed stores make the first three by hand; `KEYS` says what each holds.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence

KEYS = {
    "ledger": ("HEADROOM_LEDGER_URL",),
    "prefect-database": ("PREFECT_API_DATABASE_CONNECTION_URL",),
    "objects": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
}
"""What the engine reads of each secret. The databases of the cluster also read POSTGRES_PASSWORD of the first two."""

ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


def manifests(namespace: str) -> list[dict[str, object]]:
    """The four secrets, with passwords that belong together."""
    ledger, prefect, key, secret = (secrets.token_hex(n) for n in (24, 24, 10, 24))
    account = {"name": "headroom", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ACTIONS}
    held: dict[str, dict[str, str]] = {
        "ledger": {
            "HEADROOM_LEDGER_URL": f"postgresql://headroom:{ledger}@ledger:5432/headroom",
            "POSTGRES_PASSWORD": ledger,
        },
        "prefect-database": {
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://headroom:{prefect}@prefect-database:5432/prefect",
            "POSTGRES_PASSWORD": prefect,
        },
        "objects": {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
        "objects-accounts": {"s3.json": json.dumps({"identities": [account]})},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": "Opaque",
            "stringData": data,
        }
        for name, data in held.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--namespace", default="headroom")
    told = {"apiVersion": "v1", "kind": "List", "items": manifests(parser.parse_args(arguments).namespace)}
    print(json.dumps(told, indent=1))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
