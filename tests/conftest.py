"""What tests of several floors share: a real cluster of their own, and the shared data."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harpy.cluster.jars import distribution
from harpy.cluster.spec import Shape
from tests.support import ROOT
from tests.support.cluster.running import OWNER, RunningCluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    """A cluster with the quick profile, one for all tests."""
    with running_cluster(Shape(), OWNER) as started:
        yield started


@pytest.fixture(scope="session")
def stock_cluster() -> Iterator[RunningCluster]:
    """A cluster with Hadoop's own limits, set up by Hadoop's own advice; the tests that use it run
    last."""
    with running_cluster(Shape.of(stock=True, settings=_advised()), OWNER) as started:
        yield started


def _advised() -> dict[str, str]:
    """What Hadoop's documentation on a single node tells to set. Without these variables the class
    path is empty: the rest of it is what the embedded cluster would have said instead."""
    home = f"HADOOP_MAPRED_HOME={distribution(print).directory}"
    return {
        "yarn.app.mapreduce.am.env": home,
        "mapreduce.map.env": home,
        "mapreduce.reduce.env": home,
        "mapreduce.application.classpath": "$HADOOP_MAPRED_HOME/lib/*",
        "yarn.application.classpath": "$HADOOP_CONF_DIR",
    }


@pytest.fixture
def on_cluster(cluster: RunningCluster, monkeypatch: pytest.MonkeyPatch) -> RunningCluster:
    """The cluster, with this very process as its client."""
    for name in ("HADOOP_HOME", "HADOOP_CONF_DIR", "HADOOP_USER_NAME", "JAVA_HOME", "PATH"):
        monkeypatch.setenv(name, cluster.env[name])
    return cluster


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """pytest's own; with a cluster, a folder in which its containers' user may write, too."""
    if not {"cluster", "stock_cluster"} & set(request.fixturenames):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="harpy-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data that is too big or not free enough for the repository."""
    folder = Path(os.environ.get("HARPY_SHARED") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the shared data: no {folder}/data (HARPY_SHARED says where it is)")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a cluster, and run what needs the stock one last."""
    for item in items:
        if {"cluster", "stock_cluster"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")
    items.sort(key=lambda item: "stock_cluster" in getattr(item, "fixturenames", ()))
