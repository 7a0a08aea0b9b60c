"""The report as its readers get it: page, PDF, notebooks and data."""

import dataclasses
import datetime
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pypdf
import pytest
import report_support
from browser import check_page, chromium, dead_links, homeless_numbers, open_browser, open_page
from bs4 import BeautifulSoup
from narrow import there
from playwright.sync_api import Browser
from report_support import begin, build, judged, make_claim, make_explanation, make_notebook, plausible_loss

from gon.claims.execution import execute_notebook
from gon.claims.formats import number
from gon.claims.measuring import frame_of
from gon.claims.params import ClaimParams, Grid, Published
from gon.claims.results import read_result, write_result
from gon.claims.rules import Compare, OrderingRule, Source
from gon.claims.study import Study, load_study
from gon.errors import GonError
from gon.files import PROJECT
from gon.reporting.build import build_report
from gon.reporting.read import ReportParts
from gon.runs.record import RunRecord
from gon.runs.store import RunStore
from gon.spec import RunSpec

CLAIMS = ("latent_size", "activations", "two_step")
HOSTILE = (
    "<script>alert(1)</script> <b>x</b> &amp; *a* _b_ `c` $x^2$ @chen2021reproducibility [l](u) "
    "{{ 7*7 }} "
    '{% raw %} #panic() #text[t] \\u{41} "] ``` ::: {.x} | --- 1. ~s~ ^t^ $(touch /x) '
    "'q' ; 漢 \N{GRINNING FACE}"
)

needs_browser = pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")


def make_report(folder: Path, names: Sequence[str] = CLAIMS, **options: Any) -> Path:
    claims = [folder / "claims" / name for name in names]
    for path in claims:
        make_claim(path, path.name, **options)
    build(claims, folder / "report", [])
    return folder / "report"


def page_text(report: Path) -> str:
    soup = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
    return " ".join(soup.get_text(" ").split())


def section_text(report: Path, anchor: str) -> str:
    soup = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
    # Inline elements are joined without a space, so that sentences read as they do on the page.
    return " ".join(there(soup.find(id=anchor)).get_text().split())


