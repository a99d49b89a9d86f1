"""Values and outputs: strict both ways, with the place of what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harpy.errors import DataError
from harpy.storage import (
    FileSystem,
    JobDirectory,
    filesystem,
    read_array_parts,
    read_value,
    write_array_part,
    write_value,
)
from harpy.storage.rows.row_parts import finish_parts
from harpy.wire.job_spec import JobSpec
from harpy.wire.run_spec import RunSpec


@pytest.fixture
def fs() -> FileSystem:
    return filesystem("/")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": [1, {2}]}, r"value\['a'\]\[1\] is a set"),
        ({"a": b"bytes"}, r"value\['a'\] is a bytes"),
        ({1: "x"}, "has the key 1"),
        ({"$array": 1}, "reserved"),
        ([np.array([object()])], r"value\[0\] is an array of dtype object"),
    ],
)
def test_what_would_not_come_back_is_refused(
    fs: FileSystem, tmp_path: Path, value: object, where: str
) -> None:
    with pytest.raises(DataError, match=where):
        write_value(fs, str(tmp_path / "v.json"), value)
    assert list(tmp_path.iterdir()) == []


def test_small_arrays_need_no_file_of_their_own(fs: FileSystem, tmp_path: Path) -> None:
    write_value(fs, str(tmp_path / "v.json"), {"centers": np.zeros((10, 64))})
    assert [path.name for path in tmp_path.iterdir()] == ["v.json"]


def test_strided_and_big_endian_arrays_come_back_equal(fs: FileSystem, tmp_path: Path) -> None:
    array = np.arange(60_000, dtype=">f8").reshape(300, 200)[::2, ::-1].T
    write_value(fs, str(tmp_path / "v.json"), array)
    np.testing.assert_array_equal(read_value(fs, str(tmp_path / "v.json")), array)


def test_foreign_file_is_no_value(fs: FileSystem, tmp_path: Path) -> None:
    for text in ("", "[1]", '{"format": 99, "value": 1}'):
        (tmp_path / "v.json").write_text(text)
        with pytest.raises(DataError, match=r"v\.json is not a value written by harpy"):
            read_value(fs, str(tmp_path / "v.json"))


def test_pickled_array_is_refused(fs: FileSystem, tmp_path: Path) -> None:
    np.save(tmp_path / "part-00000.npy", np.array([{"code": "runs"}]), allow_pickle=True)
    with pytest.raises(DataError, match="not an array written by harpy"):
        read_array_parts(fs, str(tmp_path))


def test_cut_part_names_both_sizes(fs: FileSystem, tmp_path: Path) -> None:
    path = tmp_path / "part-00000.npy"
    write_array_part(fs, str(path), np.arange(100.0))
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=rf"is {whole} bytes, but has {whole - 8}"):
        read_array_parts(fs, str(tmp_path))


def test_parts_that_do_not_fit_are_named(fs: FileSystem, tmp_path: Path) -> None:
    write_array_part(fs, str(tmp_path / "part-00000.npy"), np.zeros((2, 3)))
    write_array_part(fs, str(tmp_path / "part-00001.npy"), np.zeros((2, 4)))
    with pytest.raises(DataError, match=r"part-00000.*\(2, 3\).*part-00001.*\(2, 4\)"):
        read_array_parts(fs, str(tmp_path))


def test_parts_are_read_by_numpy_too(fs: FileSystem, tmp_path: Path) -> None:
    write_array_part(fs, str(tmp_path / "part-00000.npy"), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(np.load(tmp_path / "part-00000.npy"), [[0, 1, 2], [3, 4, 5]])


def test_job_file_refuses_unknown_keys_and_other_versions(fs: FileSystem, tmp_path: Path) -> None:
    directory = JobDirectory(fs, str(tmp_path / "job"))
    directory.create()
    job = JobSpec(
        job_id="job-1",
        owner="me",
        created=1.5,
        launcher="local",
        n_node=2,
        n_thread=1,
        n_mem=512,
        queue=None,
        wishes=frozenset({"n_mem"}),
        keep_open=False,
        first_run=RunSpec(1, module="m"),
        max_losses=3,
    )
    directory.write_job(job)
    assert directory.read_job() == job
    path = tmp_path / "job" / "job.json"
    for change, words in (
        ({"colour": "red"}, "fields must be job_id, .*, got also 'colour'"),
        ({"n_node": 0}, "job.json: n_node must be a whole number from 1 .*, got 0"),
        ({"first_run": {"run": 1}}, "first_run.fields must be consistent, got a run needs exactly"),
        ({"deadlines": {"idle_s": "1"}}, "deadlines.idle_s must be a number of seconds, got '1'"),
        ({"version": 2}, "has version 2, this harpy reads 1"),
    ):
        path.write_text(json.dumps(job.to_wire() | change))
        with pytest.raises(DataError, match=words):
            directory.read_job()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_output_name_cannot_leave_its_folder(fs: FileSystem, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="output's name"):
        JobDirectory(fs, str(tmp_path)).run(1).output(name)


def test_parts_are_complete_when_their_manifest_is_there(
    fs: FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(fs, "write_bytes", lambda path, data: written.append(Path(path).name))
    finish_parts(fs, str(tmp_path), [])
    assert written == ["manifest.json", "_SUCCESS"]
