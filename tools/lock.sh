#!/usr/bin/env bash
# Writes requirements.lock and requirements-dev.lock anew from pyproject.toml: run it after a change
# of the dependencies there. Versions that the locks have stay where they can;
# "tools/lock.sh --upgrade" takes newer ones of the indirect dependencies.
# Needs the environment that ./run_all.sh or ./run_tests.sh makes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || uv=$(command -v uv) || { echo "no uv: run ./run_tests.sh first" >&2; exit 1; }

# One solution for Python 3.11 to 3.13 on Linux and macOS.
options=(--universal --python-version 3.11 --fork-strategy fewest --no-annotate)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

lock() { # lock FILE [OPTION...]
    local file=$1
    shift
    if [ -f "$file" ]; then
        cp "$file" "$scratch/"
    fi
    "$uv" pip compile --quiet "${options[@]}" --no-header --no-emit-find-links --no-emit-index-url \
        "$@" --output-file "$scratch/$file" pyproject.toml
    # Left out: CUDA packages, which a CPU build of torch does not need, and of which a CUDA build
    # names the exact versions itself; and packages for Windows, which has no ./run_all.sh.
    {
        echo "# Made by tools/lock.sh from pyproject.toml; do not edit by hand. Its command:"
        echo "# uv pip compile ${options[*]} $* pyproject.toml"
        grep -vE "^(#|nvidia-|cuda-|triton)|(sys_platform == 'win32'|os_name == 'nt')$" "$scratch/$file" |
            sed -E 's/^(torch(vision)?==[0-9.]+)\+cpu/\1/'
    } >"$scratch/new"
    cp "$scratch/new" "$file"
    echo "$file: $(grep -c == "$file") packages"
}

lock requirements.lock "$@"
# The same versions of what both contain, so that tests run what a reader runs.
lock requirements-dev.lock --extra dev --constraint requirements.lock "$@"
