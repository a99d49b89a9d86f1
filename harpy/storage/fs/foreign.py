"""Other file systems, for reading only, through fsspec: s3://, gs://, abfs://, https://, …"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from harpy.errors import ConfigError, PathNotFound, StorageError, StoragePermissionError
from harpy.storage.fs.base import Entry, FileSystem, Writer, byte_view
from harpy.storage.fs.file_errors import short_read_error
from harpy.storage.fs.paths import split_url

# Names that fsspec's file systems give to the time of the last change.
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")


class ForeignFileSystem(FileSystem):
    """What fsspec opens, with the settings fsspec finds (its configuration, the environment).

    Raises
    ------
    ConfigError
        fsspec, or the package that it needs for this scheme, is not installed.
    """

    def __init__(self, url: str) -> None:
        scheme, authority, _ = split_url(url)
        self.url = f"{scheme}://{authority}"
        try:
            import fsspec

            self._fs = fsspec.filesystem(scheme)
        except ImportError as exc:
            raise ConfigError(
                f"{url}: {scheme}:// is read through fsspec: {exc}\n"
                "  Install what it names for the driver and for the workers, or copy the data to "
                "hdfs:// or file://."
            ) from exc
        except ValueError as exc:
            raise ConfigError(
                f"{url}: expected hdfs://, viewfs://, file://, a path, or a scheme that fsspec "
                f"knows: {exc}"
            ) from exc

    @contextmanager
    def _mapped(self, verb: str, path: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except FileNotFoundError as exc:
            raise PathNotFound(f"cannot {verb} {path}: no such file", path=path) from exc
        except PermissionError as exc:
            raise StoragePermissionError(f"cannot {verb} {path}: {exc}", path=path) from exc
        except OSError as exc:
            raise StorageError(f"cannot {verb} {path}: {exc}", path=path) from exc

    def _entry(self, facts: dict[str, Any]) -> Entry:
        path = self._fs.unstrip_protocol(facts["name"]).rstrip("/")
        changed = next((facts[name] for name in _TIMES if facts.get(name) is not None), 0.0)
        if isinstance(changed, datetime.datetime):
            changed = changed.timestamp()
        return Entry(
            name=path.rpartition("/")[2],
            path=path,
            length=int(facts.get("size") or 0),
            is_dir=facts.get("type") == "directory",
            owner="",
            mtime=float(changed) if isinstance(changed, int | float) else 0.0,
            mode=0,
        )

    def stat(self, path: str) -> Entry:
        """As `FileSystem.stat`."""
        with self._mapped("stat", self.qualify(path)):
            return self._entry(self._fs.info(self.qualify(path)))

    def list(self, path: str) -> list[Entry]:
        """As `FileSystem.list`."""
        with self._mapped("list", self.qualify(path)):
            found = self._fs.ls(self.qualify(path), detail=True)
        return sorted(map(self._entry, found), key=lambda entry: entry.name)

    def read_into(self, path: str, offset: int, buffer: memoryview) -> None:
        """As `FileSystem.read_into`."""
        url, view = self.qualify(path), byte_view(buffer)
        with self._mapped("read", url):
            content = self._fs.cat_file(url, start=offset, end=offset + len(view))
        if len(content) < len(view):
            raise short_read_error(url, offset, len(view), len(content))
        view[:] = content

    # These file systems are only read.

    def _refuse(self) -> NoReturn:
        raise StorageError(f"{self.url} can only be read; use hdfs:// or file://", path=self.url)

    def home(self) -> str:
        """As `FileSystem.home`: refused, since these file systems are only read."""
        self._refuse()

    def mkdirs(self, path: str, mode: int = 0o755) -> None:
        """As `FileSystem.mkdirs`: refused, since these file systems are only read."""
        self._refuse()

    def delete(self, path: str, recursive: bool = False) -> bool:
        """As `FileSystem.delete`: refused, since these file systems are only read."""
        self._refuse()

    def rename(self, source: str, destination: str, overwrite: bool = False) -> None:
        """As `FileSystem.rename`: refused, since these file systems are only read."""
        self._refuse()

    def set_permission(self, path: str, mode: int) -> None:
        """As `FileSystem.set_permission`: refused, since these file systems are only read."""
        self._refuse()

    def create(self, path: str, overwrite: bool = False) -> Writer:
        """As `FileSystem.create`: refused, since these file systems are only read."""
        self._refuse()
