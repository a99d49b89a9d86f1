"""The embedded cluster's configuration: consistent, complete, and refused where impossible."""

from __future__ import annotations

import dataclasses
import socket
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harpy.cluster.daemons import Runtime
from harpy.cluster.jars import Distribution
from harpy.cluster.layout import Layout
from harpy.cluster.ports import choose_ports, port_names
from harpy.cluster.profiles import QUICK, SINGLE_MACHINE, STOCK
from harpy.cluster.site_files import node_settings, site_settings, write_configuration
from harpy.cluster.spec import Process, Shape, State
from harpy.errors import ClusterError, ConfigError

BIND = "127.0.0.1"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "home")


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(Path("/jdk"), Distribution(Path("/hadoop")), Path("/classes.jsa"))


def numbered(nodes: int) -> dict[str, int]:
    """Every port of a cluster, all different."""
    return {name: 20000 + i for i, name in enumerate(port_names(nodes))}


def test_every_address_is_the_one_bound_to(layout: Layout, runtime: Runtime) -> None:
    shape = Shape(nodes=2, bind="127.0.0.7")
    ports = numbered(2)
    sites = site_settings(layout, shape, ports, runtime)
    nodes = [node_settings(sites, layout, shape, ports, node) for node in range(2)]
    seen = set()
    for settings in (sites, *nodes):
        for values in settings.values():
            for name, value in values.items():
                host, colon, port = value.removeprefix("hdfs://").rpartition(":")
                if colon and port.isdigit():
                    assert host == "127.0.0.7", name
                    seen.add(int(port))
                if name == "mapreduce.shuffle.port":
                    seen.add(int(value))
    assert seen == set(ports.values())


def test_settings_win_over_the_profile_in_the_file_that_is_read_for_them(
    layout: Layout, runtime: Runtime
) -> None:
    expiry, capacity = "yarn.nm.liveness-monitor.expiry-interval-ms", "yarn.scheduler.capacity.root"
    master, size = "yarn.app.mapreduce.am.resource.mb", "dfs.blocksize"
    chosen = {expiry: "600000", f"{capacity}.queues": "a,b", master: "700", size: "1m", "x.y": "z"}
    shape, ports = Shape(settings=chosen), numbered(1)
    sites = site_settings(layout, shape, ports, runtime)
    node = node_settings(sites, layout, shape, ports, 0)
    for settings in (sites, node):
        assert settings["yarn-site.xml"][expiry] == "600000"
        assert settings["capacity-scheduler.xml"][f"{capacity}.queues"] == "a,b"
        assert settings["mapred-site.xml"][master] == "700"
        assert settings["hdfs-site.xml"][size] == "1m"
        assert settings["core-site.xml"]["x.y"] == "z"


def test_node_managers_share_neither_port_nor_directory(layout: Layout, runtime: Runtime) -> None:
    shape, ports = Shape(nodes=2), numbered(2)
    sites = site_settings(layout, shape, ports, runtime)
    first, second = (node_settings(sites, layout, shape, ports, node) for node in range(2))
    for name in ("address", "localizer.address", "webapp.address", "local-dirs", "log-dirs"):
        key = f"yarn.nodemanager.{name}"
        assert first["yarn-site.xml"][key] != second["yarn-site.xml"][key]
    # In mapred-site.xml: mapred-default.xml is read after yarn-site.xml and would win there.
    shuffle = [node["mapred-site.xml"]["mapreduce.shuffle.port"] for node in (first, second)]
    assert shuffle[0] != shuffle[1]


def test_written_files_are_what_hadoop_parses(layout: Layout, runtime: Runtime) -> None:
    write_configuration(layout, Shape(), numbered(1), runtime)
    found = {
        entry.findtext("name"): entry.findtext("value")
        for entry in ET.parse(layout.conf / "mapred-site.xml").getroot().iter("property")
    }
    assert found["mapreduce.framework.name"] == "yarn"
    # Quotes and $ arrive as they are: the container's shell puts the job's class path there.
    assert "-cp '/hadoop/hadoop.jar:$CLASSPATH'" in (
        found["yarn.app.mapreduce.am.admin-command-opts"] or ""
    )
    assert (layout.node_conf(0) / "webapps" / "datanode").is_dir()
    assert (layout.conf / "core-site.xml").stat().st_mode & 0o444 == 0o444


