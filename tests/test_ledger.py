"""The ledger of rules: a rule that changes without a new version is refused, and every look is told."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from report_support import build, make_claim, plausible_loss

from gon.claims.ledger import LEDGER, check_ledger, entry_of, lock, read_ledger
from gon.claims.study import load_study
from gon.errors import UsageError
from gon.files import PROJECT


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's parameters."""
    shutil.copytree(PROJECT / "params", tmp_path / "params")
    return tmp_path / "params"


def test_every_rule_of_this_project_is_locked() -> None:
    """After a deliberate change: a new version and date, then `gon rules --lock`."""
    assert check_ledger(load_study().claims, PROJECT / "params") == []


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("two_step", "margin: 0.05", "margin: 0.01"),
        ("two_step", "seeds: 3\n    compare", "seeds: 4\n    compare"),
        ("two_step", "give a lower training loss than one.", "give a much lower training loss than one."),
        ("two_step", "Pilot runs, and the batch", "The batch"),
        ("two_step", "  latent_dim: 64\n", "  latent_dim: 128\n"),  # a parameter that the rules name
        ("latent_size", "mnist/64: 0.59", "mnist/64: 1.59"),  # a published value
        ("two_step", "date: 2026-11-25", "date: 2026-11-01"),  # a date alone
    ],
)
def test_a_rule_that_changes_under_its_version_is_refused(
    params: Path, file: str, before: str, after: str
) -> None:
    path = params / "claims" / f"{file}.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(
        UsageError, match=rf"{file}\.yaml: rules: \w+: is not version 3 of 2026-11-25 in .*{LEDGER}"
    ):
        check_ledger(load_study(params=params).claims, params)


def test_a_new_version_is_told_and_locked_behind_the_old_ones(params: Path) -> None:
    path = params / "claims" / "two_step.yaml"
    text = path.read_text().replace("version: 3", "version: 4", 1).replace("margin: 0.05", "margin: 0.01", 1)
    path.write_text(text)
    claims = load_study(params=params).claims
    (new,) = check_ledger(claims, params)
    assert (new.claim, new.rule, new.version) == ("two_step", "lower_training_loss", 4)
    before = (params / LEDGER).read_text()
    assert lock(claims, params) == [new]
    assert (params / LEDGER).read_text().startswith(before.rstrip("\n"))
    assert check_ledger(claims, params) == [] and lock(claims, params) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.unlink(), "ledger.yaml"),
        (lambda path: path.write_text("rules: 3\n"), "rules: a list is allowed"),
        (lambda path: path.write_text("rules:\n- claim: a\n"), "rules: entry 1: rule: Field required"),
    ],
)
def test_a_damaged_ledger_is_named(params: Path, change: Callable[[Path], object], words: str) -> None:
    change(params / LEDGER)
    with pytest.raises(UsageError, match=words):
        read_ledger(params)


def test_equal_rules_have_equal_entries_whatever_the_budget() -> None:
    for claim in load_study("smoke").claims:
        other = load_study("paper", ["seeds=3"]).claim(claim.name)
        for rule, again in zip(claim.rules, other.rules, strict=True):
            assert entry_of(claim, rule) == entry_of(other, again)


def test_a_verdict_tells_the_age_of_its_rule_and_earlier_looks(tmp_path: Path) -> None:
    report, claim = tmp_path / "report", tmp_path / "claims" / "two_step"

    def told() -> str:
        page = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
        return " ".join(page.get_text().split())

    make_claim(claim, "two_step", overrides=["seeds=3"])
    build([claim], report)
    assert "in the ledger of rules, fixed after its oldest run of 21 November 2026" in told()
    assert "earlier reports" not in told()
    build([claim], report)
    assert "earlier reports" not in told()  # the same look at the same records
    make_claim(claim, "two_step", overrides=["seeds=3"], loss=lambda spec: plausible_loss(spec) * 1.01)
    build([claim], report)
    assert "earlier reports: " in told()
    page = (report / "index.html").read_bytes()
    build([claim], report)
    assert (report / "index.html").read_bytes() == page
