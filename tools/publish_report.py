"""Make docs/report, the report that the repository holds: `python tools/publish_report.py`.

From `records/` alone, whatever was trained here, and without a check on this machine. Its notebook on the
method trains a little; where docs/report holds one already, from a notebook that is the same, that one stays,
so that the folder does not depend on the kind of machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from gon.catalogue import DEFAULT_BUDGET, EXPLANATIONS  # noqa: E402
from gon.claims.executed import check_execution  # noqa: E402
from gon.claims.study import load_study  # noqa: E402
from gon.errors import GonError  # noqa: E402

PUBLISHED = PROJECT / "docs" / "report"


def publish(output: Path) -> None:
    """Make the report in a folder; what it held before is replaced."""
    build = PROJECT / "build" / DEFAULT_BUDGET
    with tempfile.TemporaryDirectory() as nothing:
        environment = {**os.environ, "GON_RUNS_DIR": nothing}
        subprocess.run(
            [sys.executable, "-m", "gon.cli", "run", "--no-check"], cwd=PROJECT, env=environment, check=True
        )
        for name in EXPLANATIONS:
            kept = PUBLISHED / "notebooks" / f"{name}.ipynb"
            try:
                check_execution(kept, None)
            except GonError:
                continue
            shutil.copyfile(kept, build / "notebooks" / f"{name}.ipynb")
        claims = [claim.name for claim in load_study().claims]
        notebooks = [build / "notebooks" / f"{name}.ipynb" for name in (*EXPLANATIONS, *claims)]
        words = ["report", *(build / "claims" / name for name in claims), "--notebooks", *notebooks]
        words += ["--workflow", build / "workflow.dot", "--published", "--output", output]
        command = [sys.executable, "-m", "gon.cli", *map(str, words)]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)


if __name__ == "__main__":
    publish(PUBLISHED)
