"""Errors that every file system raises with the same message."""

from __future__ import annotations

from harpy.errors import DataError, PathExists


def exists_error(url: str) -> PathExists:
    """The error of a path that exists already."""
    return PathExists(f"{url} already exists", path=url)


def short_read_error(url: str, offset: int, expected: int, got: int) -> DataError:
    """The error of a file that ends before what was to be read."""
    return DataError(
        f"{url} is too short: expected {expected} bytes from offset {offset}, got {got}.\n"
        "  It was cut off or replaced after it was written; write it again."
    )
