"""Execute a notebook with papermill."""

import os
import re
from pathlib import Path
from typing import Any

import papermill
import tenacity
from ipykernel.kernelspec import make_ipkernel_cmd
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from gon.claims.executed import seal_notebook
from gon.claims.notebooks import check_parameters, notebook_path
from gon.claims.study import Study
from gon.errors import GonError
from gon.files import PROJECT, make_folder
from gon.processes import CACHE

_KERNEL = "python3"

# Ports are chosen before the kernel opens them; where another process took one meanwhile, it ends at once.
_start_again = tenacity.retry(
    retry=tenacity.retry_if_exception_message(match="Kernel died before replying"),
    stop=tenacity.stop_after_attempt(3),
    reraise=True,
)


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
        _start_again(papermill.execute_notebook)(
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
            why = "was killed, ran out of memory, or found its ports taken"
            raise GonError(f"{path}: its kernel {why}") from error
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
