"""Node managers on hosts of their own: each in a network namespace behind a bridge on this machine,
so that a host can be lost without a word, cut off from another, or made slow. Needs root and `ip`;
cutting needs `nft`, slowing `tc`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from harpy.cluster import web
from harpy.cluster.layout import Layout
from harpy.cluster.spec import Shape
from tests.support.cluster.running import RunningCluster, running_cluster
from tests.support.shell import eventually

# Of benchmarks (RFC 2544), hence nobody's: what a bridge of this machine may have.
NETWORK, BRIDGE = "198.18.77", "harpy-br"
NODE_PORTS = {"rpc": 8041, "localizer": 8040, "http": 8042, "shuffle": 13562}
START_S = 120.0
PROXY, PROXY_PORT = str(Path(__file__).with_name("delaying_proxy.py")), "7777"
PROXY_GROUP = 65432  # nobody's: by it the proxy's own connections are told from what it is to delay


def missing() -> str | None:
    """Why there can be no hosts here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    tools = [tool for tool in ("ip", "nft", "tc") if shutil.which(tool) is None]
    if tools:
        return f"not found: {', '.join(tools)} (Debian: iproute2, nftables)"
    addresses = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True).stdout
    foreign = [line for line in addresses.splitlines() if f" {NETWORK}." in line]
    taken = any(BRIDGE not in line for line in foreign)
    return f"this machine has an address in {NETWORK}.0/24" if taken else None


@dataclass(frozen=True)
class Host:
    """A network namespace with one address."""

    number: int

    @property
    def name(self) -> str:
        return f"harpy-host{self.number}"

    @property
    def link(self) -> str:
        """Its cable's end at the bridge."""
        return f"harpy-veth{self.number}"

    @property
    def address(self) -> str:
        return f"{NETWORK}.{10 + self.number}"

    def inside(self, *command: str) -> None:
        run("ip", "netns", "exec", self.name, *command)

    def plug(self, there: bool) -> None:
        """Pull the cable, or put it back."""
        run("ip", "link", "set", self.link, "up" if there else "down")

    def cut(self, other: Host) -> None:
        """Drop all that comes from another host and goes there, in silence."""
        self.inside("nft", "add", "table", "ip", "cut")
        for hook, side in (("input", "saddr"), ("output", "daddr")):
            chain = f"{{ type filter hook {hook} priority 0 ; }}"
            self.inside("nft", "add", "chain", "ip", "cut", hook, chain)
            self.inside("nft", "add", "rule", "ip", "cut", hook, "ip", side, other.address, "drop")

    def join(self) -> None:
        """Undo `cut`."""
        self.inside("nft", "delete", "table", "ip", "cut")

    @contextmanager
    def delayed(self, others: Sequence[Host], delay_s: float) -> Iterator[None]:
        """Have a proxy hold back what new connections from here to other hosts carry, both ways."""
        proxy = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, PROXY, PROXY_PORT, str(delay_s)],
            group=PROXY_GROUP,
        )
        self.inside("nft", "add", "table", "ip", "slow")
        chain = "{ type nat hook output priority -100 ; }"
        self.inside("nft", "add", "chain", "ip", "slow", "output", chain)
        try:
            for other in others:
                match = ["ip", "daddr", other.address, "meta", "skgid", "!=", str(PROXY_GROUP)]
                aim = ["tcp", "dport", "1024-65535", "redirect", "to", f":{PROXY_PORT}"]
                self.inside("nft", "add", "rule", "ip", "slow", "output", *match, *aim)
            yield
        finally:
            self.inside("nft", "delete", "table", "ip", "slow")
            proxy.kill()
            proxy.wait()

    def throttle(self, rate: str) -> None:
        """Let what goes to this host pass at a rate such as "2mbit"."""
        shape = ["rate", rate, "burst", "32k", "latency", "400ms"]
        run("tc", "qdisc", "add", "dev", self.link, "root", "tbf", *shape)

    def release(self) -> None:
        """Undo `throttle`."""
        run("tc", "qdisc", "del", "dev", self.link, "root")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


