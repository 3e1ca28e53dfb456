"""Open the progress that a URL names.

    redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]      and rediss:// for TLS
    dynamodb://REGION/TABLE[?endpoint=URL]

A region that is left out (``dynamodb:///TABLE``), and who may ask, are taken from where
boto3 takes them; *endpoint* is for another server than Amazon's. A password does not belong
into a command line, which everybody on the machine can read: leave it out and it is taken
from ``REDIS_PASSWORD``.
"""

import os
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from resumed.errors import UsageError
from resumed.progress import base

FORMS = "redis://HOST[:PORT][/DATABASE] or dynamodb://REGION/TABLE"


def open_progress(url: str) -> base.Progress:
    """Open a backend, which may be missing its library; the server is asked nothing yet.

    Raises:
        UsageError: The URL names no backend.
        ImportError: The library that it needs is not installed.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{shown(url)}: {error}; give {FORMS}") from None
    name = unquote(parts.path.strip("/"))
    match parts.scheme:
        case "redis" | "rediss" if parts.hostname and (not name or name.isdecimal()):
            return _redis(parts, port or 6379, int(name or 0))
        case "dynamodb" if name and "/" not in name:
            return _dynamodb(parts, name)
        case _:
            raise UsageError(f"{shown(url)}: names no backend; give {FORMS}")


def shown(url: str) -> str:
    """Write a URL without what it may hold of a user and a password."""
    before, _, after = url.rpartition("@")
    return f"{before.partition('://')[0]}://{after}" if before else url


def _redis(parts: SplitResult, port: int, database: int) -> base.Progress:
    from resumed.progress.redis import RedisProgress  # noqa: PLC0415 - needs a library

    more: dict[str, Any] = {"ssl": True} if parts.scheme == "rediss" else {}
    if parts.username:
        more["username"] = unquote(parts.username)
    if password := unquote(parts.password or "") or os.environ.get("REDIS_PASSWORD"):
        more["password"] = password
    return RedisProgress(host=str(parts.hostname), port=port, db=database, **more)


def _dynamodb(parts: SplitResult, table: str) -> base.Progress:
    from resumed.progress.dynamodb import DynamoProgress  # noqa: PLC0415 - needs a library

    more: dict[str, Any] = {"region_name": parts.netloc} if parts.netloc else {}
    if endpoint := parse_qs(parts.query).get("endpoint"):
        more["endpoint_url"] = endpoint[0]
    return DynamoProgress(table, **more)
