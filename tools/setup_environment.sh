#!/usr/bin/env bash
# shellcheck disable=SC2154  # project: set by the script that sources this
# Sourced by run_all.sh and run_tests.sh, with the project's folder in $project. After
# "setup_environment FILE.lock", $python is a Python with all that the lock pins, and the project
# itself, installed: an active environment that satisfies the lock, or the project's own .venv,
# made here where necessary. The current folder is then the project's, and the environment's
# variables those of "own_world".
#
# .venv is a link into .venvs/: a new environment is made beside the old one, which stays as it is
# until the new one is complete. It is never changed.
#
# Works with bash 3.2 (macOS). Returns 1, with the reason on stderr, if it cannot be done.

UV_PINNED=0.13.9

# "install" ends in a pipe.
set -o pipefail

say() { echo "[setup] $*" >&2; }

# Paths that were given from the current folder must mean the same from the project's.
absolute() {
    case ${!1:-/} in
        /* | "~"*) ;;
        *) export "$1=$PWD/${!1}" ;;
    esac
}

# Nothing of the person's settings of Python, its libraries and git reaches what is started here, but
# where packages come from. (gon/processes.py does the same for what is started without this script.)
own_world() {
    local name
    absolute GON_DATA_DIR
    absolute GON_RUNS_DIR
    for name in $(compgen -e); do
        case $name in
            PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_FIND_LINKS | PIP_NO_INDEX | PIP_TRUSTED_HOST | PIP_CERT | \
                PIP_CLIENT_CERT | PIP_PROXY | PIP_RETRIES | PIP_TIMEOUT | PIP_DEFAULT_TIMEOUT | PIP_CACHE_DIR | \
                PIP_CONFIG_FILE | PIP_KEYRING_PROVIDER) ;;
            UV_DEFAULT_INDEX | UV_INDEX | UV_INDEX_URL | UV_EXTRA_INDEX_URL | UV_FIND_LINKS | UV_NO_INDEX | \
                UV_OFFLINE | UV_CACHE_DIR | UV_HTTP_* | UV_NATIVE_TLS | UV_SYSTEM_CERTS | UV_INSECURE_HOST | \
                UV_KEYRING_PROVIDER | UV_LINK_MODE | UV_CONCURRENT_*) ;;
            PIP_* | UV_* | PYTHON* | MPL* | MATPLOTLIB* | IPYTHON* | JUPYTER_* | SNAKEMAKE_* | GIT_* | LANG | \
                LANGUAGE | LC_*) unset "$name" ;;
        esac
    done
    export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 # also against a file of settings
    export PYTHONPATH="$project" PYTHONSAFEPATH=1 PYTHONNOUSERSITE=1 PYTHONUTF8=1
    LC_ALL=$([ "$(uname -s)" = Darwin ] && echo en_US.UTF-8 || echo C.UTF-8)
    export LC_ALL
    umask 022
    cd "$project" || return 1
}

# setup_environment LOCK: sets $python.
setup_environment() {
    local lock=$1 work number name
    own_world || return 1
    if use_active_environment "$lock"; then
        return 0
    fi
    python=$project/.venv/bin/python
    if is_ready "$lock"; then
        return 0
    fi
    # In a group of its own, so that all of it ends when this script is told to.
    set -m
    prepare_environment "$lock" &
    work=$!
    set +m
    for name in INT:130 TERM:143 HUP:129; do
        number=${name#*:}
        trap "kill -TERM -- -$work 2>/dev/null; say 'stopped; the same command tries again'; exit $number" "${name%:*}"
    done
    if ! wait "$work"; then
        say "the environment could not be set up; the lines above say why. The same command tries again."
        return 1
    fi
    trap - INT TERM HUP
}

# One set-up at a time in one checkout. The lock is on the folder itself: no file stays behind.
prepare_environment() {
    (
        trap '' TTOU # outside the terminal's own group: write all the same
        if command -v flock >/dev/null && ! flock --nonblock 9; then
            say "another set-up is at work in this folder; waiting for it"
            flock 9
        fi
        is_ready "$1" || make_environment "$1"
    ) 9<"$project"
}

# The environment that is active, if it has everything; says why not otherwise.
use_active_environment() {
    local lock=$1 folder=${VIRTUAL_ENV:-${CONDA_PREFIX:-}} why place
    if [ -z "$folder" ] || [ "$folder" = "$project/.venv" ] || [ ! -x "$folder/bin/python" ]; then
        return 1
    fi
    if ! why=$("$folder/bin/python" "$project/tools/check_pins.py" "$project/$lock" 2>&1); then
        # Conda's "base" is active on many machines without anybody's wish to use it here.
        if [ "${CONDA_DEFAULT_ENV:-}" != base ]; then
            say "not using the active environment $folder: $why"
        fi
        return 1
    fi
    # Asked from another folder: here, "gon" would be found in the current one.
    place=$(cd / && PYTHONPATH="" "$folder/bin/python" -c 'import importlib.util as u; s = u.find_spec("gon"); print(s.origin if s else "")')
    if [ -n "$place" ] && ! [ "$place" -ef "$project/gon/__init__.py" ]; then
        say "not using the active environment $folder: it has another copy of this project, $place"
        return 1
    fi
    if [ -z "$place" ]; then
        say "using the active environment $folder; adding this project to it (editable)"
        if "$folder/bin/python" -c 'import pip' 2>/dev/null; then
            "$folder/bin/python" -m pip install --quiet --no-deps --editable . >&2
        else
            uv pip install --quiet --python "$folder/bin/python" --no-deps --editable . >&2
        fi || return 1
    fi
    python=$folder/bin/python
}

# What the environment depends on; its place too, as a moved environment does not work.
stamp_of() {
    (cd "$project" && echo "$project" && cksum "$1" pyproject.toml tools/setup_environment.sh)
}

# Whether an environment was made with this very lock, here, and works.
is_ready() {
    [ -f "$project/.venv/.gon-$1" ] && [ "$(cat "$project/.venv/.gon-$1")" = "$(stamp_of "$1")" ] &&
        "$project/.venv/bin/python" -c '' 2>/dev/null
}

# A set-up that fails, say without network, or is killed leaves the .venv that was there as it was.
make_environment() {
    local lock=$1 venv base torch tag old started=$SECONDS
    mkdir -p "$project/.venvs" || return 1
    old=$(readlink "$project/.venv" || true)
    for venv in "$project"/.venvs/*; do # what set-ups that were killed have left
        [ "$venv" = "$project/$old" ] || rm -rf "$venv"
    done
    venv=$(mktemp -d "$project/.venvs/XXXXXX") || return 1
    if ! TMPDIR=$venv/tmp fill_environment; then
        rm -rf "$venv"
        return 1
    fi
    rm -rf "$venv/tmp"
    # The development lock contains the other one.
    if [ "$lock" = requirements-dev.lock ]; then
        stamp_of requirements.lock >"$venv/.gon-requirements.lock"
    fi
    stamp_of "$lock" >"$venv/.gon-$lock"
    put_in_place || return 1
    say "the environment is ready, after $((SECONDS - started)) s"
}

# Lets .venv be the new environment, in one step; the old one goes unless something works with it.
put_in_place() {
    local name
    name=.venvs/$(basename "$venv")
    if [ -d "$project/.venv" ] && [ ! -L "$project/.venv" ]; then
        mv "$project/.venv" "$project/.venvs/old" || return 1
        old=.venvs/old
    fi
    ln -s "$name" "$venv/link" && "$venv/bin/python" -c 'import os, sys; os.replace(*sys.argv[1:])' \
        "$venv/link" "$project/.venv" || return 1
    if [ -n "$old" ] && command -v flock >/dev/null; then
        mkdir -p "$project/build"
        flock --nonblock "$project/build/.lock" rm -rf "${project:?}/$old" || true
    fi
}

# With the variables of make_environment.
fill_environment() {
    local python=$venv/bin/python
    base=$(find_python) || return 1
    say "making .venv with $("$base" --version 2>&1) ($base)"
    mkdir "$venv/tmp" && "$base" -m venv "$venv" >&2 || return 1
    local cache=${UV_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/}/.cache}/uv}
    if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
        export UV_CACHE_DIR=$venv/tmp/uv
    fi
    if [ "$("$project/.venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" = $UV_PINNED ]; then
        cp "$project/.venv/bin/uv" "$venv/bin/uv" || return 1
    else
        say "getting uv $UV_PINNED, which installs the rest"
        "$python" -m pip install --quiet "uv==$UV_PINNED" >&2 || return 1
    fi

    # uv does not read pip's settings: hand on those that say where packages come from.
    local sources=() folder
    for folder in ${PIP_FIND_LINKS:-}; do
        sources+=(--find-links "$folder")
    done
    if [ -n "${PIP_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
    fi

    # On Linux the ordinary torch brings gigabytes of CUDA packages; a machine without a GPU gets
    # the CPU build where it can be had. (On macOS the ordinary one has none.)
    local cpu=()
    torch=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$project/$lock")
    tag=$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    if [ "$(uname -s)" = Linux ] && ! nvidia-smi -L >/dev/null 2>&1; then
        if has_cpu_torch "$torch" "$tag"; then
            say "no GPU: taking the CPU build of torch from PIP_FIND_LINKS"
        elif say "no GPU: asking for the CPU build of torch" &&
            UV_HTTP_TIMEOUT=5 UV_HTTP_RETRIES=0 install --quiet --dry-run --torch-backend=cpu "torch==$torch" 2>/dev/null; then
            cpu=(--torch-backend=cpu)
        else
            say "the CPU build cannot be reached: taking the ordinary one, which may bring CUDA packages"
        fi
    fi

    say "installing what $lock pins"
    # By paths from the project's folder: in an absolute one, "#" and "%" would be signs of an address.
    install ${cpu[@]+"${cpu[@]}"} -r "$lock" || return 1
    # Without network, uv has what builds the project from the last time.
    install --no-deps --editable . || install --offline --no-deps --editable .
}

# Without uv's list of all packages at the end.
install() {
    "$venv/bin/uv" pip install --python "$python" ${sources[@]+"${sources[@]}"} "$@" 2>&1 |
        awk '!/^ [-+~] / { print; fflush() }' >&2
}

# Whether one of the local folders in PIP_FIND_LINKS holds that version of torch for that Python.
has_cpu_torch() {
    local folder
    for folder in ${PIP_FIND_LINKS:-}; do
        if compgen -G "${folder#file://}/torch-$1+cpu-$2-*$(uname -m).whl" >/dev/null; then
            return 0
        fi
    done
    return 1
}

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

# Prints a Python that is fit. 3.11 first: the one of environment.yml, and the one tests run with most.
find_python() {
    local name no_venv=""
    for name in python3.11 python3.12 python3.13 python3 python; do
        # Running it, as a name on the path may be a stand-in for a version that is not there.
        if ! command -v "$name" >/dev/null || ! supported "$name"; then
            continue
        fi
        if "$name" -c 'import venv, ensurepip' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
        no_venv=$name
    done
    if [ -n "$no_venv" ]; then
        say "$no_venv cannot make environments; on Debian and Ubuntu: apt-get install $no_venv-venv"
    else
        say "no Python 3.11, 3.12 or 3.13 found; $(python3 --version 2>/dev/null || echo 'no python3') is what is here"
    fi
    return 1
}
