"""Local disks as a FileSystem: POSIX calls, their errno mapped to harpy's errors."""

from __future__ import annotations

import errno
import os
import pwd
import shutil
import stat as stat_module
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harpy.errors import (
    DiskFull,
    PathExists,
    PathNotFound,
    QuotaError,
    StorageError,
    StoragePermissionError,
)
from harpy.storage.fs.base import Entry, FileSystem, Writer, byte_view
from harpy.storage.fs.file_errors import exists_error, short_read_error
from harpy.storage.fs.paths import temporary_path

if TYPE_CHECKING:
    from harpy.storage.fs.base import Buffer

_ERRORS: dict[int, type[StorageError]] = {
    errno.ENOENT: PathNotFound,
    errno.ENOTDIR: PathNotFound,
    errno.EEXIST: PathExists,
    errno.ENOTEMPTY: PathExists,
    errno.EACCES: StoragePermissionError,
    errno.EPERM: StoragePermissionError,
    errno.EROFS: StoragePermissionError,
    errno.ENOSPC: DiskFull,
    errno.EDQUOT: QuotaError,
}
# Advice, where the system's message does not imply it.
_ADVICE: dict[int, str] = {
    errno.ENOSPC: "free some space there, or choose another work directory",
    errno.EDQUOT: "remove files of yours there, or choose another work directory",
    errno.EROFS: "choose a work directory on a writable file system",
}
# A hard link takes a name exclusively; some file systems have no links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)
_READ_LIMIT = 1 << 30  # one read() takes less than 2 GiB


def map_os_error(exc: OSError, operation: str, path: str) -> StorageError:
    """Map an OSError to the StorageError of its errno."""
    kind = _ERRORS.get(exc.errno or 0, StorageError)
    message = f"cannot {operation} {path}: {exc.strerror or exc}"
    if kind is StoragePermissionError:
        message += f" (user {_owner(os.geteuid())}{_blocker(path)})"
    if advice := _ADVICE.get(exc.errno or 0):
        message += f"\n  {advice}"
    return kind(message, path=LocalFileSystem.url + path)


