"""Executed notebooks: sealed with the names of what they were executed from."""

import logging
import warnings
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from gon.errors import GonError
from gon.files import PROJECT, parse_json, read_text, sha256_of, sha256_of_file, write_atomically

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
    told = notebook.metadata.get(_INPUTS, {})
    inputs = dict(told) if isinstance(told, dict) else {}
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


def load_notebook(path: Path) -> NotebookNode:
    """Read a notebook, whatever version of the format it was saved in.

    Raises
    ------
    GonError
        If the file is not a notebook; names it, and what is wrong.
    """
    text = read_text(path)
    try:
        parse_json(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what older versions lack is added
            logger = logging.getLogger("traitlets")
            before, logger.level = logger.level, logging.CRITICAL  # what is wrong is said once, here
            try:
                notebook = nbformat.reads(text, as_version=4)
                nbformat.validate(notebook)
            finally:
                logger.level = before
    except nbformat.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the file"
        raise GonError(f"{path}: cannot read the notebook ({where}: {error.message:.200})") from error
    except Exception as error:  # of other versions nbformat expects what only they have
        raise GonError(f"{path}: cannot read the notebook ({error!r:.200})") from error
    read: NotebookNode = notebook
    return read


def _read(path: Path) -> NotebookNode:
    notebook = load_notebook(path)
    try:
        notebook.metadata.pop("papermill", None)
        notebook.metadata.pop("widgets", None)
        notebook.metadata.get("language_info", {}).pop("version", None)  # of Python, to the last patch
        for number, cell in enumerate(notebook.cells, start=1):
            cell.id = f"{path.stem.replace('_', '-')}-{number}"  # papermill gives new ones ids by chance
            for timed in ("papermill", "execution"):
                cell.metadata.pop(timed, None)
            if cell.cell_type == "code":  # progress, which shows times
                cell.outputs = [
                    o for o in cell.outputs if o.get("name") != "stderr" and _WIDGET not in o.get("data", {})
                ]
    except (TypeError, AttributeError, KeyError) as error:
        raise GonError(f"{path}: cannot read the notebook ({error!r})") from error
    text = nbformat.writes(notebook).replace(f"{PROJECT}/", "")  # the place on this machine says nothing
    read: NotebookNode = nbformat.reads(text, as_version=4)
    return read
