"""Executed notebooks are other people's: what they hold reaches their page only as far as the list allows."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from gon.files import PROJECT
from gon.reporting.notebook import render_notebook
from gon.reporting.page import maths_font
from gon.reporting.report import Report
from gon.reporting.sanitise import sanitised
from gon.reporting.svg import inline_svg

HOSTILE = [
    '<meta http-equiv="refresh" content="0; url=https://example.org">',
    "<script>alert(1)</script>",
    '<form action="https://example.org"><input name="q"><button>go</button></form>',
    '<iframe src="https://example.org"></iframe><object data="x"></object><embed src="x">',
    '<base href="https://example.org/"><link rel="stylesheet" href="https://example.org/x.css">',
    '<div style="position: fixed; inset: 0; z-index: 9; background: red">over it all</div>',
    '<table style="position: absolute"><tr><td style="position: fixed; width: 9999px">x</td></tr></table>',
    '<a href="javascript:alert(1)">x</a><a href="&#106;avascript:alert(1)">x</a>',
    '<a href="data:text/html,x">x</a>',
    '<img src="https://example.org/pixel"><img src="x" onerror="alert(1)">',
    "<style>body { display: none }</style>",
    "</main></body><h1>another page</h1>",
    '<p class="skip">x</p><div class="masthead hidden">x</div><p id="notebook">x</p>',
    '<svg><foreignobject><meta http-equiv="refresh" content="0"></foreignobject></svg>',
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    '<details open ontoggle="alert(1)">x</details><marquee>x</marquee><dialog open>x</dialog>',
    '<video src="https://example.org/v" autoplay></video><audio src="x"></audio>',
]
PLACES: dict[str, Callable[[str], nbformat.NotebookNode]] = {
    "markdown": lambda text: new_markdown_cell(text),
    "raw": lambda text: new_raw_cell(text, metadata={"raw_mimetype": "text/html"}),
    "code": lambda text: new_code_cell(text),
    "html": lambda text: output({"text/html": text}),
    "table": lambda text: output({"text/html": f"<table><tr><td>{text}</td></tr></table>"}),
    "output's markdown": lambda text: output({"text/markdown": text}),
    "text": lambda text: output({"text/plain": text}),
    "latex": lambda text: output({"text/latex": text}),
    "script": lambda text: output({"application/javascript": text}),
    "png": lambda text: output({"image/png": f'">{text}'}),
    "svg": lambda text: output({"image/svg+xml": f'<svg xmlns="http://www.w3.org/2000/svg">{text}</svg>'}),
    "alternative": lambda text: output({"image/png": "aGk="}, {"image/png": {"alt": f'">{text}'}}),
    "size": lambda text: output({"image/png": "aGk="}, {"image/png": {"width": f'">{text}'}}),
    "stdout": lambda text: new_code_cell("x", outputs=[new_output("stream", name="stdout", text=text)]),
    "error": lambda text: new_code_cell(
        "x", outputs=[new_output("error", ename="E", evalue=text, traceback=[f"\x1b[31m{text}\x1b[0m"])]
    ),
}


def output(data: dict[str, str], metadata: dict[str, object] | None = None) -> nbformat.NotebookNode:
    shown = new_output("display_data", data=data, metadata=metadata or {})
    cell: nbformat.NotebookNode = new_code_cell("x", outputs=[shown])
    return cell


def page(*cells: nbformat.NotebookNode, report: Report | None = None) -> BeautifulSoup:
    notebook = new_notebook(cells=list(cells))
    html = render_notebook(notebook, Path("method.ipynb"), None, report)  # type: ignore[arg-type]
    return BeautifulSoup(html, "html.parser")


@pytest.mark.filterwarnings("ignore:Your element with mimetype")  # it is left out
@pytest.mark.parametrize("place", PLACES)
def test_nothing_of_a_notebook_acts(place: str) -> None:
    soup = page(*(PLACES[place](text) for text in HOSTILE))
    main = soup.find("main")
    assert main is not None and len(soup.find_all("main")) == 1 and main.get("id") == "notebook"
    assert main.parent is not None and main.parent.find_all(recursive=False)[-1] == main, "it was left"
    acting = (
        "script form input button iframe object embed base link style video audio details dialog svg meta"
    )
    assert not main.find_all(acting.split())
    assert [tag["http-equiv"] for tag in soup.find_all("meta", {"http-equiv": True})] == [
        "Content-Security-Policy"
    ]
    for tag in main.find_all(True):
        for name, value in tag.attrs.items():
            assert not name.startswith("on") and name != "id", tag
            assert name != "href" or re.match("https?:|mailto:|#", str(value)), tag
            assert name != "src" or str(value).startswith("data:image/"), tag
            assert name != "style" or re.fullmatch(r"(text-align:\s*\w+;?)?", str(value)), tag
            assert name != "class" or not {"skip", "hidden", "masthead"} & set(value), tag


def test_what_notebooks_show_is_shown() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0"/></svg>'
    head = "<thead><tr><th></th><th>loss</th></tr></thead>"
    table = f"<table>{head}<tbody><tr><th>0</th><td>1.5</td></tr></tbody></table>"
    soup = page(
        new_markdown_cell("## Heading\n\n$$\\nabla_z \\frac{1}{2}$$ and $z$, [a link](https://example.org)"),
        new_code_cell(
            "for i in x: pass", outputs=[new_output("stream", name="stdout", text="\x1b[31mred\x1b[0m")]
        ),
        output({"image/svg+xml": svg}, {"image/svg+xml": {"alt": "A figure"}}),
        output({"image/png": "aGk="}, {"image/png": {"alt": "A picture"}}),
        output({"text/html": f"<style>x</style>{table}"}),
    )
    main = soup.find("main")
    assert main is not None
    assert [tag.name for tag in main.find_all(["h3", "mfrac", "table", "thead", "td"])] == [
        *("h3", "mfrac", "table", "thead"),
        *("td", "td"),  # the corner above the row numbers heads nothing
    ]
    assert [(img["alt"], str(img["src"])[:22]) for img in main.find_all("img")] == [
        ("A figure", "data:image/svg+xml;bas"),
        ("A picture", "data:image/png;base64,"),
    ]
    assert main.select_one("math[display=block][tabindex='0']") and main.select_one(".highlight .k")
    assert main.select_one(".ansi-red-fg") and main.select_one("a[href='https://example.org']")


@pytest.mark.parametrize(
    "texts",
    [
        ["- a\n- b", "- c\n- d", "    code", "> quoted", "on", "| a |\n|---|\n| 1 |", "end"],
        ["begins <!-- here", "and ends --> here", "end"],  # a comment
        ["```\nopen", "```\ncode\n```", "end"],
        ["one\n\nnext-cell-of-the-notebook", "end"],  # the mark between two
        ["", "end"],
    ],
)
def test_a_cell_shows_what_it_shows_alone(texts: list[str]) -> None:
    together = page(*map(new_markdown_cell, texts)).select("main .cell")
    alone = [cell for text in texts for cell in page(new_markdown_cell(text)).select("main .cell")]
    assert together == alone and "end" in alone[-1].get_text()


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<mspace width="0.167em">', '<math><mspace width="0.167em"></mspace></math>'),
        ('<mspace width="9999em">', "<math><mspace></mspace></math>"),
    ],
)
def test_spaces_stay_in_their_line(html: str, expected: str) -> None:
    assert sanitised(f"<math>{html}</math>") == expected


@pytest.mark.parametrize("name", ["foreignobject", "foreignObject", "script", "style", "a", "set", "animate"])
def test_a_figure_only_draws(tmp_path: Path, name: str) -> None:
    path = tmp_path / "figure.svg"
    inner = f'<{name} href="javascript:alert(1)" to="javascript:alert(1)"><text>x</text></{name}>'
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><g>{inner}<path d="M0 0"/></g></svg>')
    assert name.lower() not in re.findall("<([a-z]+)", inline_svg(path, "p-").lower())
    assert "<path" in inline_svg(path, "p-")


def test_the_policy_lets_no_script_and_no_form_through() -> None:
    for template in ("page.html", "notebook/index.html.j2"):
        text = (PROJECT / "templates" / template).read_text(encoding="utf-8")
        assert "default-src 'none'" in text and "form-action 'none'" in text and "base-uri 'none'" in text
    assert maths_font()
