"""What a reader can do on the page: sort, filter, copy, switch and read values, in a real browser."""

import base64
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pypdf
import pytest
import yaml
from browser import chromium, open_browser, open_page
from bs4 import BeautifulSoup, Tag
from fontTools.ttLib import TTFont
from narrow import there
from playwright.sync_api import Browser, Locator, Page
from report_support import begin, build, plausible_loss

from gon.claims.claim import Claim
from gon.claims.measuring import shown
from gon.claims.study import load_study
from gon.files import PROJECT
from gon.spec import RunSpec

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium; set CHROMIUM to one")

LARGEST_SCRIPT = 12_000


def _latent_size(claim: Claim) -> None:
    losses = pd.concat([claim.measured(), claim.published_values])
    claim.add_table(
        "table_1",
        losses,
        index=["latent_dim"],
        columns=["dataset", "model"],
        values=["validation_loss"],
        caption="Published and ours.",
    )
    claim.add_plot(
        "table_1_drawn",
        losses.assign(row=losses.dataset + " " + losses.latent_dim.astype(str)),
        kind="dots",
        x="validation_loss",
        y="row",
        hue="model",
        caption="The table, drawn.",
    )
    claim.add_plot(
        "by_size",
        losses,
        kind="lines",
        x="latent_dim",
        y="validation_loss",
        hue="model",
        col="dataset",
        caption="Loss by latent size.",
    )


def _activations(claim: Claim) -> None:
    claim.add_plot(
        "figure_1",
        claim.training(claim.measured()),
        kind="lines",
        x="epoch",
        y="loss",
        hue="activation",
        caption="Training loss.",
    )


def _two_step(claim: Claim) -> None:
    claim.add_plot(
        "figure_2",
        claim.history(claim.measured()),
        kind="lines",
        x="epoch",
        y="loss",
        hue="inner_steps",
        caption="Validation loss.",
    )


EXHIBITS: dict[str, Callable[[Claim], None]] = {
    "latent_size": _latent_size,
    "activations": _activations,
    "two_step": _two_step,
}
DIVERGED = RunSpec(activation="softplus")
"""Of the runs of this setting, those of the first seed have no loss: what is sorted is not all numbers."""


