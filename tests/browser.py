"""Look at a page of the report as a reader's browser does: headless Chromium, nothing from the network."""

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urldefrag

from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from narrow import there
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
DESKTOP = (1280, 900)
PHONE = (390, 844)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def chromium() -> str | None:
    """The browser to use: $CHROMIUM, or the one on the path; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@dataclass
class Seen:
    """What happened while a page was open."""

    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(
    browser: Browser,
    path: Path,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
    javascript: bool = True,
) -> Iterator[tuple[Page, Seen]]:
    """Open a file, and note every message on the console and every request but that for the file."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, java_script_enabled=javascript
    )
    page, seen, address = context.new_page(), Seen(), path.resolve().as_uri()
    page.on("console", lambda message: seen.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.console.append(f"error: {error}"))
    page.on("request", lambda request: seen.requests.append(request.url))
    page.goto(address)
    seen.requests = [url for url in seen.requests if url != address and not url.startswith("data:")]
    yield page, seen
    context.close()


_CUT_OFF = """[...document.querySelectorAll("figure svg")].flatMap((drawing) => {
    const whole = drawing.getBoundingClientRect();
    return [...drawing.querySelectorAll("text")].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.width && (box.left < whole.left - 1 || box.right > whole.right + 1
            || box.top < whole.top - 1 || box.bottom > whole.bottom + 1);
    }).map((text) => text.textContent);
})"""
"""Texts of drawings that reach beyond them, in a browser's own fonts."""


def check_page(browser: Browser, path: Path) -> None:
    """Check a page as a reader meets it: quiet, alone, accessible, readable on a phone, no dead link."""
    assert not dead_links(path), dead_links(path)
    assert not repeated_ids(path), repeated_ids(path)
    for size in (DESKTOP, PHONE):
        for scheme in SCHEMES:
            where = f"{path.name} at {size[0]} pixels, {scheme}"
            with open_page(browser, path, size=size, scheme=scheme) as (page, seen):
                assert not seen.console, f"{where}: {seen.console}"
                assert not seen.requests, f"{where}: {seen.requests}"
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= size[0], f"{where}: the page is {width} pixels wide"
                found = Axe().run(page)
                assert not found.violations_count, f"{where}: {found.generate_report()}"
                if (size == DESKTOP) != (scheme == "light"):
                    continue  # unfolded, each size and each scheme once: a long page takes minutes to check
                page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= size[0], f"{where}, unfolded: the page is {width} pixels wide"
                cut = page.evaluate(_CUT_OFF)
                assert not cut, f"{where}: cut off in a figure: {cut}"
                found = Axe().run(page)
                assert not found.violations_count, f"{where}, unfolded: {found.generate_report()}"


LARGEST_PAGE = 1_200_000
"""Bytes."""
MOST_SCREENS = 20
"""Of a desktop, with everything folded as it opens."""


def check_size(browser: Browser, path: Path) -> None:
    """Check that a page is light and short as it opens."""
    assert path.stat().st_size < LARGEST_PAGE
    with open_page(browser, path) as (page, seen):
        assert not seen.console
        height = page.evaluate("document.documentElement.scrollHeight")
        assert height <= MOST_SCREENS * DESKTOP[1], f"{height / DESKTOP[1]:.1f} screens"


def dead_links(path: Path) -> list[str]:
    """Links of a page that lead nowhere: to no file, or to no place in it."""
    soups: dict[Path, BeautifulSoup] = {}

    def soup(file: Path) -> BeautifulSoup:
        if file not in soups:
            soups[file] = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
        return soups[file]

    dead = []
    for element in soup(path).find_all(href=True):
        link = str(element["href"])
        if link.startswith(("http://", "https://", "data:")):
            continue
        target, fragment = urldefrag(link)
        file = (path.parent / unquote(target)).resolve() if target else path
        if not file.is_file() or (fragment and soup(file).find(id=unquote(fragment)) is None):
            dead.append(link)
    return dead


def repeated_ids(path: Path) -> list[str]:
    """Ids that occur more than once on a page."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    counts = Counter(str(element["id"]) for element in soup.find_all(id=True))
    return [name for name, count in counts.items() if count > 1]


RESULTS = ("summary", "results", "improvement", "beyond", "discussion")
"""Ids of what speaks of results."""
NOT_FROM_RUNS = "blockquote, .given, .published, th, caption, figcaption, h2, h3, h4, svg, code, .source"
"""Quotations, what parameters say, published values, headings, and figures with the links to their data."""


def homeless_numbers(path: Path) -> tuple[int, list[str]]:
    """Walk over the results of a page: how many numbers lead to the cards of their runs, and which do not."""
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    exempt = {id(element) for element in soup.select(NOT_FROM_RUNS)}
    led, homeless = 0, []
    for name in RESULTS:
        section = soup.find(id=name)
        assert section is not None, name
        for text in section.find_all(string=re.compile(r"\d")):
            above = list(text.parents)
            if any(id(element) in exempt for element in above):
                continue
            (link,) = [str(element["href"]) for element in above if element.name == "a"] or [""]
            if link.startswith("#run-"):
                assert soup.select(f'[id="{link[1:]}"] dl.facts'), f"no card at {link}"
                led += 1
            elif not link.startswith(("#runs", "#ref-")) and not soup.select(f'figure[id="{link[1:]}"]'):
                homeless.append(" ".join(there(text.parent).get_text(" ").split())[:200])
    return led, homeless