def pdf_text(report: Path) -> str:
    pages = pypdf.PdfReader(report / "report.pdf").pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the three claims with their notebooks. Tests only read it."""
    folder = tmp_path_factory.mktemp("built")
    claims = [folder / "claims" / name for name in CLAIMS]
    for path in claims:
        make_claim(path, path.name)
    notebooks = [make_notebook(folder / "notebooks" / f"{name}.ipynb") for name in CLAIMS]
    build(claims, folder / "report", notebooks)
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@needs_browser
@pytest.mark.parametrize("name", ["index.html", "notebooks/latent_size.html"])
def test_page_is_quiet_alone_accessible_and_fits_a_phone(built: Path, browser: Browser, name: str) -> None:
    check_page(browser, built / "report" / name)


@needs_browser
def test_page_reads_without_javascript(built: Path, browser: Browser) -> None:
    with open_page(browser, built / "report/index.html", javascript=False) as (page, _):
        assert page.locator("h1").inner_text() == "Reproducing Gradient Origin Networks: an executable report"
        assert page.locator("figure .panels[role=img] svg").count() == 3
        assert page.locator("table.answers").is_visible()
        assert page.locator("button").count() == 0


@needs_browser
def test_answers_are_on_the_first_screen(built: Path, browser: Browser) -> None:
    with open_page(browser, built / "report/index.html") as (page, _):
        box = there(page.locator("table.answers").bounding_box())
        assert box["y"] + box["height"] < 900


def test_every_notebook_page_has_only_live_links(built: Path) -> None:
    for name in CLAIMS:
        assert dead_links(built / f"report/notebooks/{name}.html") == []


def test_page_has_the_sections_of_the_original_in_order(built: Path) -> None:
    soup = BeautifulSoup((built / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    titles = [re.sub(r"^[\d.]+\s*", "", h.get_text()) for h in soup.select(".body h2")]
    assert titles == [
        "Introduction",
        "Scope of reproducibility",
        "Methodology",
        "Results",
        "The improvement: more than one gradient step",
        "Beyond the report",
        "Discussion",
        "Run it yourself",
        "References",
        "Runs",
    ]
    assert len({h.get_text() for h in soup.select(".body h3")}) >= 6


def test_width_of_the_decoder_is_said_whether_or_not_all_runs_have_it(built: Path) -> None:
    assert "w = 16. The first three" in section_text(built / "report", "model")
    reference = PROJECT / "docs" / "report"  # where some are wider
    assert "w = 16 where a run names no other width. The first" in section_text(reference, "model")


def test_markup_of_the_prose_never_shows(built: Path) -> None:
    for text in (page_text(built / "report"), pdf_text(built / "report")):
        text = re.sub(r"author = \{\{[^{}]+\}\}", "", text)  # of BibTeX: one author, not several names
        for mark in (":::", "## ", "{{", "{%", "{ #", "typst=", "**", "]("):
            assert mark not in text


def test_budget_stands_in_the_first_lines(built: Path, tmp_path: Path) -> None:
    summary = section_text(built / "report", "summary")
    assert (
        summary.startswith("1 epoch per run, ")
        and "Budget “quick”: " in summary
        and "the published numbers stand after 500 epochs" in summary
    )
    assert "mean nothing" not in page_text(built / "report")
    smoke = make_report(tmp_path, budget="smoke")
    for text in (page_text(smoke), pdf_text(smoke)):
        assert "the numbers in this report mean nothing" in text[:900]
        assert "640 training and 100 validation images" in text


def test_numbers_are_those_of_the_results_and_lead_to_their_runs(built: Path) -> None:
    soup = BeautifulSoup((built / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    printed = pdf_text(built / "report")
    for name in CLAIMS:
        claim = judged(built / "claims" / name)
        rows = soup.select(f"#claim-{name}-table-{claim.tables[0].name} tbody tr")
        assert len(rows) == len(claim.tables[0].rows)
        for row, cells in zip(rows, claim.tables[0].rows, strict=True):
            for shown, cell in zip(row.find_all(["th", "td"]), cells, strict=True):
                if cell.measurement is not None:
                    measurement = claim.measurement(cell.measurement)
                    assert float(str(shown.select("data")[0]["value"])) == measurement.value
                    assert shown.get_text().strip() == number(measurement.value)
                    assert shown.select("a")[0]["href"] == f"#run-{measurement.runs[0]}"
                    assert number(measurement.value) in printed
                elif cell.published is not None:
                    assert float(str(shown.select("data")[0]["value"])) == cell.published
        for run in claim.runs:
            card = there(soup.find(id=f"run-{run.spec.digest}"))
            row = card if card.name == "tr" else there(card.select_one("table.seeds tbody tr"))
            assert [float(str(data["value"])) for data in row.select("data")] == [
                run.record.loss("train_loss"),
                run.record.loss("validation_loss"),
            ]


@pytest.fixture(scope="module")
def with_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on five seeds, whose rules are met by one epoch."""
    folder = tmp_path_factory.mktemp("seeds")
    claims = [folder / "claims" / name for name in (*CLAIMS, "model_comparison")]
    for path in claims:
        make_claim(path, path.name, overrides=("seeds=5",), rule_epochs=1)
    build(claims, folder / "report", [])
    return folder / "report"


def test_every_number_of_the_results_leads_to_its_runs(built: Path, with_seeds: Path) -> None:
    for report in (built / "report", with_seeds):
        led, homeless = homeless_numbers(report / "index.html")
        assert homeless == []
        assert led > 40


@needs_browser
def test_intervals_n_and_seeds_are_shown(with_seeds: Path, browser: Browser) -> None:
    check_page(browser, with_seeds / "index.html")
    with open_page(browser, with_seeds / "index.html") as (page, _):
        cell = page.locator("#claim-two_step figure.table tbody tr").first.locator("td").last
        assert re.fullmatch(r"41\.\d ± 0\.\d+, n = 5", " ".join(cell.inner_text().split()))
        cell.locator("a").click()
        group = page.locator(":target")
        assert group.is_visible()  # the fold that holds the cards has opened
        assert group.locator("table.seeds tbody th").all_inner_texts() == list("01234")
        row = page.locator("#claim-two_step table.rules tbody tr").first
        assert "After one epoch, two inner steps give a lower training loss" in row.inner_text()
        assert row.locator(".badge.reproduced").inner_text() == "reproduced"
        details = page.locator("#claim-two_step details.fold")
        details.locator("summary").first.click()
        details.locator("details.compared summary").first.click()
        for words in ("97.5% interval", "p, reproduced", "p, refuted", "differences over the rule’s 3 seeds"):
            assert words in details.inner_text()


def test_values_of_different_budgets_are_not_compared(built: Path) -> None:
    text = section_text(built / "report", "claim-latent_size")
    assert "Our values are not compared with the published ones: ours stand after 1 epoch" in text
    assert "the published ones after 500, and a falling loss means the same only after" in text
    assert "says nothing so early" in text