def test_a_default_fit_and_its_master_fit_on_one_default_node(
    layout: Layout, runtime: Runtime
) -> None:
    yarn = site_settings(layout, Shape(), numbered(1), runtime)["yarn-site.xml"]
    booked = int(yarn["yarn.nodemanager.resource.memory-mb"])
    assert booked >= 12288
    assert int(yarn["yarn.scheduler.maximum-allocation-mb"]) >= 10240
    assert booked >= 10240 + 512
    assert int(yarn["yarn.scheduler.maximum-allocation-vcores"]) >= 8


def test_stock_bites_where_hadoop_does(layout: Layout, runtime: Runtime) -> None:
    sites = site_settings(layout, Shape.of(stock=True), numbered(1), runtime)
    yarn, scheduler = sites["yarn-site.xml"], sites["capacity-scheduler.xml"]
    assert yarn["yarn.nodemanager.vmem-check-enabled"] == "true"
    assert yarn["yarn.nodemanager.resource.memory-mb"] == "8192"
    assert yarn["yarn.nodemanager.resource.cpu-vcores"] == "8"
    assert yarn["yarn.scheduler.minimum-allocation-mb"] == "1024"
    assert yarn["yarn.scheduler.maximum-allocation-mb"] == "8192"
    assert yarn["yarn.scheduler.maximum-allocation-vcores"] == "4"
    assert yarn["yarn.resourcemanager.nodemanagers.heartbeat-interval-ms"] == "1000"
    assert scheduler["yarn.scheduler.capacity.maximum-am-resource-percent"] == "0.1"
    assert scheduler["yarn.scheduler.capacity.root.default.user-limit-factor"] == "1"
    assert "yarn.app.mapreduce.am.resource.mb" not in sites["mapred-site.xml"]


def test_every_setting_says_why() -> None:
    for profile in (SINGLE_MACHINE, QUICK, STOCK):
        for file, settings in profile.items():
            for name, (value, reason) in settings.items():
                assert value, f"{file}: {name}"
                assert len(reason) > 5, f"{file}: {name}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"nodes": 0}, "nodes must be from 1 to 64, got 0"),
        ({"memory_mb": 100}, "memory_mb must be from 1024"),
        ({"vcores": -1}, "vcores must be from 1"),
        ({"bind": "localhost"}, "bind must be a numeric IPv4 address"),
    ],
)
def test_impossible_shapes_are_refused(given: dict[str, int | str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Shape.of(**given)


def test_given_sizes_win_over_stock_ones() -> None:
    assert Shape.of(stock=True, memory_mb=4096, vcores=None).memory_mb == 4096
    assert Shape.of(stock=True).vcores == 8


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((BIND, 0))
        taken.listen()
        number = taken.getsockname()[1]
        chosen = choose_ports({"a": number, "b": 0}, BIND)
    assert number not in chosen.values()
    assert len(set(chosen.values())) == 2


def test_a_free_wanted_port_is_taken() -> None:
    with socket.socket() as probe:
        probe.bind((BIND, 0))
        free = probe.getsockname()[1]
    assert choose_ports({"a": free}, BIND) == {"a": free}


def test_an_address_of_another_machine_is_refused() -> None:
    # 192.0.2.0/24 is reserved for documentation (RFC 5737): no machine has it.
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1 is not an IPv4 address of this machine"):
        choose_ports({"a": 0}, "192.0.2.1")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(
        home=tmp_path,
        shape=Shape(nodes=2),
        ports={"namenode.rpc": 8020},
        distribution="/hadoop",
        java_home="/jdk",
        archive=None,
        owner="somebody",
        hadoop="3.5.0",
        started=12.5,
        users=("a", "b"),
        daemons=(Process("namenode", 7, 1.25),),
    )


def test_state_is_read_back_as_it_was_written(state: State, tmp_path: Path) -> None:
    state.save(tmp_path / "cluster.json")
    assert State.load(tmp_path / "cluster.json") == state
    assert [file.name for file in tmp_path.iterdir()] == ["cluster.json"]


def test_state_of_another_version_names_the_way_out(state: State, tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    state.save(path)
    path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    with pytest.raises(ClusterError, match="harpy cluster down"):
        State.load(path)


def test_a_shape_is_compared_by_all_it_holds() -> None:
    assert dataclasses.replace(Shape(), nodes=2) != Shape()
