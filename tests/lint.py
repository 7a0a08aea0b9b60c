"""Find digits typed into prose about results: such numbers would not follow the runs."""

import re
from dataclasses import dataclass
from pathlib import Path

from gon.files import PROJECT

RESULTS_PROSE = PROJECT / "templates" / "results"
"""The templates that speak about results."""

# What is not prose: Jinja's expressions, statements and comments; the attributes of a Markdown
# element; the target of a link; the key of a citation; and HTML tags.
_NOT_PROSE = re.compile(
    r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|\{ ?[#.][^{}]*\}|\]\([^()\n]*\)|@\w+|<[a-zA-Z/][^<>]*>", re.DOTALL
)


@dataclass(frozen=True)
class TypedDigit:
    """A digit in the literal text of a template."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        """The place as editors understand it."""
        return f"{self.path}:{self.line}: a digit is typed into results prose: {self.text}"


def find_typed_digits(folder: Path = RESULTS_PROSE) -> list[TypedDigit]:
    """Look through all templates of a folder.

    Parameters
    ----------
    folder
        The folder; the project's results prose if not given.

    Returns
    -------
    list of TypedDigit
        One entry per line with a digit in it; empty if all is well.
    """
    found = []
    for path in sorted(folder.rglob("*.*")):
        text = path.read_text(encoding="utf-8")
        prose = _NOT_PROSE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
        for line, (literal, original) in enumerate(
            zip(prose.splitlines(), text.splitlines(), strict=True), start=1
        ):
            if re.search(r"\d", literal):
                found.append(TypedDigit(path, line, original.strip()))
    return found
