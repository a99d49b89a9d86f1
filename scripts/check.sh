#!/usr/bin/env bash
# Style and types: everything that can be said without running harpy. Changes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
bin=.venv/bin
failed=0
check() { # check COMMAND...: go on after a failure, so that one run shows all of them
  echo "check: ${*:1:4}"
  "$@" || failed=1
}
check_types() { # of all that is one package when it is installed; mypy maps no folder to another name
  local tree=build/typed
  rm -rf $tree && mkdir -p $tree && cp -rp harpy $tree/ && cp -rp jobs kernels $tree/harpy/
  (cd $tree && ../../$bin/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache) |
    sed -E 's#^harpy/(jobs|kernels)/#\1/#'
}
mapfile -t native < <(git ls-files 'kernels/*.cpp' 'kernels/*.h' 'tests/native/*.cpp' 'tests/fuzz/*.cpp')
mapfile -t sources < <(git ls-files 'kernels/*.cpp' 'tests/native/*.cpp')
mapfile -t shell < <(git ls-files 'scripts/*.sh' .ci/run)
check $bin/ruff check .
check $bin/ruff format --check .
check check_types
[ ${#native[@]} = 0 ] || check $bin/clang-format --dry-run -Werror "${native[@]}"
for compiler in g++ clang++; do
  command -v $compiler >/dev/null || continue
  check $compiler -fsyntax-only -Wall -Werror -Wextra -std=c++17 -fopenmp-simd -Ikernels/kmeans \
    "${sources[@]}"
done
for script in "${shell[@]}"; do check bash -n "$script"; done
exit $failed
