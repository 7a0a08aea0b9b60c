#!/usr/bin/env bash
# Everything from one command: environment, data, training, notebooks, report.
if [ -z "${BASH_VERSION:-}" ]; then
    echo "run_all.sh is a script for bash: start it by ./run_all.sh or by bash run_all.sh" >&2
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
Usage: ./run_all.sh [OPTION...] [-- SNAKEMAKE-OPTION...]

Sets up what is needed (a Python environment, the data), trains what is missing, and writes the
report; its last lines say where the report is. Finished work is kept: the same command goes on
where it was stopped, and a larger budget continues the runs of a smaller one.

  --budget NAME     reference (default): the report from the project's recorded runs, and the first
                    epoch of those that decide trained here and compared (minutes); or how much
                    training: quick (1 epoch), standard (50), paper (500, as published), smoke
                    (seconds; to see that everything works)
  --no-check        train nothing to compare with the records
  --from-scratch    take no run from the records: train whatever the budget asks for
  --set KEY=VALUE   change one parameter; may be given several times. For example:
                    --set epochs=3    --set 'latent_size.latent_dims=[32,64]'
  --cores N         trainings side by side (default: all cores)
  --device NAME     cpu (default), or cuda: trainings share one NVIDIA GPU
  --help            this text

What follows "--" goes to Snakemake, for example: ./run_all.sh -- --dry-run
END
}

for argument in "$@"; do
    case $argument in
        --) break ;;
        -h | --help)
            usage
            exit 0
            ;;
    esac
done

# shellcheck source=tools/setup_environment.sh
. "$project/tools/setup_environment.sh"
setup_environment requirements.lock
exec "$python" -m gon.cli run "$@"
