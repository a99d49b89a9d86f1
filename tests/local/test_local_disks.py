"""What the operating system refuses of a disk: a full one, and a folder of another user."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harpy.errors import DiskFull
from harpy.storage import FileSystem, JobDirectory, filesystem, stage_array


@pytest.fixture
def fs() -> FileSystem:
    return filesystem("file:///")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system, which only root may do here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk_is_said_and_nothing_stays(fs: FileSystem, small_disk: Path) -> None:
    with pytest.raises(DiskFull, match=r"No space left.*\n.*free some space") as caught:
        fs.write_bytes(str(small_disk / "f"), bytes(1 << 20))
    assert caught.value.path == f"file://{small_disk}/f"
    assert list(small_disk.iterdir()) == []


def test_staging_on_a_full_disk_removes_what_it_wrote(fs: FileSystem, small_disk: Path) -> None:
    with pytest.raises(DiskFull):
        stage_array(fs, str(small_disk / "x"), np.zeros((1 << 14, 8)), n_parts=4)
    assert list(small_disk.iterdir()) == []


def _create_as(uid: int, workdir: str, answer: multiprocessing.Queue[str]) -> None:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    try:
        JobDirectory(filesystem(workdir), f"{workdir}/job-1").create()
    except Exception as exc:
        answer.put(f"{type(exc).__name__}: {exc}")
    else:
        answer.put("created")


def test_work_directory_of_another_user_is_refused_with_names(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_create_as, args=(65534, str(tmp_path), answer))
    child.start()
    said = answer.get(timeout=30)
    child.join(30)
    assert said.startswith("StoragePermissionError: work directory")
    assert str(tmp_path) in said
    assert "user nobody" in said
    assert "belongs to root, mode 0755" in said
    assert "choose another" in said
