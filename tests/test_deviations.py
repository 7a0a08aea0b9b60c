"""The list of deviations: wrong entries, and what readers see of it."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pypdf
import pytest
import yaml
from bs4 import BeautifulSoup
from narrow import there
from report_support import MACHINE, begin, build, make_claim, plausible_loss

from gon.claims.deviations import load_deviations
from gon.claims.formats import count, number
from gon.claims.study import load_study
from gon.errors import UsageError
from gon.files import PROJECT
from gon.reporting.escape import slug

ENTRIES: list[dict[str, Any]] = yaml.safe_load((PROJECT / "params/deviations.yaml").read_text())
MEASURED = next(i for i, entry in enumerate(ENTRIES) if entry["name"] == "statistics")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e[0].pop("effect"), "entry 1: effect: Field required"),
        (lambda e: e[0].update(efect="None"), "entry 1: efect: Extra inputs are not permitted, found 'None'"),
        (lambda e: e[1].update(name="Seeds!"), "entry 2: name: .* found 'Seeds!'"),
        (lambda e: e[1].update(name="epochs"), "entry 2: name: 'epochs' occurs more than once"),
        (lambda e: e[0].update(claims=[]), "entry 1: claims: .* at least 1"),
        (lambda e: e[0].update(claims="two_step"), "entry 1: claims: .* list, found 'two_step'"),
        (
            lambda e: e[0].update(claims=["two_steps"]),
            r"entry 1 \(epochs\): claims: 'two_steps' is not known; allowed are activations, latent_size",
        ),
        (
            lambda e: e[MEASURED]["measured"].update(claim="protocols"),
            r"\(statistics\): measured.claim: 'protocols' is not known; allowed are activations",
        ),
        (lambda e: e[MEASURED]["measured"].update(measurements=[]), "measured.measurements: .* at least 1"),
        (
            lambda e: e[0].update(here="{epoch} of training"),
            r"entry 1: here: .*\{epoch\} is not known; allowed are epochs, seeds, images, datasets, versions",
        ),
        (lambda e: e[0].update(source={"key": "chen2021reproducibility"}), "entry 1: source.where: Field"),
        (lambda e: e.insert(2, "split"), "entry 3: the entry: .* found 'split'"),
    ],
)
def test_a_wrong_entry_is_named_with_what_is_allowed(
    tmp_path: Path, change: Callable[[list[Any]], object], words: str
) -> None:
    entries = copy.deepcopy(ENTRIES)
    change(entries)
    path = tmp_path / "deviations.yaml"
    path.write_text(yaml.safe_dump(entries))
    with pytest.raises(UsageError, match=words) as caught:
        load_deviations(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: epochs\n", "a list of deviations is allowed, found dict"),
        (b"- {name: epochs\n", "not valid YAML"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_is_no_list_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "deviations.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words) as caught:
        load_deviations(path)
    assert str(path) in str(caught.value)


def make_protocol(folder: Path, ratios: dict[tuple[str, str], float]) -> None:
    """The result of the claim about the protocol, with ratios of evaluations as its notebook derives them."""
    study = load_study("quick")
    params = study.claim("protocol")
    claim = begin(
        folder,
        params,
        study.budget,
        {r.spec: study.budget.epochs for r in params.requests(study.budget) if r.left_out is None},
        plausible_loss,
    )
    runs = claim.measured().query("split == 'test'")
    claim.add_table(
        "protocols",
        pd.concat(
            runs[runs.model == model].assign(protocol=protocol, ratio=ratio)
            for (model, protocol), ratio in ratios.items()
        ),
        index=["protocol"],
        columns=["model"],
        values=["ratio"],
        caption="By protocol.",
    )
    claim.save()


RATIOS = {
    ("gon", "running statistics of the training"): 3.217,
    ("autoencoder", "running statistics of the training"): 1.043,
    ("gon", "batches of 16, inner loss averaged over 16"): 1.618,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with claims, and the report of them. Tests only read it."""
    folder = tmp_path_factory.mktemp("deviations")
    make_claim(folder / "claims/two_step", "two_step")
    make_protocol(folder / "claims/protocol", RATIOS)
    build([folder / "claims/two_step", folder / "claims/protocol"], folder / "report", [])
    return folder


