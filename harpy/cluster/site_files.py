"""Writes the Hadoop configuration: profile, addresses and paths, from one source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from harpy.cluster.class_archive import options as archive_options
from harpy.cluster.daemons import Runtime
from harpy.cluster.jars import Distribution
from harpy.cluster.layout import Layout, open_directory
from harpy.cluster.profiles import QUICK, SINGLE_MACHINE, STOCK
from harpy.cluster.spec import Shape, write_atomically

# A client makes itself quieter with -Dhadoop.root.logger=WARN,console.
LOG4J = """\
hadoop.root.logger=INFO,console
log4j.rootLogger=${hadoop.root.logger}
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.http.requests=WARN
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""

# A longer beginning comes before a shorter one; what begins otherwise belongs to core-site.xml.
SITE_OF = {
    "yarn.scheduler.capacity.": "capacity-scheduler.xml",
    "yarn.app.mapreduce.": "mapred-site.xml",
    "yarn.": "yarn-site.xml",
    "mapreduce.": "mapred-site.xml",
    "dfs.": "hdfs-site.xml",
}

Sites = dict[str, dict[str, str]]


def write_configuration(
    layout: Layout, shape: Shape, ports: Mapping[str, int], runtime: Runtime
) -> None:
    """Write conf/ for clients and masters and nm<i>/conf for each node manager."""
    sites = site_settings(layout, shape, ports, runtime)
    _write(layout.conf, sites)
    for node in range(shape.nodes):
        _write(layout.node_conf(node), node_settings(sites, layout, shape, ports, node))


def site_settings(
    layout: Layout, shape: Shape, ports: Mapping[str, int], runtime: Runtime
) -> Sites:
    """Return site file -> name -> value for clients and all daemons but the node managers."""
    sites: Sites = {}
    filled = {"memory_mb": shape.memory_mb, "vcores": shape.vcores}
    for profile in (SINGLE_MACHINE, STOCK if shape.stock else QUICK):
        for file, settings in profile.items():
            values = {name: value.format(**filled) for name, (value, _) in settings.items()}
            sites.setdefault(file, {}).update(values)
    parts = [_paths(layout, runtime.hadoop), _addresses(shape.bind, ports)]
    if not shape.stock:
        parts.append(_archived_classes(runtime))
    parts.append(_chosen(shape.settings))
    for part in parts:
        for file, values in part.items():
            sites.setdefault(file, {}).update(values)
    return sites


def node_settings(
    sites: Sites, layout: Layout, shape: Shape, ports: Mapping[str, int], node: int
) -> Sites:
    """Return the settings of one node manager: the cluster's, with its own addresses and paths."""
    mine = {file: dict(values) for file, values in sites.items()}

    def at(name: str) -> str:
        return f"{shape.bind}:{ports[f'nm{node}.{name}']}"

    mine["yarn-site.xml"].update(
        {
            "yarn.nodemanager.hostname": shape.bind,
            "yarn.nodemanager.bind-host": shape.bind,
            "yarn.nodemanager.address": at("rpc"),
            "yarn.nodemanager.localizer.address": at("localizer"),
            "yarn.nodemanager.webapp.address": at("http"),
            "yarn.nodemanager.local-dirs": str(layout.node_local(node)),
            "yarn.nodemanager.log-dirs": str(layout.node_logs(node)),
        }
    )
    # Not in yarn-site.xml: mapred-default.xml is read after it and would win.
    mine["mapred-site.xml"]["mapreduce.shuffle.port"] = str(ports[f"nm{node}.shuffle"])
    return mine


def _chosen(settings: Mapping[str, str]) -> Sites:
    """The user's own settings, each in the file where Hadoop's daemons look for it."""
    sites: Sites = {}
    for name, value in settings.items():
        file = next((f for start, f in SITE_OF.items() if name.startswith(start)), "core-site.xml")
        sites.setdefault(file, {})[name] = value
    return sites