@contextmanager
def _mapped(operation: str, path: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as exc:
        raise map_os_error(exc, operation, path) from exc


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _blocker(path: str) -> str:
    """The nearest directory above `path` that can be seen, with owner and mode."""
    for parent in Path(path).parents:
        try:
            found = parent.stat()
        except OSError:
            continue
        mode = stat_module.S_IMODE(found.st_mode)
        return f"; {parent} belongs to {_owner(found.st_uid)}, mode {mode:04o}"
    return ""


class LocalFileSystem(FileSystem):
    """The disks of this machine. Owners are unix users; no fsync: a crash may lose the latest."""

    url = "file://"

    def home(self) -> str:
        """$XDG_STATE_HOME/harpy or ~/.local/state/harpy; below the system's temporary folder
        for a user without a writable home."""
        import tempfile

        import platformdirs

        state = platformdirs.user_state_path("harpy")
        for folder in (state, *state.parents):
            if os.access(folder, os.W_OK | os.X_OK):
                return self.url + str(state)
            if os.access(folder, os.F_OK):
                break  # it exists, but this user may not write there
        return f"{self.url}{tempfile.gettempdir()}/harpy-{os.geteuid()}"

    def stat(self, path: str) -> Entry:
        """As `FileSystem.stat`."""
        local = self.path_of(path)
        with _mapped("stat", local):
            return self._entry(local, Path(local).stat())

    def list(self, path: str) -> list[Entry]:
        """As `FileSystem.list`."""
        local = self.path_of(path)
        entries = []
        with _mapped("list", local), os.scandir(local) as found:
            for item in found:
                # A file that vanishes between scandir and stat is not listed.
                with suppress(FileNotFoundError):
                    entries.append(self._entry(item.path, item.stat()))
        return sorted(entries, key=lambda entry: entry.name)

    def _entry(self, local: str, status: os.stat_result) -> Entry:
        return Entry(
            name=os.path.basename(local),  # noqa: PTH119 - listings are long
            path=self.url + local,
            length=status.st_size,
            is_dir=stat_module.S_ISDIR(status.st_mode),
            owner=_owner(status.st_uid),
            mtime=status.st_mtime,
            mode=stat_module.S_IMODE(status.st_mode),
        )

    def mkdirs(self, path: str, mode: int = 0o755) -> None:
        """As `FileSystem.mkdirs`."""
        local = Path(self.path_of(path))
        with _mapped("make directory", str(local)):
            local.parent.mkdir(parents=True, exist_ok=True)
            try:
                local.mkdir(mode)
            except FileExistsError:
                if not local.is_dir():
                    raise
            else:
                local.chmod(mode)  # past the umask

    def delete(self, path: str, recursive: bool = False) -> bool:
        """As `FileSystem.delete`."""
        local = Path(self.path_of(path))
        with _mapped("remove", str(local)):
            try:
                is_dir = stat_module.S_ISDIR(local.lstat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False
            if not is_dir:
                local.unlink(missing_ok=True)
            elif recursive:
                shutil.rmtree(local)
            else:
                local.rmdir()
        return True

    def rename(self, source: str, destination: str, overwrite: bool = False) -> None:
        """As `FileSystem.rename`."""
        old, new = self.path_of(source), self.path_of(destination)
        with _mapped(f"rename {old} to", new):
            if overwrite:
                Path(old).replace(new)
            elif Path(old).is_dir():
                # rename(2) would silently replace an empty directory.
                if os.path.lexists(new):
                    raise exists_error(self.url + new)
                Path(old).rename(new)
            else:
                self._rename_exclusively(old, new)

    def _rename_exclusively(self, old: str, new: str) -> None:
        try:
            os.link(old, new, follow_symlinks=False)
        except FileExistsError as exc:
            raise exists_error(self.url + new) from exc
        except OSError as exc:
            if exc.errno not in _NO_LINKS:
                raise
            if os.path.lexists(new):
                raise exists_error(self.url + new) from exc
            Path(old).rename(new)
        else:
            Path(old).unlink()

    def set_permission(self, path: str, mode: int) -> None:
        """As `FileSystem.set_permission`."""
        local = self.path_of(path)
        with _mapped("change the permissions of", local):
            Path(local).chmod(mode)

    def read_into(self, path: str, offset: int, buffer: memoryview) -> None:
        """As `FileSystem.read_into`."""
        local, view, done = self.path_of(path), byte_view(buffer), 0
        with _mapped("read", local), Path(local).open("rb", buffering=0) as file:
            while done < len(view):
                count = os.preadv(file.fileno(), [view[done : done + _READ_LIMIT]], offset + done)
                if count == 0:
                    raise short_read_error(self.url + local, offset, len(view), done)
                done += count

    def create(self, path: str, overwrite: bool = False) -> Writer:
        """As `FileSystem.create`."""
        return _LocalWriter(self, self.path_of(path), overwrite)


class _LocalWriter(Writer):
    def __init__(self, fs: LocalFileSystem, path: str, overwrite: bool) -> None:
        self._fs, self._path, self._overwrite = fs, path, overwrite
        self._temporary = temporary_path(path)
        with _mapped("write", path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = Path(self._temporary).open("xb", buffering=0)  # noqa: SIM115

    def write(self, data: Buffer) -> int:
        view = byte_view(data)
        done = 0
        with _mapped("write", self._path):
            while done < len(view):
                done += self._file.write(view[done : done + _READ_LIMIT])
        return done

    def commit(self) -> None:
        with _mapped("write", self._path):
            self._file.close()
        self._fs.rename(self._temporary, self._path, self._overwrite)

    def abort(self) -> None:
        # Failures are ignored, as another error is under way.
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            Path(self._temporary).unlink(missing_ok=True)
