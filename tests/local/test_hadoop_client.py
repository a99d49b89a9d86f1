"""Java and the Hadoop client are found, or it is said what was looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from harpy.errors import HadoopNotFound, JavaNotFound
from harpy.launch.yarn.hadoop_client import client_jars, feature_version, find_java

CLIENT = "hadoop-mapreduce-client-jobclient-3.5.0.jar"


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing on PATH and no variable set."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("JAVA_HOME", "HADOOP_HOME", "HADOOP_CONF_DIR"):
        monkeypatch.delenv(name, raising=False)
    return folder


def program(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def jars(folder: Path, *names: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


@pytest.mark.parametrize(
    ("text", "version"), [("1.8.0_392", 8), ("11.0.2", 11), ("17.0.15", 17), ("21", 21)]
)
def test_feature_version_of_old_and_new_names(text: str, version: int) -> None:
    assert feature_version(text) == version


def test_java_home_goes_before_path_and_its_release_file_tells_the_version(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(empty_path / "java", "exit 1")
    home = tmp_path / "jdk"
    program(home / "bin" / "java", "exit 1")
    (home / "release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="17.0.15"\n')
    monkeypatch.setenv("JAVA_HOME", str(home))
    java = find_java()
    assert (java.program, java.version) == (home / "bin" / "java", 17)


def test_java_without_a_release_file_is_asked(empty_path: Path) -> None:
    program(empty_path / "java", "echo 'openjdk version \"11.0.2\"' >&2")
    assert find_java().version == 11


def test_no_java_says_what_to_install(empty_path: Path) -> None:
    with pytest.raises(JavaNotFound, match=r"(?s)JAVA_HOME is not set.*apt-get install") as caught:
        find_java()
    assert isinstance(caught.value, ValueError)


def test_wrong_java_home_is_named(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))
    with pytest.raises(JavaNotFound, match=r"JAVA_HOME=.*gone holds no Java"):
        find_java()


def test_too_old_java_says_found_and_needed(empty_path: Path) -> None:
    program(empty_path / "java", "echo 'java version \"1.7.0_80\"' >&2")
    with pytest.raises(JavaNotFound, match="is Java 7; harpy's launcher needs 8"):
        find_java()


def test_hadoops_own_answer_is_expanded_without_folders_and_test_jars(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = jars(tmp_path / "h" / "lib", "a.jar", CLIENT)
    jars(tmp_path / "h" / "lib", "hadoop-common-3.5.0-tests.jar")
    program(tmp_path / "h" / "bin" / "hadoop", f"echo /etc/conf:{tmp_path}/h/lib/*:{found[0]}")
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "h"))
    assert client_jars() == tuple(found)


def test_hadoop_of_path_is_asked_without_hadoop_home(tmp_path: Path, empty_path: Path) -> None:
    found = jars(tmp_path / "h" / "lib", CLIENT)
    program(empty_path / "hadoop", f"echo {found[0]}")
    assert client_jars() == tuple(found)


@pytest.mark.parametrize("place", ["share/hadoop/mapreduce", "lib"])
def test_jars_below_hadoop_home_do_without_its_scripts(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    found = jars(tmp_path / "h" / place, CLIENT)
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "h"))
    assert client_jars() == tuple(found)


def test_no_client_names_the_variable(empty_path: Path) -> None:
    with pytest.raises(HadoopNotFound, match="HADOOP_HOME is not set and there is no 'hadoop'"):
        client_jars()


def test_hadoop_home_without_a_client_is_named(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "h"))
    with pytest.raises(HadoopNotFound, match=r"HADOOP_HOME=.*/h has neither bin/hadoop nor jars"):
        client_jars()


def test_failing_hadoop_command_is_reported_in_its_words(
    tmp_path: Path, empty_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "h" / "bin" / "hadoop", "echo 'ERROR: JAVA_HOME is not set' >&2; exit 1")
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path / "h"))
    with pytest.raises(HadoopNotFound, match="classpath' failed: ERROR: JAVA_HOME is not set"):
        client_jars()
