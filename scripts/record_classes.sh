#!/usr/bin/env bash
# Record which classes Hadoop's programs load, for harpy/cluster/class_archive.py.
# Needed after a change of Hadoop's version only. Writes harpy/cluster/hadoop-classes.txt.gz.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"
work=$(mktemp -d)
chmod 755 "$work"
trap 'env -u JAVA_TOOL_OPTIONS harpy cluster down --delete --home "$work/cluster"; rm -rf "$work"' EXIT
record="-XX:DumpLoadedClassList=$work/%p.lst"
export JAVA_TOOL_OPTIONS=$record record # the first for daemons and clients
harpy cluster up --home "$work/cluster"
eval "$(harpy cluster env --home "$work/cluster")"
python - <<'PYTHON'
import os
import numpy as np
from harpy import DAALKMeans
containers = {
    "yarn.app.mapreduce.am.admin-command-opts": os.environ["record"],
    "mapreduce.admin.map.child.java.opts": os.environ["record"],
}
DAALKMeans(2, n_node=2, n_thread=1, launcher="yarn", hadoop_conf=containers).fit(np.eye(100))
PYTHON
hdfs dfs -ls / >"$work/listing"
yarn application -list >"$work/listing"
sleep 10 # the master lingers for its clients
harpy cluster down --home "$work/cluster"
# Without harpy's own classes, what the JVM makes up at run time, and what the JDK's list has.
cat "$work"/*.lst | grep -v -e '^#' -e harpy -e '\$Proxy' -e 'LambdaForm' -e '/\$Lambda' |
  grep -v -x -F -f "${JAVA_HOME:?}/lib/classlist" | LC_ALL=C sort -u |
  gzip -9n >harpy/cluster/hadoop-classes.txt.gz
zcat harpy/cluster/hadoop-classes.txt.gz | wc -l