def test_text_follows_the_measurements(built: Path, tmp_path: Path) -> None:
    def relu_wins(spec: RunSpec) -> float:
        return plausible_loss(spec) * (0.3 if spec.activation == "relu" else 1)

    before = section_text(built / "report", "claim-activations")
    assert "MNIST, latent 64: ELU 41.2, LeakyReLU 45.8, −9.9%†" in before
    assert "the runs have 1 epoch, and the rule compares after 50; there is 1 seed of the 5" in before
    assert "So far, from a single seed, the numbers point the published way." in before
    assert "Ours: after 1 epoch, from one seed." in before
    report = make_report(tmp_path, ("activations",), budget="standard", loss=relu_wins)
    after = section_text(report, "claim-activations")
    assert re.search(r"MNIST, latent 64: ELU 4[123]\.\d, ReLU 14\.\d, \+19\d%† \(\+1", after)
    assert "Not reproduced: After 50 epochs, with all images and 5 seeds" in after
    assert "the claim is refuted: in one of four comparisons it is the other way round" in after
    assert "the pair that contradicts it most differs by +19" in after
    assert "Ours: after 50 epochs." in after and "from one seed" not in after
    assert "the claim is refuted: in one of four comparisons" in pdf_text(report)


def published_loss(spec: RunSpec, factor: float = 1.0) -> float:
    values = load_study("paper").claim("latent_size").published.values
    scatter = 1 + random.Random(spec.digest).gauss(0, 0.003)
    return values.get(f"{spec.dataset}/{spec.latent_dim}", 9.0) * factor * scatter


def test_values_as_published_are_reproduced(tmp_path: Path) -> None:
    report = make_report(
        tmp_path, ("latent_size",), overrides=("seeds=5",), rule_epochs=1, loss=published_loss
    )
    text = section_text(report, "claim-latent_size")
    assert (
        "After 500 epochs, each larger latent size has a lower validation loss than the next smaller one."
        in text
    )
    assert "After 500 epochs, every validation loss has its published value. Reproduced." in text
    assert "Tolerance 10%: all six values are as published." in text
    assert "The published order holds here, by a test, in all four pairs." in text
    assert "the numbers point to the published values" in text
    assert "All three verdicts are reproduced." in page_text(report)


def test_a_loss_that_is_too_low_too_early_refutes_the_published_value(tmp_path: Path) -> None:
    def low(spec: RunSpec) -> float:
        return published_loss(spec, 0.5)

    report = make_report(
        tmp_path, ("latent_size",), overrides=("seeds=3",), loss=low
    )  # one epoch, a milestone of the rule
    text = section_text(report, "claim-latent_size")
    assert "After 500 epochs, every validation loss has its published value. Not reproduced." in text
    assert "MNIST, latent 64, ELU, after 1 epoch already: 0.29" in text
    assert "below the published 0.59 of a longer training" in text
    assert "After 1 epoch, with all images and 3 seeds, at least one loss has another value" in text
    assert "already below the published" in text and "already below the published" in pdf_text(report)
    assert "the numbers point to other values than the published ones" in text


def test_a_much_lower_loss_is_told_as_a_factor(tmp_path: Path) -> None:
    def worse(spec: RunSpec) -> float:
        return 920.0 if spec.inner_steps == 2 else 40.0

    text = section_text(make_report(tmp_path, ("two_step",), loss=worse), "claim-two_step")
    assert "MNIST, latent 64: 2 inner steps 920, 1 inner step 40.0, 23 times higher†" in text
    assert "there is 1 seed of the 3 that the rule rests on" in text


def test_a_pair_that_is_all_but_equal_refutes_in_these_words(tmp_path: Path) -> None:
    def equal(spec: RunSpec) -> float:
        return 40.0 * (1 + random.Random(spec.digest).gauss(0, 0.001))

    report = make_report(tmp_path, ("two_step",), loss=equal, overrides=("seeds=3",))
    text = section_text(report, "claim-two_step")
    assert "After one epoch, two inner steps give a lower training loss than one. Not reproduced." in text
    assert "the claim is refuted: in the only comparison both sides are equal within 5%" in text
    assert "the numbers point to no difference beyond the margin" in text
    assert "its interval would have to reach beyond the margin of 5%" in text


