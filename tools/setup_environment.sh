#!/usr/bin/env bash
# shellcheck disable=SC2154  # project: set by the script that sources this
# Sourced by run_all.sh and run_tests.sh, with the project's folder in $project. After
# "setup_environment FILE.lock", $python is a Python with all that the lock pins, and the project
# itself, installed: an active environment that satisfies the lock, or the project's own .venv,
# made or completed here where necessary.
#
# Works with bash 3.2 (macOS). Returns 1, with the reason on stderr, if it cannot be done.

UV_PINNED=0.13.9

# "install" ends in a pipe.
set -o pipefail

say() { echo "[setup] $*" >&2; }

# setup_environment LOCK: sets $python.
setup_environment() {
    local lock=$1
    # Programs are started in several folders: a relative path would mean another one in each.
    case ${GON_DATA_DIR:-/} in
        /* | "~"*) ;;
        *) export GON_DATA_DIR=$PWD/$GON_DATA_DIR ;;
    esac
    if use_active_environment "$lock"; then
        return 0
    fi
    python=$project/.venv/bin/python
    # In our own .venv modules are kept compiled, whatever is usual here: a run starts dozens of
    # processes, and without this each would compile torch anew, for some seconds.
    unset PYTHONDONTWRITEBYTECODE
    if is_ready "$lock"; then
        return 0
    fi
    # One set-up at a time in one checkout. The lock is on the folder itself: no file stays behind.
    (
        if command -v flock >/dev/null && ! flock --nonblock 9; then
            say "another set-up is at work in this folder; waiting for it"
            flock 9
        fi
        is_ready "$lock" || make_environment "$lock"
    ) 9<"$project" || {
        say "the environment could not be set up; the lines above say why. The same command tries again."
        return 1
    }
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
    place=$(cd / && "$folder/bin/python" -c 'import importlib.util as u; s = u.find_spec("gon"); print(s.origin if s else "")')
    if [ -n "$place" ] && ! [ "$place" -ef "$project/gon/__init__.py" ]; then
        say "not using the active environment $folder: it has another copy of this project, $place"
        return 1
    fi
    if [ -z "$place" ]; then
        say "using the active environment $folder; adding this project to it (editable)"
        if "$folder/bin/python" -c 'import pip' 2>/dev/null; then
            "$folder/bin/python" -m pip install --quiet --no-deps --editable "$project" >&2
        else
            uv pip install --quiet --python "$folder/bin/python" --no-deps --editable "$project" >&2
        fi || return 1
    fi
    python=$folder/bin/python
}

# What the environment depends on; its place too, as a moved environment does not work.
stamp_of() {
    (cd "$project" && echo "$project" && cksum "$1" pyproject.toml tools/setup_environment.sh)
}

# Whether a set-up with this very lock has come to its end here.
is_ready() {
    [ -x "$python" ] && [ -f "$project/.venv/.gon-$1" ] && [ ! -e "$project/.venv/.setting-up" ] &&
        [ "$(cat "$project/.venv/.gon-$1")" = "$(stamp_of "$1")" ]
}

# The file .setting-up says that a set-up is at work, or was interrupted; what it left is not to be
# trusted. A set-up that fails by itself, say without network, leaves a .venv that worked as it was.
make_environment() {
    local lock=$1 venv=$project/.venv base torch tag worked started=$SECONDS
    if [ -e "$venv/.setting-up" ]; then
        say "the last set-up was interrupted: making .venv anew"
        rm -rf "$venv"
    elif [ -d "$venv" ] && ! "$python" -c '' 2>/dev/null; then
        say ".venv does not work any more (its Python is gone, or the folder was moved): making it anew"
        rm -rf "$venv"
    elif [ -d "$venv" ] && ! supported "$python"; then
        say "$venv has $("$python" --version 2>&1), and 3.11 to 3.13 are needed: move it away and try again"
        return 1
    elif compgen -G "$venv/.gon-*" >/dev/null && ! grep -qsxF "$project" "$venv"/.gon-*; then
        say "the project was moved: making .venv anew"
        rm -rf "$venv"
    fi
    worked=$([ -x "$python" ] && echo yes)
    mkdir -p "$venv" && touch "$venv/.setting-up" || return 1
    if ! fill_environment; then
        [ -z "$worked" ] || rm "$venv/.setting-up"
        return 1
    fi
    # The development lock contains the other one.
    if [ "$lock" = requirements-dev.lock ]; then
        stamp_of requirements.lock >"$venv/.gon-requirements.lock"
    fi
    stamp_of "$lock" >"$venv/.gon-$lock"
    rm "$venv/.setting-up"
    say "the environment is ready, after $((SECONDS - started)) s"
}

# With the variables of make_environment.
fill_environment() {
    if [ ! -x "$python" ]; then
        base=$(find_python) || return 1
        say "making .venv with $("$base" --version 2>&1) ($base)"
        "$base" -m venv "$venv" >&2 || return 1
    fi
    if [ "$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != $UV_PINNED ]; then
        say "getting uv $UV_PINNED, which installs the rest"
        "$python" -m pip install --quiet --disable-pip-version-check "uv==$UV_PINNED" >&2 || return 1
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
    install ${cpu[@]+"${cpu[@]}"} -r "$project/$lock" || return 1
    # Without network, uv has what builds the project from the last time.
    install --no-deps --editable "$project" || install --offline --no-deps --editable "$project"
}

# Without uv's list of all packages at the end.
install() {
    "$project/.venv/bin/uv" pip install --python "$python" ${sources[@]+"${sources[@]}"} "$@" 2>&1 |
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
