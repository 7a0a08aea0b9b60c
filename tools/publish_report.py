"""Make docs/report, the report that the repository holds, and its answers in README.md.

`python tools/publish_report.py`

From `records/` alone, whatever was trained here, and without a check on this machine. Its notebook on the
method trains a little; where docs/report holds one already, from a notebook that is the same, that one stays,
so that the folder does not depend on the kind of machine.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bs4 import BeautifulSoup

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
        claims = [claim.name for claim in load_study().claims]
        notebooks = [build / "notebooks" / f"{name}.ipynb" for name in (*EXPLANATIONS, *claims)]
        for i, name in enumerate(EXPLANATIONS):
            kept = PUBLISHED / "notebooks" / f"{name}.ipynb"
            try:
                check_execution(kept, None)
            except GonError:
                continue
            # In a place of its own: what the workflow made stays as it is, or it would make the page again.
            notebooks[i] = Path(shutil.copy(kept, nothing))
        words = ["report", *(build / "claims" / name for name in claims), "--notebooks", *notebooks]
        words += ["--workflow", build / "workflow.dot", "--published", "--output", output]
        command = [sys.executable, "-m", "gon.cli", *map(str, words)]
        subprocess.run(command, cwd=PROJECT, env=environment, check=True)


def answers(report: Path) -> str:
    """The first table of a report as Markdown: each question with its answer and the numbers that decide."""
    soup = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
    lines = ["| question | answer | the numbers that decide |", "|---|---|---|"]
    for note in soup.select("#answers small"):
        note.insert_before(". " if note.get_text().strip()[:1].isupper() else "; ")
    for row in soup.select("#answers tbody tr"):
        cells = [" ".join(cell.get_text(" ").split()) for cell in row.find_all(["th", "td"])]
        said = re.sub(r" ?†| (?=[.,;):])|(?<=\() |– ;", "", cells[2]).strip()  # links leave blanks
        lines.append(f"| {cells[0]} | {cells[1]} | {said} |")
    return "\n".join(lines)


def with_answers(text: str, found: str) -> str:
    """README.md with the answers in their place."""
    place = re.compile(r"(<!-- answers: .*? -->\n).*?(<!-- end of answers -->)", re.DOTALL)
    return place.sub(lambda match: f"{match[1]}{found}\n{match[2]}", text)


if __name__ == "__main__":
    publish(PUBLISHED)
    readme = PROJECT / "README.md"
    readme.write_text(with_answers(readme.read_text(encoding="utf-8"), answers(PUBLISHED)), encoding="utf-8")
