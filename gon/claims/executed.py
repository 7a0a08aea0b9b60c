"""Executed notebooks: sealed with the names of what they were executed from."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from gon.errors import GonError
from gon.files import PROJECT, sha256_of, sha256_of_file, write_atomically

_INPUTS = "gon"
_WIDGET = "application/vnd.jupyter.widget-view+json"


def seal_notebook(path: Path, source: Path, result: Path | None) -> None:
    """Write into an executed notebook what it was executed from and what it left, and a digest of it all.

    Parameters
    ----------
    path
        The executed notebook.
    source
        The notebook that was executed.
    result
        The `result.json` that it left, which names the records that it used; None if it judges no claim.
    """
    notebook = _read(path)
    inputs = {"source": sha256_of_file(source), **({"result": sha256_of_file(result)} if result else {})}
    notebook.metadata[_INPUTS] = {**inputs, "seal": _digest(notebook, inputs)}
    write_atomically(path, nbformat.writes(notebook) + "\n")


def read_notebook(path: Path) -> NotebookNode:
    """An executed notebook without what differs between two executions that gave the same.

    Raises
    ------
    GonError
        If the file is not a notebook, or was altered after it was executed.
    """
    notebook = _read(path)
    inputs = dict(notebook.metadata.get(_INPUTS, {}))
    seal = inputs.pop("seal", None)
    if seal != (found := _digest(notebook, inputs)):
        raise GonError(
            f"{path}: altered after it was executed: its digest is {found}, written was {seal}; "
            "execute it again"
        )
    return notebook


def check_execution(path: Path, result: Path | None) -> None:
    """Check that a notebook was executed from the one in place, and left the result that is there.

    Raises
    ------
    GonError
        Names the executed notebook, and what does not fit.
    """
    inputs = read_notebook(path).metadata[_INPUTS]
    source = PROJECT / "notebooks" / path.name
    if inputs.get("source") != sha256_of_file(source):
        raise GonError(f"{path}: was executed from another notebook than {source}; execute it again")
    if result is not None and inputs.get("result") != sha256_of_file(result):
        raise GonError(f"{path}: left another result than {result}; execute it again")


def _digest(notebook: NotebookNode, inputs: dict[str, str]) -> str:
    notebook = nbformat.from_dict({**notebook, "metadata": {**notebook.metadata, _INPUTS: inputs}})
    return sha256_of(nbformat.writes(notebook))


def _read(path: Path) -> NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.pop("papermill", None)
        notebook.metadata.pop("widgets", None)
        for number, cell in enumerate(notebook.cells, start=1):
            cell.id = f"{path.stem.replace('_', '-')}-{number}"  # papermill gives new ones ids by chance
            for timed in ("papermill", "execution"):
                cell.metadata.pop(timed, None)
            if cell.cell_type == "code":  # progress, which shows times
                cell.outputs = [
                    o for o in cell.outputs if o.get("name") != "stderr" and _WIDGET not in o.get("data", {})
                ]
    except (OSError, ValueError, AttributeError, KeyError, nbformat.ValidationError) as error:
        raise GonError(f"{path}: cannot read the notebook ({error})") from error
    text = nbformat.writes(notebook).replace(f"{PROJECT}/", "")  # the place on this machine says nothing
    read: NotebookNode = nbformat.reads(text, as_version=4)
    return read
