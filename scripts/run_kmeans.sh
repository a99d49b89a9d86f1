#!/usr/bin/env bash
# The image-clustering tutorial: two programs that differ in a few lines.
#   scripts/run_kmeans.sh [DIR]         scikit-learn's KMeans on this machine
#   scripts/run_kmeans.sh daal [DIR]    DAALKMeans on the cluster of HADOOP_CONF_DIR, else on one of
#                                       our own on this machine
# DIR holds photographs, one folder per class; without it scikit-learn's digits are clustered.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
program=local
if [[ ${1:-} == daal ]]; then
  program=daal
  shift
fi
"$here/scripts/setup.sh" >&2
export PATH="$here/.venv/bin:$PATH"
if [[ $program == daal && -z ${HADOOP_CONF_DIR:-} ]]; then
  harpy cluster up
  eval "$(harpy cluster env)"
fi
exec python "$here/examples/scene_clustering/demo_kmeans_$program.py" "$@"