def _paths(layout: Layout, hadoop: Distribution) -> Sites:
    lib = hadoop.lib
    return {
        "core-site.xml": {"hadoop.tmp.dir": str(layout.work / "tmp")},
        "hdfs-site.xml": {
            "dfs.namenode.name.dir": (layout.hdfs / "name").as_uri(),
            "dfs.datanode.data.dir": (layout.hdfs / "data").as_uri(),
        },
        "yarn-site.xml": {
            "yarn.application.classpath": f"{layout.conf},{lib}/*",
            "yarn.resourcemanager.fs.state-store.uri": (layout.work / "rm-store").as_uri(),
            "yarn.node-attribute.fs-store.root-dir": (layout.work / "node-attributes").as_uri(),
            "yarn.node-labels.fs-store.root-dir": (layout.work / "node-labels").as_uri(),
        },
        "mapred-site.xml": {"mapreduce.application.classpath": f"{lib}/*"},
    }


def _archived_classes(runtime: Runtime) -> Sites:
    """Let masters and tasks begin with archived classes: half the processor time of a job.

    These are the administrator's options, which come before the job's own. $CLASSPATH is what
    MapReduce makes of the job's jar; the archive wants hadoop.jar before it.
    """
    if runtime.archive is None:
        return {}
    path = f"-cp '{runtime.hadoop.class_path}:$CLASSPATH'"
    begin = " ".join([*archive_options(runtime.archive, quiet=True), path])
    return {
        "mapred-site.xml": {
            "yarn.app.mapreduce.am.admin-command-opts": begin,
            # What replaces Hadoop's own default must repeat it.
            "mapreduce.admin.map.child.java.opts": f"-Djava.net.preferIPv4Stack=true {begin}",
        }
    }


def _addresses(bind: str, ports: Mapping[str, int]) -> Sites:
    at = {name: f"{bind}:{number}" for name, number in ports.items()}
    return {
        "core-site.xml": {"fs.defaultFS": f"hdfs://{at['namenode.rpc']}"},
        "hdfs-site.xml": {
            "dfs.namenode.rpc-address": at["namenode.rpc"],
            "dfs.namenode.http-address": at["namenode.http"],
            "dfs.datanode.hostname": bind,
            "dfs.datanode.address": at["datanode.data"],
            "dfs.datanode.http.address": at["datanode.http"],
            "dfs.datanode.ipc.address": at["datanode.ipc"],
        },
        "yarn-site.xml": {
            "yarn.resourcemanager.hostname": bind,
            "yarn.resourcemanager.address": at["resourcemanager.client"],
            "yarn.resourcemanager.scheduler.address": at["resourcemanager.scheduler"],
            "yarn.resourcemanager.resource-tracker.address": at["resourcemanager.tracker"],
            "yarn.resourcemanager.admin.address": at["resourcemanager.admin"],
            "yarn.resourcemanager.webapp.address": at["resourcemanager.http"],
            "yarn.log.server.url": f"http://{at['historyserver.http']}/jobhistory/logs",
        },
        "mapred-site.xml": {
            "mapreduce.jobhistory.address": at["historyserver.rpc"],
            "mapreduce.jobhistory.admin.address": at["historyserver.admin"],
            "mapreduce.jobhistory.webapp.address": at["historyserver.http"],
        },
    }


def _write(directory: Path, sites: Sites) -> None:
    open_directory(directory)
    # NameNode and DataNode look for their web pages on the class path; empty folders satisfy them.
    for page in ("hdfs", "datanode"):
        open_directory(directory / "webapps" / page)
    write_atomically(directory / "log4j.properties", LOG4J)
    for file, values in sites.items():
        write_atomically(directory / file, _xml(values))


def _xml(values: Mapping[str, str]) -> str:
    lines = ["<configuration>"]
    for name, value in sorted(values.items()):
        lines.append(f"  <property><name>{name}</name><value>{escape(value)}</value></property>")
    lines.append("</configuration>")
    return "\n".join(lines) + "\n"
