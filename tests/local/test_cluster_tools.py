"""What the embedded cluster needs of the machine: Java, Maven, room; and where its files lie."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harpy.cluster import class_archive, daemons, jars, java, layout
from harpy.cluster.embedded import EmbeddedCluster
from harpy.cluster.jars import Distribution, distribution
from harpy.cluster.layout import Layout, open_directory
from harpy.cluster.spec import Process, Shape, State
from harpy.errors import ClusterError, ConfigError, DiskFull, JavaNotFound


def program(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path


def java_home(tmp_path: Path, version: str) -> Path:
    program(tmp_path / "bin" / "java", "exit 0")
    (tmp_path / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return tmp_path


@pytest.mark.parametrize(
    ("text", "version"), [("1.8.0_402", 8), ("11.0.2", 11), ("17", 17), ("21-ea", 21)]
)
def test_java_versions_old_and_new_are_understood(tmp_path: Path, text: str, version: int) -> None:
    assert java.java_version(java_home(tmp_path, text)) == version


def test_java_without_a_release_file_is_asked(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "java", """echo 'openjdk version "17.0.9" 2023-10-17' >&2""")
    assert java.java_version(tmp_path) == 17


def test_too_old_a_java_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java_home(tmp_path, "11.0.2")))
    with pytest.raises(JavaNotFound, match=r"is Java 11(?s:.*)openjdk-17"):
        java.find_java()


def test_no_java_at_all_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaNotFound, match="apt-get install openjdk-17"):
        java.find_java()


def test_java_home_without_java_is_not_papered_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaNotFound, match="holds no bin/java"):
        java.find_java()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no other."""
    monkeypatch.setenv("HARPY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fake_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    program(tmp_path / "tools" / "mvn", body)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:/usr/bin:/bin")


COPIES_TWO = """
echo run >> "$0.runs"
for word; do case $word in -DoutputDirectory=*) out=${word#*=};; esac; done
mkdir -p "$out"; echo a > "$out/a.jar"; echo bb > "$out/b.jar"
"""


def test_jars_are_fetched_once_and_readable_by_all(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path, monkeypatch, COPIES_TWO)
    before = os.umask(0o077)
    try:
        hadoop = distribution(lambda line: None)
    finally:
        os.umask(before)
    assert distribution(lambda line: None) == hadoop
    assert (tmp_path / "tools" / "mvn.runs").read_text() == "run\n"
    assert (hadoop.lib / "a.jar").stat().st_mode & 0o444 == 0o444
    assert hadoop.lib.stat().st_mode & 0o555 == 0o555
    assert cache.stat().st_mode & 0o555 == 0o555


def test_jars_that_lost_a_file_are_fetched_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path, monkeypatch, COPIES_TWO)
    hadoop = distribution(lambda line: None)
    (hadoop.lib / "b.jar").unlink()
    distribution(lambda line: None)
    assert (hadoop.lib / "b.jar").read_text() == "bb\n"


def test_a_failed_fetch_says_mavens_words_and_leaves_nothing(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path, monkeypatch, 'echo "[ERROR] Unknown host repo.example"; exit 1')
    with pytest.raises(ClusterError, match=r"Unknown host repo\.example(?s:.*)settings\.xml"):
        distribution(lambda line: None)
    assert [path.name for path in cache.iterdir()] == [f".hadoop-{layout.HADOOP_VERSION}.lock"]


def test_missing_maven_is_named(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="apt-get install maven"):
        distribution(lambda line: None)