def loss_of(spec: RunSpec) -> float | None:
    return None if spec == DIVERGED else plausible_loss(spec)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every kind of figure, on three seeds and four epochs. Tests only read it."""
    folder = tmp_path_factory.mktemp("page")
    study = load_study("quick", ["seeds=3", "epochs=4"])
    for name, add_exhibits in EXHIBITS.items():
        params = study.claim(name)
        wanted = {r.spec: r.epochs for r in params.requests(study.budget) if r.left_out is None}
        claim = begin(folder / "claims" / name, params, study.budget, wanted, loss_of)
        add_exhibits(claim)
        claim.judge()
        claim.save()
    build([folder / "claims" / name for name in EXHIBITS], folder / "report", [])
    return folder / "report"


@pytest.fixture(scope="module")
def soup(report: Path) -> BeautifulSoup:
    return BeautifulSoup((report / "index.html").read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    with open_page(browser, report / "index.html") as (opened, seen):
        opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield opened
        assert not seen.console


def status(page: Page) -> str:
    """What the page says to a screen reader."""
    return page.locator("p[role=status]").inner_text()


def column(table: Locator, index: int) -> list[str]:
    """The cells of a column, top to bottom: their values where they have some, else their words."""
    script = (
        "(rows, i) => rows.map(row => row.cells[i].querySelector('data')?.value ?? row.cells[i].textContent)"
    )
    cells: list[str] = table.locator("tbody tr").evaluate_all(script, index)
    return [cell.strip() for cell in cells]


LINE_FIGURES = (
    "claim-activations-figure-figure_1",
    "claim-two_step-figure-figure_2",
    "claim-latent_size-figure-by_size",
)
LOSS = 4
"""The column of the validation loss in the table of runs."""


@pytest.mark.parametrize("way", ["click", "Enter", "Space"])
def test_a_table_is_sorted_by_its_numbers_either_way_and_by_what_has_none_last(page: Page, way: str) -> None:
    table = page.locator("table.runs")
    head = table.locator("thead th").nth(LOSS)
    before = column(table, LOSS)
    losses = sorted(float(cell) for cell in before if cell != "diverged")
    assert before.count("diverged") == 1 and before[-1] != "diverged" and len(losses) > 10
    assert losses != [float(cell) for cell in before if cell != "diverged"]
    for order, expected in (("ascending", losses), ("descending", losses[::-1])):
        button = head.get_by_role("button", name="validation loss")
        if way == "click":
            button.click()
        else:
            button.focus()
            page.keyboard.press(way)
        assert head.get_attribute("aria-sort") == order
        assert table.locator("th[aria-sort]").count() == 1
        sorted_now = column(table, LOSS)
        assert [float(cell) for cell in sorted_now[:-1]] == expected and sorted_now[-1] == "diverged"
        assert status(page) == f"Sorted by validation loss, {order}"
    table.locator("thead th").first.get_by_role("button").click()
    names = column(table, 0)
    assert table.locator("th[aria-sort]").count() == 1 and head.get_attribute("aria-sort") is None
    # By words, and numbers in them by their size: 64 before 128.
    assert names[0].startswith("Fashion-MNIST") and names.index("MNIST, PCA, latent 64") < names.index(
        "MNIST, PCA, latent 128"
    )


def test_runs_are_filtered_by_every_word(page: Page) -> None:
    table = page.locator("table.runs")
    box = page.get_by_role("searchbox", name="Filter")
    total = table.locator("tbody tr").count()
    box.focus()
    page.keyboard.type("pca FASHION")
    visible = table.locator("tbody tr:visible")
    assert visible.count() == 3
    assert all("Fashion-MNIST, PCA" in text for text in visible.all_inner_texts())
    assert status(page) == f"3 of {total} rows"
    box.fill("no such run")
    assert visible.count() == 0
    box.fill("")
    assert visible.count() == total


def test_links_to_headings_tables_and_figures_are_copied(page: Page) -> None:
    places = {
        "#claim-two_step > h3": "claim-two_step",
        "#claim-latent_size-table-table_1 caption": "claim-latent_size-table-table_1",
        "#claim-two_step-figure-figure_2 figcaption": "claim-two_step-figure-figure_2",
    }
    for selector, place in places.items():
        button = page.locator(f"{selector} > button.permalink")
        button.focus()
        assert button.evaluate("element => getComputedStyle(element).opacity") == "1"
        page.keyboard.press("Enter")
        page.wait_for_function(
            "text => document.querySelector('p[role=status]').textContent.endsWith(text)", arg=place
        )
        assert status(page).startswith("Copied: ")
        address = str(page.evaluate("navigator.clipboard.readText()"))
        assert address.endswith(f"/index.html#{place}") and address == page.url


def test_the_citation_is_copied_whole(page: Page, soup: BeautifulSoup) -> None:
    page.get_by_role("button", name="Copy BibTeX").click()
    page.wait_for_function("document.querySelector('p[role=status]').textContent !== ''")
    assert status(page) == "Copied: BibTeX"
    assert page.evaluate("navigator.clipboard.readText()") == there(soup.select_one("pre.copy")).get_text()


def test_a_closed_clipboard_is_said(browser: Browser, report: Path) -> None:
    with open_page(browser, report / "index.html") as (page, _):
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
        page.get_by_role("button", name="Copy BibTeX").click()
        page.wait_for_function("document.querySelector('p[role=status]').textContent !== ''")
        assert status(page) == "The browser does not let the page copy"


def test_seeds_are_switched_off_and_on(page: Page) -> None:
    figure = page.locator("#claim-two_step-figure-figure_2")
    seeds, means = figure.locator('[id*="seed|"]'), figure.locator('[id*="line|"]')
    assert seeds.count() == 6 and means.count() == 2  # two settings from three seeds
    button = figure.get_by_role("button", name="seeds")
    for pressed, displayed in (("true", "inline"), ("false", "none"), ("true", "inline")):
        assert button.get_attribute("aria-pressed") == pressed
        styles = seeds.evaluate_all("found => found.map(one => getComputedStyle(one).display)")
        assert set(styles) == {displayed}
        assert set(means.evaluate_all("found => found.map(one => getComputedStyle(one).display)")) == {
            "inline"
        }
        button.focus()
        page.keyboard.press("Space")


DRAWN = (
    "found => found.map(one => one.getAttribute('d') ?? `${one.getAttribute('x')} ${one.getAttribute('y')}`)"
)
LINES = '[id*="line|"] > path, [id*="line|"] use, [id*="seed|"] > path, [id*="seed|"] use'


def unfolded(page: Page, name: str) -> Locator:
    """A figure, with the fold open that it may lie in."""
    figure = page.locator(f"#{name}")
    figure.evaluate("one => { const fold = one.closest('details'); if (fold) fold.open = true; }")
    return figure


@pytest.mark.parametrize("name", LINE_FIGURES)
def test_a_linear_axis_moves_the_lines_keeps_their_values_and_is_undone(page: Page, name: str) -> None:
    figure = unfolded(page, name)
    button = figure.get_by_role("button", name="linear axis")
    before, told = (
        figure.locator(LINES).evaluate_all(DRAWN),
        [point_of(text) for text in told_by_keys(page, figure)],
    )
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    linear = figure.locator(LINES).evaluate_all(DRAWN)
    # A point at the upper end stays where it is: no other does.
    assert len(linear) == len(before) and sum(a == b for a, b in zip(before, linear, strict=True)) <= 1
    assert figure.locator('[id*="ytick_"]:visible').count() == 0
    assert figure.locator(".linear text").all_text_contents()[0] == "0"
    again = [point_of(text) for text in told_by_keys(page, figure)]
    assert [point[:2] for point in again] == [point[:2] for point in told]
    assert [point[2] for point in again] == pytest.approx([point[2] for point in told], rel=0.01)
    button.click()
    assert figure.locator(LINES).evaluate_all(DRAWN) == before
    assert figure.locator(".linear").count() == 0 and figure.locator('[id*="ytick_"]:visible').count() > 0


def point_of(text: str) -> tuple[str, float, float]:
    """The name of a line, the place on it and the value there, as the page tells them."""
    name, value, place = there(re.fullmatch(r"(.*): (\S+) at (\S+)", text)).groups()
    return name, float(place), float(value)


TIP = """() => {
    const tip = document.querySelector(".tip");
    return [tip.innerText, tip.getAttribute("style"), document.querySelector("p[role=status]").innerText];
}"""


def told_by_keys(page: Page, figure: Locator) -> list[str]:
    """What the arrow keys tell of a figure, from its first point to its last."""
    panels, tip = figure.locator(".panels"), page.locator(".tip")
    panels.evaluate("element => element.blur()")
    panels.focus()
    told: dict[tuple[str, str | None], str] = {}
    while True:
        page.keyboard.press("ArrowRight")
        text, style, to_a_screen_reader = page.evaluate(TIP)  # at once: a figure has hundreds of points
        assert to_a_screen_reader == text
        key = text, style  # what is told where: after the last point comes the first
        if key in told:
            break
        told[key] = text
    assert key == next(iter(told))
    page.keyboard.press("ArrowLeft")
    assert (tip.inner_text(), tip.get_attribute("style")) == list(told)[-1]
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    return list(told.values())


def means_of(report: Path, name: str) -> list[tuple[str, pd.Series]]:
    """The lines of a figure from its CSV: their names, after that of their panel, and means by place."""
    claim, _, figure = name.removeprefix("claim-").partition("-figure-")
    data = pd.read_csv(report / f"data/{claim}/figures/{figure}.csv")
    keys = [key for key in data.columns if key not in ("run", "seed", "epochs")]
    *col, hue, x, y = keys
    panels = [(f"{shown(col[0], v)}, ", part) for v, part in data.groupby(col[0], sort=False)] if col else []
    return [
        (f"{heading}{shown(hue, value)}", part.groupby(x)[y].mean())
        for heading, panel in panels or [("", data)]
        for value, part in panel.groupby(hue, sort=False)
    ]


def points_on(label: str, line: pd.Series) -> list[tuple[str, float, float]]:
    """A line as the points that the page tells of."""
    return [(label, float(place), float(value)) for place, value in zip(line.index, line, strict=True)]


@pytest.mark.parametrize("name", LINE_FIGURES)
def test_the_arrow_keys_tell_the_means_of_the_data(page: Page, report: Path, name: str) -> None:
    told = [point_of(text) for text in told_by_keys(page, unfolded(page, name))]
    lines = means_of(report, name)
    if all(len(line) < 12 for _, line in lines):  # drawn with marks, of which none is left out
        expected = [point for label, line in lines for point in points_on(label, line)]
        assert [point[0] for point in told] == [point[0] for point in expected]
        assert [point[1] for point in told] == pytest.approx([point[1] for point in expected], rel=0.01)
        assert [point[2] for point in told] == pytest.approx([point[2] for point in expected], rel=0.01)
    else:  # a line without marks leaves out points that lie on it anyway
        by_name = dict(lines)
        assert {point[0] for point in told} == set(by_name) and len(told) > 2 * len(lines)
        for label, place, value in told:
            line = by_name[label]
            nearest = min(line.index, key=lambda at: abs(float(at) - place))
            assert place == pytest.approx(nearest, rel=0.01)
            assert value == pytest.approx(line[nearest], rel=0.01)


def test_a_drawn_table_tells_row_and_mean(page: Page, report: Path) -> None:
    told = told_by_keys(page, page.locator("#claim-latent_size-figure-table_1_drawn"))
    data = pd.read_csv(report / "data/latent_size/figures/table_1_drawn.csv")
    means = data.groupby(["model", "row"], sort=False).validation_loss.mean()
    assert [text.rpartition(": ")[0] for text in told] == [
        f"{shown('model', m)}, {row}" for m, row in means.index
    ]
    assert [float(text.rpartition(": ")[2]) for text in told] == pytest.approx(list(means), rel=0.01)


def test_a_value_is_shown_where_the_pointer_is(page: Page, report: Path) -> None:
    """Every mark of a figure, pointed at: the value is that of the data, and what the arrow keys tell."""
    name = "claim-latent_size-figure-by_size"
    figure, tip = unfolded(page, name), page.locator(".tip")
    told = told_by_keys(page, figure)
    figure.scroll_into_view_if_needed()
    expected = [point for label, line in means_of(report, name) for point in points_on(label, line)]
    marks = figure.locator('[id*="line|"] use')
    assert marks.count() == len(expected) == len(told)
    for i, (label, place, value) in enumerate(expected):
        box = there(marks.nth(i).bounding_box())
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert tip.is_visible() and tip.inner_text() == told[i]
        found = point_of(tip.inner_text())
        assert found[:2] == (label, place) and found[2] == pytest.approx(value, rel=0.01)
    page.mouse.move(1, 1)
    assert not tip.is_visible()


def test_without_a_script_all_is_there_and_nothing_is_dead(browser: Browser, report: Path) -> None:
    with open_page(browser, report / "index.html", javascript=False) as (page, _):
        assert page.locator("button, input, .switches, .filter").count() == 0
        for selector in (
            "#answers tr",
            ".panels:not(details *)",
            "table.runs tr",
            "pre.copy",
            "main section > h2",
        ):
            found = page.locator(selector)
            assert found.count() and all(one.is_visible() for one in found.all()), selector
        for fold in page.locator("details").all():
            if fold.is_visible():
                summary = fold.locator("> summary")
                summary.click()
                assert fold.locator("> *").nth(1).is_visible()
                summary.click()
        page.locator("#claim-two_step table.rules a").first.click()
        assert page.locator(":target").is_visible()


def test_a_number_opens_the_card_of_its_run(page: Page) -> None:
    cards = page.locator("details.cards")
    for selector in ("#answers td a", "#claim-latent_size-table-table_1 td a", "table.runs th a"):
        link = page.locator(selector).first
        place = str(link.get_attribute("href"))
        cards.evaluate("element => { element.open = false; }")
        assert not page.locator(f'[id="{place[1:]}"]').is_visible()
        link.click()
        target = page.locator(":target")
        assert target.get_attribute("id") == place[1:] and target.is_visible()
        assert target.locator("dl.facts").count() == 1


def test_the_one_script_is_small_and_no_other_may_run(
    browser: Browser, report: Path, soup: BeautifulSoup
) -> None:
    (script,) = soup.find_all("script")
    text = script.get_text().encode()
    assert len(text) <= LARGEST_SCRIPT and "src" not in script.attrs
    policy = str(there(soup.select_one("meta[http-equiv=Content-Security-Policy]"))["content"])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}'" and rules["default-src"] == "'none'"
    # What somebody slips in is refused: inline, as an attribute, as an address.
    assert not [element for element in soup.find_all(True) if any(a.startswith("on") for a in element.attrs)]
    with open_page(browser, report / "index.html") as (page, seen):
        page.evaluate(
            """() => {
                const [script, image] = [document.createElement("script"), document.createElement("div")];
                script.textContent = "window.slipped = true";
                image.innerHTML = "<img src='data:,' onerror='window.slipped = true'>";
                document.body.append(script, image);
            }"""
        )
        page.wait_for_timeout(100)
        assert page.evaluate("window.slipped") is None
        assert sum("Content Security Policy" in line for line in seen.console) == 2


def test_numbers_of_the_written_report_are_kept_and_ours_begin_with_a(
    report: Path, soup: BeautifulSoup
) -> None:
    numbered = {
        str(there(figure.get("id"))): there(figure.select_one("caption > b, figcaption > b")).get_text()
        for figure in soup.select("figure:has(caption > b, figcaption > b)")
    }
    kept = {
        "claim-latent_size-table-table_1": "Table 1.",
        "claim-activations-figure-figure_1": "Figure 1.",
        "claim-two_step-figure-figure_2": "Figure 2.",
    }
    assert {place: name for place, name in numbered.items() if place in kept} == kept
    ours = [name for place, name in numbered.items() if place not in kept]
    for kind in ("Table", "Figure"):
        of_kind = [name for name in ours if name.startswith(kind)]
        assert sorted(of_kind, key=lambda name: int(re.sub(r"\D", "", name))) == [
            f"{kind} A{i}." for i in range(1, len(of_kind) + 1)
        ]
    assert len(ours) + len(kept) == len(numbered) and len(set(numbered.values())) == len(numbered)
    pages = pypdf.PdfReader(report / "report.pdf").pages
    printed = "".join("".join(page.extract_text() for page in pages).split())
    for caption in soup.select("caption:has(> b), figcaption:has(> b)"):
        # As in print, where nothing is folded away: the words after the number are the same.
        number, said = "".join(caption.get_text().split()).split(".")[:2]
        beginning = f"{number}.{said[:30]}"
        assert beginning in printed, beginning


def signs_of(letter: Tag) -> str:
    """What a browser draws of a part of a formula: a letter that stands alone is a mathematical italic."""
    text = letter.get_text().strip()
    if letter.name != "mi" or len(text) != 1 or letter.get("mathvariant") == "normal":
        return text
    plain = re.sub("^(LATIN|GREEK) |LETTER ", "", unicodedata.name(text))
    try:
        return unicodedata.lookup(f"MATHEMATICAL ITALIC {plain}") if text != "h" else "\N{PLANCK CONSTANT}"
    except KeyError:
        return text


def test_every_sign_of_the_formulas_is_in_the_font_of_the_page(soup: BeautifulSoup) -> None:
    (source,) = re.findall(r"url\(data:font/woff;base64,([^)]+)\)", there(soup.style).get_text())
    with TTFont(io.BytesIO(base64.b64decode(source))) as font:
        covered = {chr(code) for code in font.getBestCmap()}
        assert "MATH" in font  # how large a sum or a parenthesis is
    needed = {sign for letter in soup.select("math :is(mi, mn, mo, mtext)") for sign in signs_of(letter)}
    assert len(soup.select("math")) > 10 and {"\N{MATHEMATICAL ITALIC NABLA}", "∑", "𝜃", "1"} <= needed
    assert needed - covered == set()


def test_formulas_are_drawn_in_the_font_of_the_page(page: Page) -> None:
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px \"Report Maths\"'))")
    devtools = page.context.new_cdp_session(page)
    for domain in ("DOM", "CSS"):
        devtools.send(f"{domain}.enable")
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    parts = devtools.send("DOM.querySelectorAll", {"nodeId": root, "selector": "math :is(mi, mn, mo, mtext)"})
    used = [
        font
        for part in parts["nodeIds"]
        for font in devtools.send("CSS.getPlatformFontsForNode", {"nodeId": part})["fonts"]
    ]
    assert len(used) > 50
    assert {font["familyName"] for font in used if not font["isCustomFont"]} == set()


def test_title_author_and_year_are_the_same_everywhere(report: Path, soup: BeautifulSoup) -> None:
    citation = yaml.safe_load((report / "CITATION.cff").read_text(encoding="utf-8"))
    assert (report / "CITATION.cff").read_bytes() == (PROJECT / "CITATION.cff").read_bytes()
    title, (author,) = citation["title"], [entry["name"] for entry in citation["authors"]]
    meta = {
        str(tag.get("name") or tag.get("property")): str(tag["content"])
        for tag in soup.select("meta[content]")
    }
    printed: Any = there(pypdf.PdfReader(report / "report.pdf").metadata)
    bibtex = dict(re.findall(r"(\w+)\s*= \{+([^{}]+)\}", there(soup.select_one("pre.copy")).get_text()))
    assert {title} == {
        *(there(soup.title).get_text(), there(soup.h1).get_text(), meta["citation_title"], meta["og:title"]),
        *(printed.title, bibtex["title"]),
    }
    assert {author} == {meta["author"], meta["citation_author"], printed.author, bibtex["author"]}
    year = bibtex["year"]
    assert meta["citation_publication_date"].startswith(f"{year}-") and printed.creation_date.year == int(
        year
    )
    assert (
        f"{author}, " in there(soup.select_one(".byline")).get_text()
        and str(year) in there(soup.time).get_text()
    )
    assert meta["description"].startswith("What a written reproducibility report")
    for name in ("citation_pdf_url", "og:image"):
        assert (report / meta[name]).is_file(), name
