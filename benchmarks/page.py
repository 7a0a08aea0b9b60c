"""Measure a page of the report as a browser opens it: `python benchmarks/page.py report/index.html`.

Needs the test environment, and Chromium on the path or in $CHROMIUM. Prints bytes, screens as it opens, and
the time to the first paint from disk: the median of some openings, each in a browser context of its own.
"""

import argparse
import gzip
import statistics
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests")]

from browser import DESKTOP, PHONE, open_browser, open_page  # noqa: E402
from playwright.sync_api import Browser  # noqa: E402

OPENINGS = 9
FIRST_PAINT = """() => new Promise((resolve) => {
  new PerformanceObserver((list) => resolve(list.getEntriesByName("first-contentful-paint")[0]?.startTime))
    .observe({ type: "paint", buffered: true });
})"""


def screens(browser: Browser, path: Path, size: tuple[int, int]) -> float:
    """How many screens of a size the page is long, folded as it opens."""
    with open_page(browser, path, size=size) as (page, _):
        return float(page.evaluate("document.documentElement.scrollHeight")) / size[1]


def first_paint(browser: Browser, path: Path) -> float:
    """Milliseconds from the opening to the first paint with content."""
    with open_page(browser, path) as (page, _):
        return float(page.evaluate(FIRST_PAINT))


def main() -> None:
    """Measure the pages that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path, nargs="+")
    with open_browser() as browser:
        for path in parser.parse_args().pages:
            content = path.read_bytes()
            times = [first_paint(browser, path) for _ in range(OPENINGS)]
            print(
                f"{path}: {len(content) / 1e3:.0f} kB ({len(gzip.compress(content)) / 1e3:.0f} kB gzip), "
                f"{screens(browser, path, DESKTOP):.1f} screens of {DESKTOP[0]} × {DESKTOP[1]}, "
                f"{screens(browser, path, PHONE):.1f} of {PHONE[0]} × {PHONE[1]}, first paint after "
                f"{statistics.median(times):.0f} ms ({min(times):.0f} to {max(times):.0f})"
            )


if __name__ == "__main__":
    main()
