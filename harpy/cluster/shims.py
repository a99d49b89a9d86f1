"""The commands in <home>/bin: hadoop, hdfs, yarn and mapred, as short scripts over the jars."""

from __future__ import annotations

import shlex

from harpy.cluster.daemons import Runtime
from harpy.cluster.layout import HADOOP_VERSION, Layout, open_directory
from harpy.cluster.spec import write_atomically

_FS = "org.apache.hadoop.fs.FsShell"
_YARN = "org.apache.hadoop.yarn.client.cli"

# command -> subcommand -> (main class, leading arguments)
COMMANDS: dict[str, dict[str, str]] = {
    "hadoop": {
        "fs": _FS,
        "dfs": _FS,
        "jar": "org.apache.hadoop.util.RunJar",
        "version": "org.apache.hadoop.util.VersionInfo",
        "job": "org.apache.hadoop.mapred.JobClient",
    },
    "hdfs": {
        "dfs": _FS,
        "dfsadmin": "org.apache.hadoop.hdfs.tools.DFSAdmin",
        "fsck": "org.apache.hadoop.hdfs.tools.DFSck",
        "getconf": "org.apache.hadoop.hdfs.tools.GetConf",
        "groups": "org.apache.hadoop.hdfs.tools.GetGroups",
        "version": "org.apache.hadoop.util.VersionInfo",
    },
    "yarn": {
        "application": f"{_YARN}.ApplicationCLI application",
        "app": f"{_YARN}.ApplicationCLI app",
        "applicationattempt": f"{_YARN}.ApplicationCLI applicationattempt",
        "container": f"{_YARN}.ApplicationCLI container",
        "logs": f"{_YARN}.LogsCLI",
        "node": f"{_YARN}.NodeCLI",
        "queue": f"{_YARN}.QueueCLI",
        "rmadmin": f"{_YARN}.RMAdminCLI",
        "jar": "org.apache.hadoop.util.RunJar",
        "version": "org.apache.hadoop.util.VersionInfo",
    },
    "mapred": {
        "job": "org.apache.hadoop.mapred.JobClient",
        "queue": "org.apache.hadoop.mapred.JobQueueClient",
        "version": "org.apache.hadoop.util.VersionInfo",
    },
}

TEMPLATE = """\
#!/usr/bin/env bash
# {command} of the embedded Hadoop {version} in {home}; written by `harpy cluster up`.
set -eu
jar={jar}
conf=${{HADOOP_CONF_DIR:-{conf}}}
case "${{1:-}}" in
  classpath) echo "$jar:"{lib}"/*:$conf"; exit ;;
{cases}
  *) echo "usage: {command} {names} ..." >&2; exit 2 ;;
esac
shift
exec {java} ${{HADOOP_OPTS:-}} \\
  -cp "$jar:$conf${{HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}}" $main "$@"
"""


def write_shims(layout: Layout, runtime: Runtime) -> None:
    """Write hadoop, hdfs, yarn and mapred into <home>/bin."""
    open_directory(layout.bin)
    quieter = ["-Dhadoop.root.logger=WARN,console", "-Xlog:cds=off"]
    java = shlex.join(runtime.command(layout.conf, 512, quieter)[:-2])
    for command, subcommands in COMMANDS.items():
        cases = [f'  {name}) main="{main}" ;;' for name, main in subcommands.items()]
        text = TEMPLATE.format(
            command=command,
            version=HADOOP_VERSION,
            home=layout.home,
            jar=shlex.quote(str(runtime.hadoop.class_path)),
            lib=shlex.quote(str(runtime.hadoop.lib)),
            conf=shlex.quote(str(layout.conf)),
            cases="\n".join(cases),
            names="|".join(["classpath", *subcommands]),
            java=java,
        )
        write_atomically(layout.bin / command, text)
        (layout.bin / command).chmod(0o755)
