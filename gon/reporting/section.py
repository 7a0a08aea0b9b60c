"""A claim as a section of the report."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gon.claims.failures import FAILURE, Failure
from gon.claims.judging import JudgedClaim
from gon.claims.params import Headline
from gon.claims.results import ClaimResult, FigureFile, Table, Verdict
from gon.reporting.escape import slug


@dataclass(frozen=True)
class Section(JudgedClaim):
    """One claim as a section of the report, and where its files lie.

    Attributes
    ----------
    result
        What its notebook left.
    folder
        The claim's folder.
    has_notebook
        Whether its executed notebook is part of the report.
    failure
        Why it could not be finished; None if it was. Then there are neither runs nor verdicts.
    """

    result: ClaimResult
    folder: Path
    has_notebook: bool
    failure: Failure | None = None

    @property
    def title(self) -> str:
        """Its heading."""
        return self.params.title

    @property
    def primary(self) -> str | None:
        """Name of the rule that the claim stands or falls with."""
        return self.params.primary

    @property
    def primary_verdict(self) -> Verdict | None:
        """The verdict of that rule."""
        return next((v for v in self.verdicts if v.rule.name == self.primary), None)

    def answer(self, headline: Headline) -> tuple[Verdict, Verdict]:
        """The first verdict of a question's rules that is decided, and that of its first rule.

        They are the same where the first is decided, or none is.
        """
        verdicts = {verdict.rule.name: verdict for verdict in self.verdicts}
        named = [verdicts[rule] for rule in headline.rules]
        decided = (v for v in named if v.outcome not in ("inconclusive", "not attempted"))
        return next(decided, named[0]), named[0]

    @property
    def answering_verdict(self) -> Verdict | None:
        """What the claim is said to have come to: the answer to the question that its primary rule stands in.

        Until a rule for the published length has its seeds, that is one for a shorter length.
        """
        questions = [headline for headline in self.params.headlines if self.primary in headline.rules]
        return self.answer(questions[0])[0] if questions and self.verdicts else self.primary_verdict

    @property
    def attempted(self) -> list[Verdict]:
        """The verdicts of rules that have something to compare, the primary one first."""
        found = [verdict for verdict in self.verdicts if verdict.outcome != "not attempted"]
        return sorted(found, key=lambda verdict: verdict.rule.name != self.primary)

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return self.result.tables

    @property
    def figures(self) -> list[FigureFile]:
        """Its figures."""
        return self.result.figures

    @property
    def exhibits(self) -> list[tuple[str, Table | FigureFile]]:
        """Its tables and figures, each with what it is."""
        return [
            *(("table", table) for table in self.tables),
            *(("figure", figure) for figure in self.figures),
        ]

    @property
    def own_tables(self) -> list[Table]:
        """The tables that stand in its section, and not in front."""
        return [table for table in self.tables if table.name not in self.params.front]

    @property
    def own_figures(self) -> list[FigureFile]:
        """The figures that stand in its section, and not in front."""
        return [figure for figure in self.figures if figure.name not in self.params.front]

    @property
    def own_files(self) -> list[str]:
        """What its notebook left, or why it left nothing; the first file says what belongs to it."""
        return [FAILURE] if self.failure else self.result.files()

    @property
    def shown(self) -> tuple[int, int]:
        """How many of its figures and tables stand in its section; the others are among the details."""
        return (1, 0) if self.params.front else (2, 1)

    @property
    def anchor(self) -> str:
        """The id of its section."""
        return f"claim-{slug(self.name)}"

    @property
    def notebook(self) -> str:
        """Link to the page of its notebook."""
        return f"notebooks/{quote(self.name)}.html"

    @property
    def notebook_source(self) -> str:
        """Link to the executed notebook itself."""
        return f"notebooks/{quote(self.name)}.ipynb"

    def file(self, path: str) -> str:
        """Where a file of the claim's folder lies in the report."""
        return f"data/{self.name}/{path}"

    def data(self, path: str) -> str:
        """Link to a file of the claim's folder."""
        return quote(self.file(path))
