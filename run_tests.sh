#!/usr/bin/env bash
# All checks from one command: style, types, tests.
if [ -z "${BASH_VERSION:-}" ]; then
    echo "run_tests.sh is a script for bash: start it by ./run_tests.sh or by bash run_tests.sh" >&2
    exit 2
fi
set -euo pipefail
unset CDPATH
script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do
    script=$(cd -P "$(dirname "$script")" && readlink "$script" | sed "s|^[^/]|$PWD/&|")
done
project=$(cd -P "$(dirname "$script")" && pwd -P)

usage() {
    cat <<'END'
Usage: ./run_tests.sh [PYTEST-ARGUMENT...]

Sets up what is needed (a Python environment, a browser, the data) and runs ruff, mypy and pytest.
With arguments, runs only pytest with them. For example:

  ./run_tests.sh                       everything
  ./run_tests.sh --long                the long forms of the tests that have one
  ./run_tests.sh -k data               the tests with "data" in their name
  ./run_tests.sh tests/test_data.py    the tests of one file (paths count from the project's folder)

CHROMIUM names the Chromium or Chrome that the browser tests use, if it is not found by itself.
END
}

for argument in "$@"; do
    case $argument in
        -h | --help)
            usage
            exit 0
            ;;
    esac
done

# shellcheck source=tools/setup_environment.sh
. "$project/tools/setup_environment.sh"

# Sets CHROMIUM, or leaves it empty where playwright has a browser of its own.
find_browser() {
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Chromium.app/Contents/MacOS/Chromium" \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        CHROMIUM=$(command -v "$name") && return 0
    done
    CHROMIUM=""
    "$python" -c 'import os, sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    sys.exit(not os.path.exists(playwright.chromium.executable_path))' 2>/dev/null
}

can_install() { [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ]; }

install_packages() {
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

# Debian's own where it can be installed, else playwright's.
install_browser() {
    if can_install; then
        install_packages chromium && find_browser && return 0
    fi
    "$python" -m playwright install chromium
}

# For the tests of clusters, which are skipped where there is none.
install_slurm() {
    can_install || return 0
    command -v slurmctld >/dev/null && command -v mariadbd >/dev/null && command -v slurmdbd >/dev/null && return 0
    say "installing Slurm, for the tests of clusters"
    install_packages slurmctld slurmd slurmdbd slurm-client munge mariadb-server-core mariadb-client-core
}

setup_environment requirements-dev.lock
if [ -n "${CHROMIUM:-}" ]; then
    CHROMIUM=$(command -v "$CHROMIUM") || { say "CHROMIUM names no program that can be run" && exit 1; }
elif ! find_browser; then
    say "installing a Chromium, for the browser tests"
    log=$(mktemp)
    if ! install_browser >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        say "no Chromium for the browser tests: install Chromium or Chrome and try again; if it lies in an"
        say "unusual place, name it: CHROMIUM=/path/to/chromium ./run_tests.sh"
        exit 1
    fi
fi
[ -z "${CHROMIUM:-}" ] || export CHROMIUM
"$python" -m gon.cli data

# As in real runs: one thread per process, so that numbers do not depend on the machine's cores.
export OMP_NUM_THREADS=1

if [ "${1:-}" = --long ]; then
    install_slurm >/dev/null || say "no Slurm could be installed: the tests of clusters are skipped"
    exec "$python" -m pytest -m long "${@:2}"
fi
if [ $# -gt 0 ]; then
    exec "$python" -m pytest "$@"
fi
failed=()
check() {
    echo "== $*"
    "$python" -m "$@" || failed+=("$1")
}
check ruff check .
check ruff format --check .
check mypy
# Test files side by side; their processes have one thread each.
cores=$("$python" -c 'from gon.runs.provenance import available_cores; print(min(4, available_cores()))')
check pytest --numprocesses "$cores" --dist loadfile --no-loadscope-reorder
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}"
    exit 1
fi