def test_a_full_disk_is_named_before_fetching(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_maven(tmp_path, monkeypatch, COPIES_TWO)
    monkeypatch.setattr(jars, "NEEDED_MB", 1 << 40)
    with pytest.raises(DiskFull, match="HARPY_CACHE"):
        distribution(lambda line: None)


def test_a_class_path_jar_of_many_names_keeps_the_manifests_line_length(tmp_path: Path) -> None:
    names = [f"lib/some-long-name-{i}.jar" for i in range(50)]
    jars._write_class_path(tmp_path / "all.jar", names)
    manifest = zipfile.ZipFile(tmp_path / "all.jar").read("META-INF/MANIFEST.MF").decode()
    lines = manifest.split("\r\n")
    assert max(map(len, lines)) <= 72
    joined = "".join(line[1:] if line.startswith(" ") else f"\n{line}" for line in lines)
    assert f"Class-Path: {' '.join(names)}" in joined


def test_a_java_that_cannot_archive_classes_costs_speed_only(cache: Path, tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", "17.0.1")
    program(home / "bin" / "java", "exit 1")
    (tmp_path / "hadoop.jar").touch()
    said: list[str] = []
    hadoop = Distribution(tmp_path)
    assert class_archive.class_archive(hadoop, home, said.append) is None
    assert "starts slower" in said[-1]
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_cluster_is_found_where_the_user_keeps_it_then_where_root_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, system = tmp_path / "own", tmp_path / "system"
    monkeypatch.setenv("HARPY_CLUSTER_HOME", str(own))
    monkeypatch.setattr(layout, "SYSTEM_HOME", system)
    assert layout.find_home() == own
    system.mkdir()
    (system / layout.STATE_FILE).touch()
    assert layout.find_home() == system
    own.mkdir()
    (own / layout.STATE_FILE).touch()
    assert layout.find_home() == own
    assert layout.find_home(tmp_path / "given") == tmp_path / "given"


def test_a_directory_of_something_else_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.tex"
    precious.touch()
    with pytest.raises(ConfigError, match="neither empty nor"):
        EmbeddedCluster(tmp_path).up()
    assert EmbeddedCluster(tmp_path).down(delete=True) is False
    assert list(tmp_path.iterdir()) == [precious]


def test_a_full_disk_is_named_before_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harpy.cluster.embedded.NEEDED_MB", 1 << 40)
    monkeypatch.setattr(EmbeddedCluster, "_runtime", lambda self: None)
    with pytest.raises(DiskFull, match="--home"):
        EmbeddedCluster(tmp_path / "home").up()


def test_only_processes_of_this_cluster_are_found_and_stopped(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]
    mine, other = Layout(tmp_path / "mine"), Layout(tmp_path / "other")
    environment = {"LOCAL_DIRS": f"{mine.work}/nm0-local"}
    processes = [
        subprocess.Popen([*sleep, daemons.mark(mine)], stdout=subprocess.PIPE),
        subprocess.Popen(sleep, stdout=subprocess.PIPE, env=environment),
        subprocess.Popen([*sleep, daemons.mark(other)], stdout=subprocess.PIPE),
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        assert {p.pid for p in daemons.leftovers(mine)} == {p.pid for p in processes[:2]}
        daemons.stop(mine)
        assert [process.poll() is None for process in processes] == [False, False, True]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_pid_files_that_come_and_go_are_passed_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert daemons.recorded(layout) == []
    layout.pids.mkdir(parents=True)
    (layout.pids / "namenode").write_text("17 12.5\n")
    (layout.pids / ".datanode.17").write_text("18 12.5\n")  # about to be renamed
    for gone in ("resourcemanager", ".nm0.17"):  # since the directory was read
        (layout.pids / gone).symlink_to("nowhere")
    assert daemons.recorded(layout) == [Process("namenode", 17, 12.5)]


def test_a_recycled_pid_is_not_taken_for_a_daemon() -> None:
    started = daemons.psutil.Process().create_time()
    assert daemons.alive(daemons.Process("x", os.getpid(), started))
    assert not daemons.alive(daemons.Process("x", os.getpid(), started - 60))


def test_delete_removes_what_a_cluster_wrote_and_nothing_else(tmp_path: Path) -> None:
    home = tmp_path / "home"
    layout = Layout(home)
    for directory in (layout.conf, layout.hdfs / "data", layout.node_conf(0), layout.work):
        open_directory(directory)
    layout.lock.touch()
    (home / "notes.txt").touch()
    EmbeddedCluster(home).down(delete=True)
    assert [path.name for path in home.iterdir()] == ["notes.txt"]


def test_the_environment_of_a_dead_cluster_names_the_way_out(tmp_path: Path) -> None:
    gone = Process("namenode", 2**22 + 1, 1.0)  # beyond the largest pid
    state = State(
        home=tmp_path,
        shape=Shape(),
        ports={},
        distribution="",
        java_home="",
        archive=None,
        owner="me",
        hadoop="3.5.0",
        started=0.0,
        daemons=(gone,),
    )
    state.save(Layout(tmp_path).state)
    with pytest.raises(ClusterError, match=r"is dead(?s:.*)harpy cluster up"):
        EmbeddedCluster(tmp_path).environment()


def test_a_cluster_whose_processes_cannot_be_seen_is_left_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.name_lock.parent.mkdir(parents=True)
    (layout.hdfs / "precious").touch()
    layout.lock.touch()
    hold = (
        "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    namenode = subprocess.Popen(
        [sys.executable, "-c", hold, str(layout.name_lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert namenode.stdout and namenode.stdout.readline() == "held\n"
    try:
        with pytest.raises(ClusterError, match="cannot see it"):
            EmbeddedCluster(tmp_path).down(delete=True)
        assert (layout.hdfs / "precious").exists()
    finally:
        namenode.communicate(timeout=10)
    EmbeddedCluster(tmp_path).down(delete=True)
    assert not tmp_path.exists()
