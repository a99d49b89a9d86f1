#!/usr/bin/env bash
# Set up, then run the tests, those on a real Hadoop cluster included.
#   scripts/test.sh [--full] [pytest's arguments]      --full adds the slow ones
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
chosen=(-m "not slow")
if [ "${1:-}" = --full ]; then
  chosen=()
  shift
fi
# The tests start clusters of their own; one that this shell uses must not be met by accident.
unset HADOOP_CONF_DIR HADOOP_HOME HADOOP_USER_NAME HARPY_LAUNCHER HARPY_CLUSTER_HOME
exec .venv/bin/python -m pytest "${chosen[@]}" "$@"
