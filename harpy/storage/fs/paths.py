"""URLs and paths of file systems as text: taking them apart, putting them together."""

from __future__ import annotations

import itertools
import os
import platform
import posixpath

from harpy.errors import ConfigError

HDFS_SCHEMES = ("hdfs", "viewfs")
TEMPORARY_SUFFIX = ".tmp"
_writer_numbers = itertools.count()


def split_url(url: str) -> tuple[str, str, str]:
    """Split into (scheme, authority, absolute path); a plain absolute path is of scheme "file".

    Nothing is percent-decoded: Hadoop's paths are not URLs in that respect.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        if url.startswith("file:/"):
            scheme, rest = "file", url.removeprefix("file:")
        elif url.startswith("/"):
            scheme, rest = "file", url
        else:
            raise ConfigError(f"expected a full URL or an absolute path, got {url!r}")
    authority, slash, path = rest.partition("/")
    path = posixpath.normpath(slash + path) if slash else "/"
    # normpath keeps exactly two leading slashes, as POSIX allows.
    return scheme.lower(), authority, "/" + path.lstrip("/")


def join(url: str, *names: str) -> str:
    """Append path components to a URL or path."""
    return "/".join((url.rstrip("/"), *names))


def temporary_path(path: str) -> str:
    """A name beside `path` that carries the writer: host, process and a count."""
    parent, _, name = path.rpartition("/")
    writer = f"{platform.node()}-{os.getpid()}-{next(_writer_numbers)}"
    return f"{parent}/.{name}.{writer}{TEMPORARY_SUFFIX}"
