"""The project's own world: neither settings, nor kernels, nor names of folders reach what is made."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import nbformat
import pytest

from gon.claims.execution import execute_notebook
from gon.claims.study import load_study
from gon.errors import GonError, UsageError
from gon.files import PROJECT
from gon.runs.provenance import available_cores
from gon.workflow import run

DRAW = """
import sys
import matplotlib.pyplot as plt
from gon.claims.figures import style, svg_of
with style():
    figure, axes = plt.subplots(figsize=(2, 2))
    axes.plot([1, 2, 3], [3, 1, 2], label="a")
    axes.legend()
    sys.stdout.write(svg_of(figure))
"""


def test_figures_take_nothing_from_a_persons_settings(tmp_path: Path) -> None:
    settings = tmp_path / "matplotlibrc"
    settings.write_text("axes.facecolor: black\ntext.usetex: True\nlines.marker: x\nfont.family: cursive\n")
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "MPLBACKEND": "agg"}
    drawn = [
        subprocess.run(
            [sys.executable, "-c", DRAW], env=given, cwd=tmp_path.parent, capture_output=True, check=True
        ).stdout
        for given in (environment, {**environment, "MATPLOTLIBRC": str(settings)})
    ]
    assert b"<svg" in drawn[0]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("kernel", [None, "ir", "a-python-of-mine"])
def test_the_kernel_is_this_python_whatever_a_notebook_names(tmp_path: Path, kernel: str | None) -> None:
    """In a folder whose name means something to papermill, to addresses and to shells."""
    folder = tmp_path / "a #1 {x} %20 'q' ü"
    folder.mkdir()
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import sys\nprint(sys.executable)")],
        metadata={"kernelspec": {"name": kernel, "display_name": "x", "language": "R"}} if kernel else {},
    )
    path, executed = folder / "one.ipynb", folder / "executed.ipynb"
    nbformat.write(notebook, path)
    execute_notebook(path, executed, {})
    (output,) = nbformat.read(executed, as_version=4).cells[0].outputs
    # In the project its place is left out.
    assert output.text.strip() == sys.executable.removeprefix(f"{PROJECT}/")


@pytest.mark.parametrize("thefts", [1, 3])
def test_a_kernel_whose_port_is_taken_as_it_starts_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thefts: int
) -> None:
    """Its ports are free when they are chosen and written down; the kernel opens them a second later."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path, executed = tmp_path / "one.ipynb", tmp_path / "executed.ipynb"
    cells = [nbformat.v4.new_code_cell("print('here')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    taken: dict[Path, socket.socket] = {}
    done = threading.Event()

    def take() -> None:
        while not done.wait(0.002) and len(taken) < thefts:
            for file in set(tmp_path.glob("*.json")) - taken.keys():
                with contextlib.suppress(ValueError, OSError):  # half written, or removed meanwhile
                    address = ("127.0.0.1", json.loads(file.read_text())["shell_port"])
                    taken[file] = socket.create_server(address)

    thief = threading.Thread(target=take)
    thief.start()
    try:
        if thefts == 3:
            with pytest.raises(GonError, match="one.ipynb: its kernel .* found its ports taken"):
                execute_notebook(path, executed, {})
        else:
            execute_notebook(path, executed, {})
            assert nbformat.read(executed, as_version=4).cells[0].outputs[0].text == "here\n"
    finally:
        done.set()
        thief.join()
        for server in taken.values():
            server.close()
    assert len(taken) == thefts


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "gon.cli", "plan", "--runs", "--budget", "paper"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 141)
    process.stderr.close()


def test_cores_are_those_of_the_container(tmp_path: Path) -> None:
    allowed = available_cores(tmp_path)  # no control groups there
    assert allowed == len(os.sched_getaffinity(0))
    for name, content in {
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/cpu.max": "150000 100000\n",
        "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert available_cores(tmp_path) == 1
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/a\n3:cpu,cpuacct:/a\n")
    (tmp_path / "sys/fs/cgroup/cpu/a").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(tmp_path) == allowed
    (tmp_path / "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us").write_text("50000\n")
    assert available_cores(tmp_path) == 1


def test_every_value_that_the_engine_hands_to_a_shell_is_quoted() -> None:
    text = (PROJECT / "workflow" / "Snakefile").read_text(encoding="utf-8")
    commands = "".join(re.findall(r"shell:\n((?: +\".*\"\n?)+)", text))
    fields = re.findall(r"{([^}]+)}", commands)
    assert len(fields) > 20
    # Those are put together by shlex.
    by_shlex = re.findall(r"(\w+)=(?:lambda wildcards: )?(?:shlex.join|study_arguments)", text)
    joined = {f"params.{name}" for name in by_shlex}
    assert {field for field in fields if not field.endswith(":q")} == {"PYTHON", "DEVICE", *joined}


@pytest.mark.parametrize("option", ["--delete-all-output", "--delete-temp-output", "--delete-a"])
def test_what_was_trained_is_not_deleted_by_an_option_of_the_engine(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option}: not handed to Snakemake"):
        run(load_study("smoke"), 1, "cpu", ["--cores", "1", option])
