"""The notebook of a claim, and whether it takes the parameters that the claim's file sets."""

import ast
import re
from pathlib import Path

from nbformat import NotebookNode

from gon.claims.executed import load_notebook
from gon.claims.params import ClaimParams
from gon.errors import GonError, UsageError
from gon.files import PROJECT

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
        If the notebook is missing, or its cell of parameters is not Python.
    UsageError
        If a parameter is missing on either side, or the notebook starts another claim; names it.
    """
    path = notebook_path(claim.name)
    if not path.is_file():
        raise GonError(f"{path}: there is no notebook for this claim")
    source = f"params/claims/{claim.name}.yaml"
    notebook = load_notebook(path)
    declared = _declared(notebook, path)
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


def _declared(notebook: NotebookNode, path: Path) -> set[str]:
    """What the cell tagged `parameters` sets."""
    cell = next((cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])), None)
    try:
        statements = ast.parse(cell.source if cell else "").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise GonError(f"{path}: its cell tagged `parameters` is not Python ({error})") from error
    targets: list[ast.expr] = []
    for statement in statements:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
