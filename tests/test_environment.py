"""One set of dependencies for pip, uv and conda; scripts that run; notebooks as they are stored."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parent.parent
SCRIPTS = ["run_all.sh", "run_tests.sh", ".ci/run", "tools/lock.sh"]
LOCKS = ["requirements.lock", "requirements-dev.lock"]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    """Name and version of each "name==version", environment markers left out."""
    pinned = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^\s;]+)( ;.*)?", line)
        assert match, f"not a pin: {line!r}"
        pinned[normalised(match[1])] = match[2]
    return pinned


def lock(name: str) -> dict[str, str]:
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    return pins([line for line in lines if not line.startswith("#")])


def project() -> dict[str, dict[str, str]]:
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"run": pins(table["dependencies"]), "dev": pins(table["optional-dependencies"]["dev"])}


# Dependencies


def test_locks_have_the_versions_of_pyproject() -> None:
    run, dev = lock(LOCKS[0]), lock(LOCKS[1])
    assert project()["run"].items() <= run.items()
    assert (project()["run"] | project()["dev"]).items() <= dev.items()
    assert run.items() <= dev.items()


def test_conda_installs_what_the_lock_pins_and_nothing_else() -> None:
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, from_pip = environment["dependencies"]
    assert python == "python=3.11"
    assert pip == "pip"
    assert from_pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_torch_is_the_version_named_everywhere() -> None:
    assert lock("requirements.lock")["torch"] == "2.13.0"


@pytest.mark.parametrize("name", LOCKS)
def test_lock_fits_every_machine(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    assert not re.search(r"^(nvidia|cuda|triton)", text, re.MULTILINE | re.IGNORECASE)
    for part in ("+cpu", "://", "--find-links", "--index", "@", "win32"):
        assert part not in re.sub(r" ;.*", "", text)


def test_this_environment_has_the_locked_versions() -> None:
    checker, lock_file = PROJECT / "tools" / "check_pins.py", PROJECT / "requirements-dev.lock"
    command = [sys.executable, str(checker), str(lock_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_check_of_pins_names_differences(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(
        "# comment\nnumpy==1.0\nno-such-package==1\ntorch==2.13.0\nno-such-either==1 ; python_version < '3'\n"
    )
    command = [sys.executable, str(PROJECT / "tools" / "check_pins.py"), str(tmp_path / "lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"numpy is [\d.]+, not 1\.0, no-such-package is missing\n", done.stdout)


# Scripts


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(PROJECT / script, os.X_OK)
    subprocess.run(["bash", "-n", PROJECT / script], check=True)


@pytest.mark.parametrize("script", ["run_all.sh", "run_tests.sh"])
@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--budget", "smoke", "--help"]])
def test_help_from_another_folder_needs_no_environment(
    script: str, arguments: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [PROJECT / script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
        timeout=20,
    )
    assert done.stdout.startswith(f"Usage: ./{script}")
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


# The set-up, with stand-ins for the programs that it uses


SET_UP = """set -euo pipefail
. "$project/tools/setup_environment.sh"
setup_environment requirements.lock
echo "python=$python"
echo "data=${GON_DATA_DIR:-}"
"""


def environment_of(folder: Path) -> dict[str, str]:
    """What the set-up of a project sees: nothing that was chosen for this one."""
    chosen = (
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "CONDA_DEFAULT_ENV",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "GON_DATA_DIR",
    )
    inherited = {key: value for key, value in os.environ.items() if key not in chosen}
    return {**inherited, "project": str(folder)}


def set_up(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up for a project in a folder of its own."""
    return subprocess.run(
        ["bash", "-c", SET_UP],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={**environment_of(folder), **environment},
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project folder with a space in its name and the parts that the set-up reads."""
    folder = tmp_path / "a project"
    (folder / "tools").mkdir(parents=True)
    for file in ("setup_environment.sh", "check_pins.py"):
        (folder / "tools" / file).symlink_to(PROJECT / "tools" / file)
    (folder / "requirements.lock").write_text("numpy==0.0\ntorch==2.13.0\n")
    (folder / "pyproject.toml").write_text("")
    return folder


@pytest.fixture
def venv(checkout: Path) -> Path:
    """An environment in the checkout as the set-up leaves it before it installs, with a stand-in for uv."""
    folder = checkout / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "bin" / "uv").write_text(
        "#!/bin/sh\n"
        f'[ "$1" = --version ] && echo "uv {UV}" && exit\n'
        f'echo "$@" >> "{checkout}/calls"\n'
        'case "$*" in *torch-backend=cpu*torch==*) exit ${CPU_BUILD:-1};; *) exit ${INSTALL:-0};; esac\n'
    )
    (folder / "bin" / "uv").chmod(0o755)
    return folder


def calls(checkout: Path) -> list[str]:
    return (checkout / "calls").read_text().splitlines()


_match = re.search(r"UV_PINNED=(\S+)", (PROJECT / "tools" / "setup_environment.sh").read_text())
assert _match
UV = _match[1]


def test_second_start_does_nothing(checkout: Path, venv: Path) -> None:
    first = set_up(checkout)
    assert first.returncode == 0, first.stderr
    assert f"python={venv}/bin/python" in first.stdout
    assert "ready" in first.stderr
    done = len(calls(checkout))
    second = set_up(checkout)
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert len(calls(checkout)) == done
    (checkout / "pyproject.toml").write_text("# changed")
    assert "ready" in set_up(checkout).stderr
    assert len(calls(checkout)) > done


def test_relative_data_folder_is_made_absolute(checkout: Path, venv: Path) -> None:
    for given, expected in (("some/data", "//some/data"), ("/data", "/data"), ("~/data", "~/data")):
        assert f"data={expected}\n" in set_up(checkout, GON_DATA_DIR=given).stdout


def test_set_up_that_fails_says_so_and_is_tried_again(checkout: Path, venv: Path) -> None:
    failed = set_up(checkout, INSTALL="1")
    assert failed.returncode == 1
    assert "could not be set up" in failed.stderr
    assert failed.stdout == ""
    assert (venv / "bin" / "uv").exists()  # what worked before is kept
    assert set_up(checkout).returncode == 0


def test_what_a_killed_set_up_left_is_removed(checkout: Path, venv: Path) -> None:
    left = checkout / ".venvs" / "abcdef"
    left.mkdir(parents=True)
    assert set_up(checkout).returncode == 0
    assert not left.exists()
    assert venv.is_symlink() and [venv.resolve()] == list((checkout / ".venvs").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_stops_the_set_up_and_keeps_what_worked(
    checkout: Path, venv: Path, number: signal.Signals
) -> None:
    uv = venv / "bin" / "uv"
    uv.write_text(uv.read_text().replace("case", f'echo $$ > "{checkout}/pid"; exec sleep 1000; case', 1))
    process = subprocess.Popen(
        ["bash", "-c", SET_UP],
        env=environment_of(checkout),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (checkout / "pid").exists() or not (checkout / "pid").read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 128 + number, said
    assert "stopped; the same command tries again" in said
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(int((checkout / "pid").read_text()), 0)
            time.sleep(0.05)
    assert uv.exists() and not venv.is_symlink()


FOREIGN = {
    "PYTHONSTARTUP": "x",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PIP_TARGET": "/nowhere",
    "PIP_USER": "1",
    "UV_TARGET": "/nowhere",
    "MPLBACKEND": "tkagg",
    "MATPLOTLIBRC": "/nowhere",
    "IPYTHONDIR": "/nowhere",
    "JUPYTER_PATH": "/nowhere",
    "SNAKEMAKE_PROFILE": "/nowhere",
    "GIT_DIR": "/nowhere",
    "LC_ALL": "tr_TR.UTF-8",
    "CDPATH": "/tmp",
}


def test_the_command_has_a_world_of_its_own_by_whichever_path(checkout: Path, venv: Path) -> None:
    """A stand-in for the project's code says where it runs; the caller's folder and settings are others'."""
    (checkout / "run_all.sh").write_text((PROJECT / "run_all.sh").read_text())
    (checkout / "gon").mkdir()
    (checkout / "gon" / "cli.py").write_text(
        "import json, os, random, sys\n"
        "print(json.dumps([os.getcwd(), random.__file__, sys.argv[1:], os.umask(0), dict(os.environ)]))\n"
    )
    elsewhere = checkout.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "random.py").write_text("raise SystemExit('the caller's code is run')")
    link, script = checkout.parent / "link", checkout.parent / "script"
    link.symlink_to(checkout)
    script.symlink_to(Path(checkout.name) / "run_all.sh")
    made = []
    for start in (link / "run_all.sh", checkout / "run_all.sh", script):
        done = subprocess.run(
            ["bash", start, "--budget", "smoke"],
            cwd=elsewhere,
            env={**environment_of(checkout), **FOREIGN, "GON_RUNS_DIR": "runs"},
            capture_output=True,
            text=True,
            check=True,
            umask=0o077,
        )
        folder, random, arguments, umask, seen = json.loads(done.stdout)
        assert (folder, arguments, umask) == (str(checkout), ["run", "--budget", "smoke"], 0o022)
        assert Path(random).parent == Path(json.__file__).parent.parent
        kept = {key: value for key, value in FOREIGN.items() if seen.get(key) == value}
        assert kept == {}
        assert seen["PYTHONPATH"] == str(checkout)
        assert seen["GON_RUNS_DIR"] == str(elsewhere / "runs")
        made.append("making .venv" in done.stderr)
    assert made == [True, False, False]


