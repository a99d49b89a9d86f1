#!/usr/bin/env bash
# Make this checkout ready to run: tools checked, .venv made, native code built, harpy installed.
# Quiet, one line per step; does nothing when nothing has changed since the last time.
#   HARPY_PYTHON=/path/to/python3   use this interpreter (default: the system's, then PATH's)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

show_progress() { # of a build, by setup.py's lines: in place on a terminal, else now and then
  local title=$1 line
  while IFS= read -r line; do
    [[ $line =~ compiled\ ([0-9]+)\ of\ ([0-9]+) ]] || continue
    if [ -t 1 ]; then
      printf '\rsetup: %s ... %s ' "$title" "${BASH_REMATCH[0]}"
    elif ((BASH_REMATCH[1] % 10 == 0)); then
      printf '%s, ' "${BASH_REMATCH[0]}"
    fi
  done
  [ ! -t 1 ] || printf '\r\033[Ksetup: %s ... ' "$title"
}

step() { # step TITLE COMMAND...: run it; show what it printed only if it fails
  local title=$1 begun=$SECONDS log=build/setup.log
  shift
  printf 'setup: %s ... ' "$title"
  if "$@" 2>&1 </dev/null | tee "$log" | show_progress "$title"; then
    echo "$((SECONDS - begun)) s"
  else
    echo "failed after $((SECONDS - begun)) s"
    tail -n 40 "$log" >&2
    exit 1
  fi
}

python_fits() { # a version, venv, headers, and a place from which every user can start it
  "$1" - 2>/dev/null <<'PYTHON'
import importlib.util, os, pathlib, sys, sysconfig
here = pathlib.Path(os.path.realpath(sys.executable))
sys.exit(not (
    sys.version_info >= (3, 11)
    and all(importlib.util.find_spec(module) for module in ("venv", "ensurepip"))
    and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
    # Workers may run as another user: below a closed home their interpreter would not start.
    and all(parent.stat().st_mode & 0o001 for parent in here.parents)
))
PYTHON
}

find_python() {
  local candidate
  for candidate in ${HARPY_PYTHON:-/usr/bin/python3 /usr/bin/python3.1{1,2,3,4} python3}; do
    candidate=$(command -v "$candidate") && python_fits "$candidate" && echo "$candidate" && return
  done
  return 1
}

have_jdk() {
  local version
  version=$("${JAVA_HOME:+$JAVA_HOME/bin/}javac" -version 2>/dev/null) || return 1
  version=${version#javac }
  [ "${version%%[.-]*}" -ge 17 ]
}

missing_packages() { # Debian's names of what this machine lacks
  local python=python3
  if ! find_python >/dev/null; then
    # Where the distribution's own Python is too old, a newer one stands beside it.
    /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info >= (3, 11))' 2>/dev/null &&
      python=python3.11
    echo "$python $python-venv $python-dev"
  fi
  if ! have_jdk; then
    if apt-cache show openjdk-17-jdk-headless >/dev/null 2>&1; then
      echo openjdk-17-jdk-headless
    else
      echo default-jdk-headless
    fi
  fi
  command -v g++ >/dev/null || echo g++
  command -v mvn >/dev/null || echo maven
}

check_tools() {
  local missing attempt
  for attempt in 1 2; do # twice: only an installed python3 shows that it is too old
    missing=$(missing_packages | xargs)
    [ -z "$missing" ] && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || break
    [ "$attempt" = 1 ] && step "apt-get update" apt-get update -q
    missing=$(missing_packages | xargs)
    # shellcheck disable=SC2086  # a list of words
    step "apt-get install $missing" \
      env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
  done
  missing=$(missing_packages | xargs)
  [ -z "$missing" ] && return
  {
    echo "setup: missing on this machine, by Debian's and Ubuntu's names: $missing"
    echo "  next, as root:  apt-get update && apt-get install $missing"
    echo "  elsewhere: Python >= 3.11 with venv and headers, in a place every user can read;"
    echo "  a JDK >= 17 on PATH or at JAVA_HOME; g++; Maven (mvn)"
  } >&2
  exit 1
}

fingerprint() { # what the installed state depends on; docs and plain Python need no new build
  {
    "$1" -c 'import sys; print(sys.version, sys.prefix)'
    find setup.py pyproject.toml scripts/setup.sh kernels harpy/launch/yarn/java -type f \
      \( -name '*.py' -o -name '*.toml' -o -name '*.sh' -o -name '*.pyx' -o -name '*.pxd' \
      -o -name '*.pxi' -o -name '*.h' -o -name '*.java' -o -name '*.cpp' ! -name '_*.cpp' \) -print0 |
      sort -z | xargs -0 sha256sum
    # A built file that was deleted is built again.
    find harpy/launch kernels -name '*.so' -o -name '*.jar' | sort
  } | sha256sum
}

make_venv() {
  rm -rf .venv
  "$1" -m venv .venv
  .venv/bin/python -m pip install --quiet --upgrade pip
}

build_requirements() {
  .venv/bin/python -c 'import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
}

mkdir -p build
exec 9>build/.setup.lock
flock 9
stamp=.venv/.harpy-setup
if [ -x .venv/bin/python ] && [ -f $stamp ] &&
  [ "$(fingerprint .venv/bin/python)" = "$(cat $stamp)" ]; then
  exit 0
fi
check_tools
if ! { [ -x .venv/bin/python ] && python_fits .venv/bin/python; }; then
  step "virtual environment" make_venv "$(find_python)"
fi
mapfile -t requires < <(build_requirements)
step "build tools" .venv/bin/python -m pip install --quiet --upgrade-strategy only-if-needed \
  "${requires[@]}" wheel
step "harpy: native code, launcher, dependencies" \
  .venv/bin/python -m pip install -v --no-build-isolation --editable '.[demo,test,check]'
fingerprint .venv/bin/python >$stamp
