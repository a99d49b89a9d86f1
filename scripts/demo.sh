#!/usr/bin/env bash
# From a fresh checkout to clustered pictures on a real Hadoop cluster on this machine.
#   scripts/demo.sh                  scikit-learn's digits
#   scripts/demo.sh --images DIR     photographs, one folder per class
# Every option goes to `harpy demo` (see `harpy demo --help`).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$here/scripts/setup.sh"
export PATH="$here/.venv/bin:$PATH"
harpy cluster up
eval "$(harpy cluster env)"
harpy demo "$@"
echo "In this shell harpy is $here/.venv/bin/harpy (or: source $here/.venv/bin/activate)." >&2