@pytest.mark.parametrize("script", ["run_all.sh", "run_tests.sh"])
def test_a_start_by_sh_is_a_clear_line(script: str, tmp_path: Path) -> None:
    """As a shell reads it that knows no bash; where sh is bash itself, everything works."""
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("no shell but bash is here")
    done = subprocess.run([dash, PROJECT / script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{script} is a script for bash: start it by ./{script} or by bash {script}\n"


def test_lines_end_alike_in_every_clone() -> None:
    command = ["git", "-C", str(PROJECT), "check-attr", "eol", "text", "--", "run_all.sh", "a.npz"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "run_all.sh: eol: lf" in said and "a.npz: text: unset" in said


def test_cpu_build_is_taken_where_it_can_be_had(checkout: Path, venv: Path) -> None:
    set_up(checkout, CPU_BUILD="0")
    if "dry-run" not in calls(checkout)[0]:
        pytest.skip("this machine has a GPU, or is no Linux")
    assert "--torch-backend=cpu -r" in calls(checkout)[1]


def test_without_cpu_build_the_ordinary_one_is_taken(checkout: Path, venv: Path) -> None:
    done = set_up(checkout, CPU_BUILD="1")
    assert done.returncode == 0
    assert "torch-backend" not in calls(checkout)[-2]
    assert "-r requirements.lock" in calls(checkout)[-2]


def test_local_cpu_build_is_found(checkout: Path, venv: Path) -> None:
    wheels = checkout.parent / "wheels"
    wheels.mkdir()
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    (wheels / f"torch-2.13.0+cpu-{tag}-{tag}-manylinux_2_28_{os.uname().machine}.whl").touch()
    set_up(checkout, PIP_FIND_LINKS=str(wheels))
    assert f"--find-links {wheels} -r" in calls(checkout)[0]


def test_environment_of_another_copy_is_not_used(checkout: Path, venv: Path) -> None:
    (checkout / "requirements.lock").write_text("numpy>=1\n")
    done = set_up(checkout, VIRTUAL_ENV=sys.prefix)
    assert f"{sys.prefix}: it has another copy of this project" in done.stderr
    assert f"python={venv}/bin/python" in done.stdout


def test_environment_that_lacks_something_is_not_used(checkout: Path, venv: Path) -> None:
    done = set_up(checkout, VIRTUAL_ENV=sys.prefix)
    assert f"not using the active environment {sys.prefix}: numpy is" in done.stderr
    assert f"python={venv}/bin/python" in done.stdout


def test_active_environment_that_has_everything_is_used(checkout: Path, tmp_path: Path) -> None:
    active = tmp_path / "active"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", active], check=True)
    (checkout / "gon").mkdir()
    (checkout / "gon" / "__init__.py").touch()
    (checkout / "requirements.lock").write_text(f"packaging=={metadata.version('packaging')}\n")
    (site,) = active.glob("lib/python3*/site-packages")
    (site / "others.pth").write_text(f"{checkout}\n{sysconfig.get_path('purelib')}\n")
    done = set_up(checkout, CONDA_PREFIX=str(active))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"python={active}/bin/python\ndata=\n"
    assert not (checkout / ".venv").exists()


def test_no_fit_python_is_a_clear_error(checkout: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "cat", "cksum", "mkdir", "mktemp", "readlink", "rm", "sed", "uname", "cut", "awk"):
        for folder in ("/usr/bin", "/bin"):
            if Path(folder, name).exists():
                (programs / name).symlink_to(Path(folder, name))
                break
    (programs / "python3").write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n'
    )
    (programs / "python3").chmod(0o755)
    done = set_up(checkout, PATH=str(programs))
    assert done.returncode == 1
    assert "no Python 3.11, 3.12 or 3.13 found; Python 3.9.2 is what is here" in done.stderr


# Notebooks


NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs_and_with_parameters(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
    tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"activations", "latent_size", "two_step"}