SAID = {
    "reproduced": "is reproduced",
    "partly reproduced": "is reproduced in part",
    "not reproduced": "is not reproduced",
    "inconclusive": "cannot be decided yet",
    "open": "is neither reproduced nor refuted by 3 seeds",
}
SITUATIONS = {
    # factor of the autoencoder's loss at latent 64 and 256, scatter, seeds, outcome, answer, tendency
    "undecided": (
        1.5,
        1.5,
        0.003,
        1,
        "inconclusive",
        "not decided",
        "point the published way",
    ),
    "open": (1.056, 1.056, 0.01, 3, "inconclusive", "not decided", "point "),
    "reproduced": (1.5, 1.5, 0.003, 3, "reproduced", "yes", "point the published way"),
    "in part": (
        1.5,
        1.0527,
        0.0015,
        3,
        "partly reproduced",
        "in part",
        "point the published way, by how much is open",
    ),
    "equal": (1.0, 1.0, 0.002, 3, "not reproduced", "no", "point to no difference beyond the margin"),
    "against": (0.5, 0.5, 0.003, 3, "not reproduced", "no", "point against what is published"),
    "mixed": (1.5, 0.5, 0.003, 3, "not reproduced", "no", "point in different directions"),
    "mixed with one seed": (
        1.5,
        0.5,
        0.003,
        1,
        "inconclusive",
        "not decided",
        "point in different directions",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_answer_abstract_section_rule_and_discussion_say_the_same(tmp_path: Path, situation: str) -> None:
    small, large, scatter, seeds, outcome, answer, tendency = SITUATIONS[situation]

    def loss(spec: RunSpec) -> float:
        factor = {64: small, 256: large}[spec.latent_dim] if spec.model == "autoencoder" else 1.0
        noise = {"gon": [0.0, 1.0, -1.0], "autoencoder": [1.0, -1.0, 0.5], "pca": [0.0]}[spec.model]
        return 40.0 * factor * (1 + scatter * noise[spec.seed])

    make_claim(
        tmp_path / "model_comparison",
        "model_comparison",
        loss=loss,
        overrides=(f"seeds={seeds}",),
        rule_epochs=1,
    )
    verdict = next(
        v for v in judged(tmp_path / "model_comparison").verdicts if v.rule.name == "lower_than_autoencoder"
    )
    assert verdict.outcome == outcome
    build([tmp_path / "model_comparison"], tmp_path / "report", [])
    soup = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")

    def text(selector: str) -> str:
        return " ".join(there(soup.select_one(selector)).get_text().split())

    row = text("#answers tbody tr")
    assert row.startswith(f"Is GON better than an autoencoder? {answer}") or outcome == "inconclusive"
    section = text("#claim-model_comparison")
    said = there(re.search(r"the numbers (point[^.;:]*)\.", section))[1]
    assert said.startswith(tendency)
    assert f"{outcome.capitalize()}: " in section
    rule = text("#claim-model_comparison-lower_than_autoencoder")
    assert f"primary {outcome}" in rule
    abstract = text("#summary .abstract")
    became = SAID[situation if situation in SAID else outcome]
    assert f"That GON reconstructs better than other models {became}" in abstract
    count = "The only verdict" if "only" in text("#discussion") else "verdicts"
    assert outcome in text("#discussion") and count in text("#discussion")
    printed = pdf_text(tmp_path / "report")
    assert "Is GON better than an autoencoder?" in printed[:2500]
    assert f"the numbers {said}." in printed


def test_another_rule_answers_until_the_published_length_is_reached_and_is_named(tmp_path: Path) -> None:
    def loss(spec: RunSpec) -> float:
        scatter = [0.0, 1.0, -1.0][spec.seed] * (0.003 if spec.model == "gon" else 0.002)
        return 2.0 * (0.5 if "autoencoder" in spec.model else 1.0) * (1 + scatter)

    options: dict[str, Any] = {"budget": "standard", "overrides": ("seeds=3",), "loss": loss}
    report = make_report(tmp_path, ("model_comparison",), **options)
    summary, section = (section_text(report, name) for name in ("summary", "claim-model_comparison"))
    assert "better than other models is not reproduced after 50 epochs, and open after 500 epochs." in summary
    assert re.search(
        r"an autoencoder\?\W+no\W+MNIST, .* after 50 epochs, with all images and 3 seeds", summary
    )
    assert (
        "This is by the secondary rule “On MNIST, after 50 epochs, GON has a lower validation loss than "
        "every other trained model”; by the primary one the verdict stays open: the runs have 50 epochs, and"
        in section
    )


def test_table_1_stands_in_front_with_pca_and_what_is_published(tmp_path: Path) -> None:
    for name in ("latent_size", "model_comparison"):
        make_claim(tmp_path / name, name)
    build([tmp_path / "latent_size", tmp_path / "model_comparison"], tmp_path / "report", [])
    soup = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    answers = [row.get_text(" ") for row in soup.select("#answers tbody tr")]
    questions = [headline.question for claim in load_study().claims for headline in claim.headlines]
    shown = [question for question in questions if any(question in answer for answer in answers)]
    assert len(answers) == len(shown) == 4  # of the two claims
    assert "with 1 of 500 epochs and 1 of 3 seeds the numbers" in " ".join(answers[0].split())
    table = there(soup.select_one("#summary #claim-latent_size-table-table_1"))
    assert "Table 1." in there(table.find("caption")).get_text()
    assert table.select("td.published data")


def test_numbers_that_need_no_run_are_shown_without_a_link(tmp_path: Path) -> None:
    make_claim(tmp_path / "model_comparison", "model_comparison")
    build([tmp_path / "model_comparison"], tmp_path / "report", [])
    soup = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    box = there(soup.find(id="claim-model_comparison-half_the_parameters"))
    text = " ".join(box.get_text().split())
    assert "GON has half the parameters of the autoencoder. reproduced" in text
    assert "GON 107 089, autoencoder 214 241, −50%" in text
    assert "By count, without training, every comparison is as published" in page_text(tmp_path / "report")
    assert not box.select("a[href^='#run-']")


def test_what_is_not_judged_is_said(tmp_path: Path) -> None:
    make_claim(tmp_path / "model_comparison", "model_comparison")
    build([tmp_path / "model_comparison"], tmp_path / "report", [])
    for text in (page_text(tmp_path / "report"), pdf_text(tmp_path / "report")):
        assert "Not judged. The claim names CIFAR-10 and Small NORB too." in text
        assert "version 2, written after pilot runs" in text or "Version 2, written after pilot runs" in text


def test_what_is_left_out_is_said_with_its_reason(tmp_path: Path) -> None:
    make_claim(tmp_path / "model_comparison", "model_comparison")
    left_out = judged(tmp_path / "model_comparison").left_out
    build([tmp_path / "model_comparison"], tmp_path / "report", [])
    text = section_text(tmp_path / "report", "claim-model_comparison")
    assert "To run them: ./run_all.sh --budget standard." in text
    assert "1 rule with nothing to compare" in text
    assert "ot attempted" not in text and "not run at this budget" not in text
    page = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    assert page.find(id="claim-model_comparison-same_parameters") is None  # nothing to compare, no row
    assert len(page.select("#claim-model_comparison table.rules tbody tr")) == 6
    elsewhere = {r.spec.digest for r in left_out if (r.left_out or "").startswith("not part of the budget")}
    assert f"Planned runs left out: {len(elsewhere)} of a larger budget." in page_text(tmp_path / "report")


def test_diverged_run_is_shown_as_such(tmp_path: Path) -> None:
    def tanh_diverges(spec: RunSpec) -> float | None:
        return None if spec.activation == "tanh" else plausible_loss(spec)

    report = make_report(tmp_path, ("activations",), loss=tanh_diverges)
    text = section_text(report, "claim-activations")
    assert "tanh diverged in epoch 1, step 7" in text
    assert "a run has no loss to compare" in text
    assert "None" not in text and "nan" not in text
    assert "Diverged: diverged in epoch 1, step 7" in page_text(report)
    assert "tanh diverged in epoch 1, step 7" in pdf_text(report)


def test_a_training_that_went_on_elsewhere_names_both_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = report_support.record

    def went_on(store: RunStore, spec: RunSpec, epochs: int, loss: float | None) -> RunRecord:
        made = trained(store, spec, epochs, loss)
        (first,) = made.sessions
        if spec.inner_steps == 1:
            return made
        machine = {**first.machine, "processor": "Another processor"}
        second = dataclasses.replace(first, first_epoch=3, machine=machine, commit="fedcba987654")
        sessions = [dataclasses.replace(first, last_epoch=2), second]
        return store.save(dataclasses.replace(made, sessions=sessions), store.steps_of(made))

    monkeypatch.setattr(report_support, "record", went_on)
    report = make_report(tmp_path, ("two_step",), overrides=["epochs=5"])
    soup = BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")
    ways = [" ".join(there(term.find_next("dd")).get_text().split()) for term in soup(string="how")]
    (both,) = [way for way in ways if "then" in way]
    first, second = both.split(" up to epoch 2, then ")
    assert first.endswith("commit 0123456789ab; environment 1"), both
    assert second.endswith("commit fedcba987654; environment 2"), both
    processor = report_support.MACHINE["processor"]
    text = page_text(report)
    assert re.search(rf"Environment 1 +\(\d+ runs\): processor: {processor}", text)
    assert re.search(r"Environment 2 +\(\d+ runs?\): processor: Another processor", text)
    assert f"Another processor and {processor} (CPU" in text
    table = (report / "data" / "runs.csv").read_text()
    assert f"processor {processor}" in table and "then processor Another processor" in table


@pytest.mark.parametrize("diverging", [{"relu", "tanh", "softplus", "leaky_relu"}, {"elu"}, None])
def test_report_survives_any_number_of_diverged_runs(tmp_path: Path, diverging: set[str] | None) -> None:
    def loss(spec: RunSpec) -> float | None:
        return None if diverging is None or spec.activation in diverging else plausible_loss(spec)

    report = make_report(tmp_path, loss=loss, rule_epochs=1, overrides=("seeds=3",))
    assert "diverged" in page_text(report)


def test_foreign_text_appears_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(report_support.MACHINE, "processor", "U " + HOSTILE)
    result = make_claim(tmp_path / "claim", "two_step")
    study = report_support.STUDIES[tmp_path / "claim"]
    params = study.claim("two_step")
    published = params.published.model_copy(update={"statement": "S " + HOSTILE})
    update = {"title": "T " + HOSTILE, "method": "M " + HOSTILE, "published": published}
    report_support.STUDIES[tmp_path / "claim"] = Study(study.budget, (params.model_copy(update=update),))
    hostile = result.model_copy(
        update={
            "measurements": [
                m.model_copy(update={"label": f"{m.label}, L {HOSTILE}"}) for m in result.measurements
            ],
            "figures": [
                f.model_copy(update={"caption": f"C {HOSTILE}", "alt": HOSTILE}) for f in result.figures
            ],
            "tables": [
                table.model_copy(
                    update={
                        "caption": "K " + HOSTILE,
                        "rows": [
                            [
                                row[0].model_copy(
                                    update={"text": f"{row[0].text}, L {HOSTILE}, R {HOSTILE}"}
                                ),
                                *row[1:],
                            ]
                            for row in table.rows
                        ],
                    }
                )
                for table in result.tables
            ],
        }
    )
    for table in hostile.tables:
        numbers = frame_of(table.columns, table.rows, {m.name: m for m in hostile.measurements})
        (tmp_path / "claim" / table.csv).write_text(numbers.to_csv(index=False), encoding="utf-8")
    write_result(hostile, tmp_path / "claim")
    build([tmp_path / "claim"], tmp_path / "report", [])
    html = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert html.count("<script") == 1 and "<b>x</b>" not in html  # our own

    def plain(text: str) -> str:
        # Typography may curl quotation marks; the PDF breaks lines, and names what no font has.
        text = re.sub("[“”]", '"', re.sub("[‘’]", "'", text)).replace("漢", "(U+6F22)")
        return re.sub(r"\s+", "", text.replace("\N{GRINNING FACE}", "(U+1F600)"))

    page, printed = plain(page_text(tmp_path / "report")), plain(pdf_text(tmp_path / "report"))
    for mark in "TMSCKRU":
        assert plain(f"{mark} {HOSTILE}") in page, mark
    for mark in "TMSCKRU":
        # Hyphenation in print may add hyphens.
        assert plain(f"{mark} {HOSTILE}")[:30] in printed, mark
    assert "49" not in plain(section_text(tmp_path / "report", "claim-two_step")).replace(plain(HOSTILE), "")


def test_a_fourth_claim_needs_no_other_file(tmp_path: Path) -> None:
    rule = OrderingRule(
        kind="ordering",
        name="smaller",
        statement="Small batches win.",
        version=1,
        date=datetime.date(2026, 1, 1),
        alpha=0.05,
        margin=0.001,
        epochs=[1],
        seeds=3,
        compare=Compare(lower={"batch_size": 64}, higher={"batch_size": 128}),
        because="Why not.",
    )
    params = ClaimParams(
        name="batch_size",
        title="Small batches are better",
        order=4,
        part="improvement",
        published=Published(statement="Nobody said so.", source=Source(key="nobody1900", where="nowhere")),
        method="By trying.",
        parameters={},
        runs=[Grid.model_validate({"batch_size": [64, 128], "seed": [0, 1, 2]})],
        rules=[rule],
        primary="smaller",
    )
    claim = begin(
        tmp_path / "new",
        params,
        load_study("quick").budget,
        {RunSpec(seed=seed, batch_size=size): 1 for seed in range(3) for size in (64, 128)},
        lambda spec: 41.23 + 0.001 * spec.seed + (spec.batch_size == 128) * (1 + 0.001 * spec.seed**2),
    )
    claim.add_table(
        "batch", claim.measured(), index=["batch_size"], values=["validation_loss"], caption="By batch size."
    )
    claim.judge()
    claim.save()
    make_claim(tmp_path / "two_step", "two_step")
    build([tmp_path / "new", tmp_path / "two_step"], tmp_path / "report", [])
    text = section_text(tmp_path / "report", "claim-batch_size")
    assert re.search(r"MNIST, latent 64, ELU 41\.2, .*batch size 128 42\.2, −2\.4%†", text)
    assert "Small batches win. primary reproduced" in text
    assert "— nobody1900, nowhere" in text
    assert "Small batches are better" in pdf_text(tmp_path / "report")


def test_pdf_is_tagged_and_carries_its_fonts(built: Path) -> None:
    reader = pypdf.PdfReader(built / "report/report.pdf")
    root: Any = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en-GB"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]
    assert there(reader.metadata).title == "Reproducing Gradient Origin Networks: an executable report"
    assert there(reader.metadata).author == "The GON Reproduction Project"
    assert "pdfuaid" in root["/Metadata"].get_data().decode("utf-8")
    fonts = {}
    for page in reader.pages:
        resources: Any = page["/Resources"]
        for font in resources.get("/Font", {}).values():
            font = font.get_object()
            fonts[font["/BaseFont"]] = font["/DescendantFonts"][0].get_object()["/FontDescriptor"]
    assert len(fonts) >= 3
    for descriptor in fonts.values():
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor.get_object())


def test_pdf_says_what_the_page_says(built: Path) -> None:
    text = pdf_text(built / "report")
    for words in (
        "Budget “quick”",
        "The verdict stays open",
        "the numbers point the published way",
        "Workflow and costs",
        "References",
        "Gradient Origin Networks",
        "not comparable",
    ):
        assert words in text
    for title in ("A larger latent reconstructs better", "ELU trains better", "Two gradient steps"):
        assert title in text


def test_same_results_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    notebooks = sorted((built / "notebooks").glob("*.ipynb"))
    build([built / "claims" / name for name in CLAIMS], tmp_path / "again", notebooks)
    files = sorted(p.relative_to(built / "report") for p in (built / "report").rglob("*") if p.is_file())
    again = sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert files == again
    for file in files:
        assert (built / "report" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_notebook_page_keeps_what_matters(built: Path) -> None:
    html = (built / "report/notebooks/latent_size.html").read_text(encoding="utf-8")
    assert "alert(1)" not in html and "onclick" not in html and "3/24" not in html
    assert "start_time" not in html and "http" not in html.replace("http-equiv", "")
    soup = BeautifulSoup(html, "html.parser")
    alts = [image["alt"] for image in soup.find_all("img")]
    assert alts == ["A pixel", "No description has been provided for this image"]
    assert str(PROJECT) not in html and "build" in html
    assert "<b>not bold</b>" in soup.get_text()
    assert soup.select_one(".highlight .k, .highlight .kn")
    assert [h.name for h in soup.find_all(re.compile("h[1-6]"))] == ["h1", "h2", "h3", "h4"]
    assert there(soup.select_one("header a"))["href"] == "../index.html#claim-latent_size"


def test_a_notebook_that_judges_no_claim_is_linked_before_all_others(built: Path, tmp_path: Path) -> None:
    """Its formulas are set, and it leads back to where the report describes the model."""
    notebook = make_explanation(tmp_path / "method.ipynb")
    claims = [built / "claims" / name for name in CLAIMS]
    build(claims, tmp_path / "report", [notebook, *sorted((built / "notebooks").glob("*.ipynb"))])
    page = BeautifulSoup((tmp_path / "report/index.html").read_text(encoding="utf-8"), "html.parser")
    links = [str(a["href"]) for a in page.select('a[href^="notebooks/"]')]
    assert links[0] == "notebooks/method.html"
    shown = BeautifulSoup(
        (tmp_path / "report/notebooks/method.html").read_text(encoding="utf-8"), "html.parser"
    )
    assert shown.select_one("math mi") and "$" not in shown.get_text()
    assert there(shown.select_one("header a"))["href"] == "../index.html#model" and page.find(id="model")
    assert not dead_links(tmp_path / "report/notebooks/method.html")


def test_the_first_notebook_runs_on_other_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps on few images, and a number of latent dimensions that fills no square; under `gon run`."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    path = tmp_path / "method.ipynb"
    values = {"images": 150, "steps": 3, "latent_dim": 5, "learning_rate": 1e-4}
    execute_notebook(PROJECT / "notebooks/method.ipynb", path, values)
    printed = [o for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", [])]
    assert "origin_latent: relative difference 0.0e+00" in printed[0]["text"]
    drawn = [kind for o in printed for kind in o.get("data", {}) if kind.startswith("image/")]
    assert sorted(drawn) == ["image/png", "image/png", "image/svg+xml"]


def refused(folder: Path, claims: list[Path], notebooks: list[Path], words: str) -> None:
    with pytest.raises(GonError, match=words):
        build(claims, folder / "report", notebooks)


def test_a_failure_leaves_the_old_report_as_it_is(tmp_path: Path) -> None:
    report = make_report(tmp_path, ("two_step",))
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    claim = tmp_path / "claims/two_step"
    good = (claim / "figures/curves.svg").read_bytes()
    (claim / "figures/curves.svg").write_bytes(good[:-40])
    refused(tmp_path, [claim], [], "curves.svg: altered after it was written")
    write_result(read_result(claim), claim)
    refused(tmp_path, [claim], [], "curves.svg: not an SVG figure")
    (claim / "figures/curves.svg").unlink()
    refused(tmp_path, [claim], [], "figures/curves.svg' is not a file in the claim's folder")
    (claim / "figures/curves.svg").write_bytes(good)
    write_result(read_result(claim), claim)
    (tmp_path / "two_step.ipynb").write_text("{", encoding="utf-8")
    refused(tmp_path, [claim], [tmp_path / "two_step.ipynb"], "two_step.ipynb: cannot read the notebook")
    (claim / "result.json").write_text("{", encoding="utf-8")
    refused(tmp_path, [claim], [], "result.json: not a claim result")
    assert {path: path.read_bytes() for path in report.rglob("*") if path.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["claims", "report", "two_step.ipynb"]


def test_a_new_report_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    report = make_report(tmp_path, ("two_step",))
    (report / "notes.txt").write_text("mine", encoding="utf-8")
    make_claim(tmp_path / "claims/activations", "activations")
    build([tmp_path / "claims/activations"], report, [])
    assert (report / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in (report / "data").iterdir() if path.is_dir()) == [
        "activations",
        "runs",
    ]
    assert dead_links(report / "index.html") == []


def test_results_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    names = ("latent_size", "activations")
    for name in names:
        make_claim(tmp_path / name, name)
    folders = [tmp_path / name for name in names]
    with pytest.raises(GonError, match="no claim result"):
        build_report(load_study("quick"), ReportParts([]), tmp_path / "report")
    refused(tmp_path, [folders[0], folders[0]], [], "stands in")
    refused(tmp_path, folders, [tmp_path / "other.ipynb"], "'other' belongs to no claim")
    make_claim(tmp_path / "standard", "activations", budget="standard")
    other = "records: run .* is in .* only; execute the notebook again"
    refused(tmp_path, [folders[0], tmp_path / "standard"], [], "cannot read the run record|is in .* only")
    make_claim(folders[1], "activations", loss=lambda spec: 1.0)
    refused(tmp_path, folders, [], f"latent_size/result.json: {other}")
    make_claim(folders[0], names[0])
    result = read_result(folders[0])
    outside = result.tables[0].model_copy(update={"csv": "../activations/result.json"})
    write_result(result.model_copy(update={"tables": [outside]}), folders[0])
    refused(tmp_path, [folders[0]], [], "is not a file in the claim's folder")


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    make_claim(tmp_path / "claim", "two_step")
    (tmp_path / "report").write_text("a file", encoding="utf-8")
    refused(tmp_path, [tmp_path / "claim"], [], f"{tmp_path / 'report'}: cannot write the report")
    with pytest.raises(GonError, match="cannot write the report"):
        build([tmp_path / "claim"], tmp_path / "report" / "deeper", [])


def test_reporting_does_not_need_torch() -> None:
    code = "import sys, gon.reporting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
