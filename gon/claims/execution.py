"""Notebooks: check the parameters of a claim's notebook, and execute it with papermill."""

import os
import re
from pathlib import Path
from typing import Any

import papermill
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from papermill.translators import papermill_translators

from gon.claims.executed import load_notebook, seal_notebook
from gon.claims.params import ClaimParams
from gon.claims.study import Study
from gon.errors import GonError, UsageError
from gon.files import PROJECT, make_folder
from gon.processes import CACHE

_KERNEL = "python3"

STUDY_PARAMETERS = ("budget", "epochs", "seeds", "output")
"""Parameters that every notebook has, beside those of its claim."""


def notebook_path(claim: str) -> Path:
    """The notebook of a claim."""
    return PROJECT / "notebooks" / f"{claim}.ipynb"


def check_parameters(claim: ClaimParams) -> None:
    """Check that a claim's notebook is its own, and takes exactly the parameters that the claim's file sets.

    papermill itself only warns of a parameter that the notebook does not know, and goes on with the
    default: a number in the report would then be that of another setting.

    Raises
    ------
    GonError
        If the notebook is missing.
    UsageError
        If a parameter is missing on either side, or the notebook starts another claim; names it.
    """
    path = notebook_path(claim.name)
    if not path.is_file():
        raise GonError(f"{path}: there is no notebook for this claim")
    source = f"params/claims/{claim.name}.yaml"
    notebook = load_notebook(path)
    declared = _declared(notebook)
    if unknown := sorted(set(claim.parameters) - declared):
        raise UsageError(
            f"{source}: parameters.{unknown[0]} is none of the parameters in the cell tagged `parameters` of "
            f"{path}: {', '.join(sorted(declared - set(STUDY_PARAMETERS)))}"
        )
    if missing := sorted(declared - {*STUDY_PARAMETERS, *claim.parameters}):
        raise UsageError(f"{path}: its cell tagged `parameters` sets {missing[0]}, which {source} does not")
    for cell in notebook.cells:  # a copy that was not told its new name would find out after the training
        started = re.search(r"""\bstart\(\s*["']([^"']*)["']""", cell.source)
        if cell.cell_type == "code" and started and started[1] != claim.name:
            raise UsageError(
                f"{path}: starts the claim {started[1]!r}; allowed is {claim.name!r}, as it is named"
            )


def _declared(notebook: NotebookNode) -> set[str]:
    """What the cell tagged `parameters` sets, whichever kernel the notebook was saved with."""
    cell = next((cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), None)
    if cell is None:
        return set()
    translator = papermill_translators.find_translator(_KERNEL, "python")
    return {parameter.name for parameter in translator.inspect(cell)}


class _Kernel(AsyncKernelManager):
    """Starts the Python that runs: a notebook, or a person's settings, may name another one."""

    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=make_ipkernel_cmd(), language="python")


def execute(study: Study, claim: str, result: Path, executed: Path) -> None:
    """Execute a claim's notebook.

    Parameters
    ----------
    study
        Budget and claims.
    claim
        Name of the claim.
    result
        Folder in which the notebook leaves its result.
    executed
        Where to write the executed notebook.

    Raises
    ------
    GonError
        If the notebook fails; the message holds the error of the failing cell.
    """
    params = study.claim(claim)
    path = notebook_path(claim)
    changed = {override.partition("=")[0] for override in study.budget.overrides}
    folder = result.resolve()
    values: dict[str, Any] = {
        "budget": study.budget.name,
        "epochs": study.budget.epochs if "epochs" in changed else None,
        "seeds": study.budget.seeds if "seeds" in changed else None,
        # A path of this machine says nothing to those who read the executed notebook elsewhere.
        "output": str(folder.relative_to(PROJECT) if folder.is_relative_to(PROJECT) else folder),
        **params.parameters,
    }
    check_parameters(params)
    os.environ["GON_NOTEBOOK"] = claim  # the kernel inherits it
    execute_notebook(path, executed, values, result / "result.json")


def execute_notebook(path: Path, executed: Path, values: dict[str, Any], result: Path | None = None) -> None:
    """Execute a notebook, whatever it is for, and seal it.

    Parameters
    ----------
    path
        The notebook.
    executed
        Where to write the executed one.
    values
        Parameters in place of those that its cell tagged `parameters` sets.
    result
        The file that it must leave, if it tests a claim.

    Raises
    ------
    GonError
        If it fails; the message holds the error of the failing cell.
    """
    make_folder(executed.parent)
    make_folder(CACHE)
    # The backend without a screen, which all else has, would hide the figures of a kernel that inherits it.
    os.environ.pop("MPLBACKEND", None)
    try:
        papermill.execute_notebook(
            # papermill takes braces in a path for parameters.
            *(re.sub("[{}]", r"\g<0>\g<0>", str(file)) for file in (path, executed)),
            parameters=values,
            cwd=str(path.parent),
            progress_bar=False,
            kernel_name=_KERNEL,
            language="python",
            kernel_manager_class=_Kernel,
            coalesce_streams=True,  # else what a cell prints is split by when it was read
        )
    except RuntimeError as error:  # nbclient's own, and jupyter_client's while the kernel starts
        if "ernel died" in str(error):
            raise GonError(f"{path}: its kernel was killed, or ran out of memory") from error
        if "didn't respond" in str(error):
            why = "a machine that is very busy, or one without a network of its own (127.0.0.1)"
            raise GonError(
                f"{path}: its kernel does not answer within a minute; likely causes: {why}"
            ) from error
        raise
    except papermill.PapermillExecutionError as error:
        trace = "\n".join(error.traceback)
        raise GonError(f"{path}, cell {error.exec_count}: {error.ename}: {error.evalue}\n{trace}") from error
    if result is not None and not result.is_file():
        raise GonError(f"{path}: ran to its end without claim.save(), so there is no result")
    seal_notebook(executed, path, result)
