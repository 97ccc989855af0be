"""Makes a bucket that is not there yet: `python -m store.bucket s3://NAME`, with credentials from the usual chain."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from store.objects import s3_client, split_s3


def make_bucket(address: str) -> bool:
    """Whether it was made now. Raises ValueError for an address that is none, and where the storage refuses."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _ = split_s3(address)
    try:
        client = s3_client()
        if bucket in {held["Name"] for held in client.list_buckets()["Buckets"]}:
            return False
        client.create_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError) as error:
        raise ValueError(f"{address}: can't be made ({error}); check AWS_ENDPOINT_URL and the credentials") from error
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", metavar="s3://NAME")
    address = parser.parse_args(arguments).address
    try:
        made = make_bucket(address)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{address} {'made' if made else 'was there'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