@contextmanager
def hosts(n: int) -> Iterator[list[Host]]:
    """So many hosts behind a bridge, which is this machine's own leg in their network."""
    found = [Host(number) for number in range(n)]
    _remove(found)  # what somebody left that was killed
    try:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        for host in found:
            _make(host)
        yield found
    finally:
        _remove(found)


def _make(host: Host) -> None:
    run("ip", "netns", "add", host.name)
    peer = ["peer", "name", "eth0", "netns", host.name]
    run("ip", "link", "add", host.link, "type", "veth", *peer)
    run("ip", "link", "set", host.link, "master", BRIDGE, "up")
    host.inside("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
    host.inside("ip", "link", "set", "eth0", "up")
    host.inside("ip", "link", "set", "lo", "up")


def _remove(found: list[Host]) -> None:
    for host in found:
        # The cable first: with its host it would vanish some time later.
        if Path("/sys/class/net", host.link).exists():
            run("ip", "link", "del", host.link)
        if Path("/run/netns", host.name).exists():
            run("ip", "netns", "del", host.name)
    if Path("/sys/class/net", BRIDGE).exists():
        run("ip", "link", "del", BRIDGE)


@contextmanager
def cluster_of_hosts(
    shape: Shape, n: int, memory_mb: int
) -> Iterator[tuple[RunningCluster, list[Host]]]:
    """A cluster of `shape` whose daemons are at the bridge, with one more node manager on each of
    `n` hosts, of `memory_mb` each."""
    with hosts(n) as found, running_cluster(replace(shape, bind=f"{NETWORK}.1")) as cluster:
        managers = [_start_node_manager(cluster, host, memory_mb) for host in found]
        try:
            eventually(
                lambda: web.active_nodes(cluster.state) >= shape.nodes + n,
                START_S,
                "the hosts' node managers did not register",
            )
            yield cluster, found
        finally:
            for manager in managers:
                manager.kill()
                manager.wait()


def _start_node_manager(
    cluster: RunningCluster, host: Host, memory_mb: int
) -> subprocess.Popen[bytes]:
    """One more, started as the cluster's own but for its configuration and its host."""
    layout = Layout(cluster.home)
    own, number = layout.node_conf(0), cluster.state.shape.nodes + host.number
    conf = layout.node_conf(number)
    shutil.copytree(own, conf)
    _configure(conf, host, layout, number, memory_mb)
    first = psutil.Process(next(d.pid for d in cluster.state.daemons if d.name == "nm0"))
    command = [word.replace(str(own), str(conf)) for word in first.cmdline()]
    env = {**first.environ(), "HADOOP_CONF_DIR": str(conf)}
    with layout.log(f"nm{number}").open("wb") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", host.name, *command],
            env=env,
            cwd=cluster.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _configure(conf: Path, host: Host, layout: Layout, number: int, memory_mb: int) -> None:
    at = {name: f"{host.address}:{port}" for name, port in NODE_PORTS.items()}
    mine = {
        "yarn.nodemanager.hostname": host.address,
        "yarn.nodemanager.bind-host": host.address,
        "yarn.nodemanager.address": at["rpc"],
        "yarn.nodemanager.localizer.address": at["localizer"],
        "yarn.nodemanager.webapp.address": at["http"],
        "yarn.nodemanager.local-dirs": str(layout.node_local(number)),
        "yarn.nodemanager.log-dirs": str(layout.node_logs(number)),
        "yarn.nodemanager.resource.memory-mb": str(memory_mb),
        "mapreduce.shuffle.port": str(NODE_PORTS["shuffle"]),
    }
    for file in ("yarn-site.xml", "mapred-site.xml"):
        tree = ET.parse(conf / file)
        for entry in tree.iter("property"):
            value, name = entry.find("value"), entry.findtext("name")
            if value is not None and name in mine:
                value.text = mine[name]
        tree.write(conf / file)
