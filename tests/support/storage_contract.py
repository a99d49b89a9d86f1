"""What every file system promises; run against local disks and against a real HDFS."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from harpy.errors import DataError, PathExists, PathNotFound
from harpy.storage import (
    FileSystem,
    JobDirectory,
    content_hash,
    open_staged,
    read_value,
    stage_array,
    write_value,
)
from harpy.wire.report import Report


class FileSystemContract:
    """`fs` is a file system, `base` the URL of an empty directory on it."""

    def test_written_bytes_are_read_back(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/a b%20ü", b"hello")
        assert fs.read_bytes(f"{base}/a b%20ü") == b"hello"

    def test_empty_file_is_read_back(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/empty", b"")
        assert fs.read_bytes(f"{base}/empty") == b""

    def test_full_url_and_absolute_path_name_the_same_file(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(fs.path_of(f"{base}/f"), b"x")
        assert fs.read_bytes(fs.qualify(f"{base}/f")) == b"x"

    def test_write_refuses_to_replace_unless_told(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/f", b"old")
        with pytest.raises(PathExists, match="already exists") as caught:
            fs.write_bytes(f"{base}/f", b"new")
        assert caught.value.path == fs.qualify(f"{base}/f")
        assert fs.read_bytes(f"{base}/f") == b"old"
        fs.write_bytes(f"{base}/f", b"new", overwrite=True)
        assert fs.read_bytes(f"{base}/f") == b"new"

    def test_only_one_of_two_writers_wins(self, fs: FileSystem, base: str) -> None:
        first, second = fs.create(f"{base}/f"), fs.create(f"{base}/f")
        first.write(b"first")
        second.write(b"second")
        first.commit()
        with pytest.raises(PathExists):
            second.commit()
        second.abort()
        assert fs.read_bytes(f"{base}/f") == b"first"
        assert [entry.name for entry in fs.list(base)] == ["f"]

    def test_file_appears_only_when_complete(self, fs: FileSystem, base: str) -> None:
        with fs.create(f"{base}/f") as file:
            file.write(b"half")
            assert not fs.exists(f"{base}/f")
            file.write(b" and half")
        assert fs.read_bytes(f"{base}/f") == b"half and half"

    def test_failed_writer_leaves_nothing(self, fs: FileSystem, base: str) -> None:
        with pytest.raises(ZeroDivisionError), fs.create(f"{base}/f") as file:
            file.write(b"half")
            raise ZeroDivisionError
        assert fs.list(base) == []

    def test_failed_chunks_leave_nothing(self, fs: FileSystem, base: str) -> None:
        def chunks():
            yield b"half"
            raise DataError("no more")

        with pytest.raises(DataError, match="no more"):
            fs.write_chunks(f"{base}/f", chunks)
        assert fs.list(base) == []

    def test_stat_and_list_tell_what_is_there(self, fs: FileSystem, base: str) -> None:
        fs.mkdirs(f"{base}/d", 0o700)
        fs.write_bytes(f"{base}/f", b"12345")
        directory, file = fs.list(base)
        assert (directory.name, directory.is_dir, directory.mode) == ("d", True, 0o700)
        assert (file.name, file.is_dir, file.length) == ("f", False, 5)
        assert file.path == fs.qualify(f"{base}/f")
        assert fs.stat(file.path) == file
        assert file.owner == fs.stat(base).owner
        assert file.mtime > 1.6e9

    def test_what_is_not_there_is_path_not_found(self, fs: FileSystem, base: str) -> None:
        missing = f"{base}/no/such"
        for look in (fs.stat, fs.list, fs.read_bytes):
            with pytest.raises(PathNotFound) as caught:
                look(missing)
            assert caught.value.path == fs.qualify(missing)
        assert not fs.exists(missing)
        assert not fs.delete(missing)

    def test_file_is_no_directory(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/f", b"x")
        with pytest.raises(PathNotFound):
            fs.list(f"{base}/f")
        with pytest.raises(PathExists):
            fs.mkdirs(f"{base}/f")
        with pytest.raises(PathNotFound, match="directory"):
            fs.read_bytes(base)

    def test_mkdirs_makes_parents_others_can_pass(self, fs: FileSystem, base: str) -> None:
        fs.mkdirs(f"{base}/a/b/c", 0o700)
        fs.mkdirs(f"{base}/a/b/c", 0o700)
        assert fs.stat(f"{base}/a/b").mode & 0o011 == 0o011
        assert fs.stat(f"{base}/a/b/c").mode == 0o700
        fs.set_permission(f"{base}/a/b/c", 0o750)
        assert fs.stat(f"{base}/a/b/c").mode == 0o750

    def test_delete_spares_a_full_directory_unless_recursive(
        self, fs: FileSystem, base: str
    ) -> None:
        fs.write_bytes(f"{base}/d/f", b"x")
        with pytest.raises(PathExists):
            fs.delete(f"{base}/d")
        assert fs.delete(f"{base}/d", recursive=True)
        assert not fs.exists(f"{base}/d")

    def test_rename_never_replaces_unless_told(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/a", b"a")
        fs.write_bytes(f"{base}/b", b"b")
        with pytest.raises(PathExists):
            fs.rename(f"{base}/a", f"{base}/b")
        fs.rename(f"{base}/a", f"{base}/b", overwrite=True)
        assert fs.read_bytes(f"{base}/b") == b"a"
        with pytest.raises(PathNotFound):
            fs.rename(f"{base}/a", f"{base}/c")

    def test_range_is_read_into_the_given_buffer(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/f", bytes(range(100)))
        buffer = bytearray(10)
        fs.read_into(f"{base}/f", 42, memoryview(buffer))
        assert buffer == bytes(range(42, 52))

    def test_short_file_names_both_sizes(self, fs: FileSystem, base: str) -> None:
        fs.write_bytes(f"{base}/f", b"12345")
        with pytest.raises(DataError, match=r"expected 10 bytes from offset 2, got 3"):
            fs.read_into(f"{base}/f", 2, memoryview(bytearray(10)))

    def test_array_is_staged_and_read_by_any_rows(self, fs: FileSystem, base: str) -> None:
        X = np.arange(7 * 3, dtype=np.float32).reshape(7, 3)
        stage_array(fs, f"{base}/x", X, n_parts=3)
        staged = open_staged(fs, f"{base}/x", timeout_s=5)
        assert (staged.shape, staged.dtype, staged.n_rows) == ((7, 3), np.float32, 7)
        for start in range(8):
            for stop in range(start, 8):
                np.testing.assert_array_equal(staged.read_rows(start, stop), X[start:stop])

    def test_manifest_is_waited_for(self, fs: FileSystem, base: str) -> None:
        X = np.ones((4, 2))
        writer = threading.Timer(0.3, stage_array, (fs, f"{base}/x", X, 2))
        writer.start()
        try:
            staged = open_staged(fs, f"{base}/x", timeout_s=20)
        finally:
            writer.join()
        np.testing.assert_array_equal(staged.read_rows(0, 4), X)

    def test_value_with_arrays_comes_back(self, fs: FileSystem, base: str) -> None:
        value = {
            "small": np.arange(6, dtype=np.int32).reshape(2, 3),
            "large": np.random.default_rng(0).random((200, 100)),
            "nested": [1, 2.5, None, True, "ü", {"deep": np.float32(0.1)}],
            "odd": [float("inf"), float("nan"), 1e-320],
            "empty": np.empty((0, 4)),
            "scalar": np.array(7),
        }
        write_value(fs, f"{base}/v.json", value)
        back = read_value(fs, f"{base}/v.json")
        for name in ("small", "large", "empty", "scalar"):
            np.testing.assert_array_equal(back[name], value[name])
            assert back[name].dtype == value[name].dtype
        assert back["nested"] == [1, 2.5, None, True, "ü", {"deep": float(np.float32(0.1))}]
        assert back["odd"][0] == float("inf")
        assert np.isnan(back["odd"][1])
        assert back["odd"][2] == 1e-320

    def test_job_directory_from_start_to_end(self, fs: FileSystem, base: str) -> None:
        directory = JobDirectory(fs, f"{base}/work/job-1")
        directory.create()
        assert fs.stat(directory.url).mode == 0o700
        assert directory.rank0_addresses() == []
        directory.publish_rank0(0, "10.0.0.7", 4711)
        directory.publish_rank0(1000, "fe80::1", 4712)
        assert [(a.attempt, a.address, a.port) for a in directory.rank0_addresses()] == [
            (1000, "fe80::1", 4712),
            (0, "10.0.0.7", 4711),
        ]
        with pytest.raises(PathExists, match="attempt 0"):
            directory.publish_rank0(0, "10.0.0.8", 1)
        run = directory.run(1)
        run.write_params({"k": 3, "init": np.eye(3)})
        assert run.read_params()["k"] == 3
        for rank in (1, 0):
            run.save_array("labels", rank, np.full(rank + 2, rank, dtype=np.int32))
            run.write_report(Report(rank, 1, 0, "n1", 7, "done", 1.0, 2.0, None))
        run.write_result({"inertia": 1.5})
        assert directory.finished_runs() == []
        with pytest.raises(DataError, match="not complete"):
            run.read_results()
        run.mark_success()
        value, arrays = run.read_results()
        assert value == {"inertia": 1.5}
        assert arrays["labels"].tolist() == [0, 0, 1, 1, 1]
        assert directory.finished_runs() == [1]
        assert [report.rank for report in directory.reports()] == [0, 1]
        with pytest.raises(PathExists):
            directory.create()
        assert directory.remove()
        assert not directory.remove()
        assert fs.list(f"{base}/work") == []

    def test_staging_twice_writes_once(self, fs: FileSystem, base: str) -> None:
        X = np.random.default_rng(1).random((50, 4))
        directory = f"{base}/{content_hash(X)}"
        stage_array(fs, directory, X, 2)
        before = fs.stat(f"{directory}/part-00000").mtime
        stage_array(fs, directory, X, 2)
        assert fs.stat(f"{directory}/part-00000").mtime == before