def page(built: Path) -> BeautifulSoup:
    return BeautifulSoup((built / "report/index.html").read_text(encoding="utf-8"), "html.parser")


def words_of(text: str) -> str:
    return " ".join(text.split())


def test_every_deviation_is_a_row_of_page_and_pdf(built: Path) -> None:
    rows = page(built).select("table.deviations tbody tr")
    assert [row["id"] for row in rows] == [f"deviation-{entry['name']}" for entry in ENTRIES]
    for row, entry in zip(rows, ENTRIES, strict=True):
        cells = [words_of(cell.get_text()) for cell in row.find_all(["th", "td"])]
        assert cells[0] == entry["what"]
        for cell, key in zip(cells[1:3], ("published", "code"), strict=True):
            assert words_of(cell).replace("’", "'") == words_of(entry[key]), entry["name"]
        assert words_of(entry["effect"]) in cells[4].replace("’", "'")
    # What the report rests on stands there, taken from its budget and records.
    here = {row["id"]: words_of(row.find_all("td")[2].get_text()) for row in rows}
    assert here["deviation-epochs"] == "1 epoch."
    images = f"{count(60_000)} training and {count(10_000)} validation images"
    assert words_of(images) in here["deviation-split"]
    assert "torch 2.13.0" in here["deviation-versions"]
    assert str(MACHINE["processor"]) in here["deviation-hardware"]
    reader = pypdf.PdfReader(built / "report/report.pdf")
    # Cells are narrow: words may be broken at the end of a line.
    printed = "".join(page.extract_text() for page in reader.pages)
    printed = "".join(printed.replace("-\n", "").split())
    for entry in ENTRIES:
        assert "".join(entry["what"].split()) in printed, entry["name"]


def test_every_measured_effect_is_there_in_the_published_report() -> None:
    """A number that no notebook names so is left out of the row in silence."""
    there_are = pd.read_csv(PROJECT / "docs/report/data/measurements.csv").groupby("claim")["measurement"]
    for entry in ENTRIES:
        if measured := entry.get("measured"):
            assert set(measured["measurements"]) <= set(there_are.get_group(measured["claim"])), entry["name"]


def test_measured_effects_are_the_numbers_of_their_claim_and_lead_to_its_runs(built: Path) -> None:
    soup = page(built)
    row = there(soup.find(id="deviation-statistics"))
    links = row.select('a[href^="#run-"]:has(data)')
    assert [link.get_text().strip() for link in links] == [number(3.217), number(1.043)]
    models = ["GON", "autoencoder"]
    for link, model in zip(links, models, strict=True):
        card = there(soup.find(id=str(link["href"])[1:]))
        assert model.lower() in card.get_text().lower()
    # One of two was measured: it is shown. None was: that is said. None can be: the effect is argued.
    assert number(1.618) in there(soup.find(id="deviation-batches")).get_text()
    assert "Not measured at this budget" in there(soup.find(id="deviation-split")).get_text()
    assert "(argued)" in there(soup.find(id="deviation-hardware")).get_text()


def test_every_result_names_the_deviations_that_touch_it(built: Path) -> None:
    soup = page(built)
    for name in ("two_step", "protocol"):
        section = there(soup.find(id=f"claim-{slug(name)}"))
        named = [str(a["href"]) for a in section.select('a[href^="#deviation-"]')]
        assert named == [f"#deviation-{entry['name']}" for entry in ENTRIES if name in entry["claims"]]


def test_the_table_is_there_as_csv(built: Path) -> None:
    table = pd.read_csv(built / "report/data/deviations.csv").set_index("name")
    assert list(table.index) == [entry["name"] for entry in ENTRIES]
    assert table.loc["statistics", "measured"] == (
        "protocols/gon/running statistics of the training/ratio: 3.217; "
        "protocols/autoencoder/running statistics of the training/ratio: 1.043"
    )
    assert table["measured"].isna().sum() == len(ENTRIES) - 2
    assert table.loc["epochs", "here"] == "1 epoch."
