"""Make a figure's SVG fit to stand inside the page."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from gon.errors import GonError

_PIXELS_PER_POINT = 1.8

GRID = "#e0e0e0"
"""Colour of the grid in figures."""

# `style` holds matplotlib's rule for every element, which would reach the whole page from inside it.
_DROPPED = {"metadata", "script", "foreignObject", "style", "title", "desc"}


def inline_svg(path: Path, prefix: str, alt: str = "") -> str:
    """An SVG file as an element for an HTML page.

    Parameters
    ----------
    path
        The file, as matplotlib writes it.
    prefix
        Put in front of every id: two figures of one page must not share ids.
    alt
        Text alternative; empty where what the element stands in has one.

    Raises
    ------
    GonError
        If the file is not SVG.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise GonError(f"{path}: not an SVG figure ({error})") from error
    if _local(root.tag) != "svg":
        raise GonError(f"{path}: not an SVG figure (it is a {_local(root.tag)!r} document)")
    size = [re.match(r"[0-9.]+", root.get(side, "")) for side in ("width", "height")]
    # Ids that are led to, and those that say something (see `gon.claims.figures`): the others only weigh.
    used = set(re.findall(r"[\"'(]#([^\"')]+)", path.read_text(encoding="utf-8")))
    _clean(root, prefix, lambda name: name in used or "|" in name or name.startswith("ytick_"))
    if root.get("viewBox") is None and size[0] and size[1]:
        root.set("viewBox", f"0 0 {size[0][0]} {size[1][0]}")
    for side in ("width", "height"):
        root.attrib.pop(side, None)
    root.set("xmlns", "http://www.w3.org/2000/svg")
    # No wider than it is read well: its text would outgrow that of the page.
    widest = f"; max-width: {_PIXELS_PER_POINT * float(size[0][0]):.0f}px" if size[0] else ""
    root.set("style", f"stroke-linejoin: round; stroke-linecap: butt{widest}")
    if alt:
        root.set("role", "img")
        root.set("aria-label", alt)
    else:
        root.set("aria-hidden", "true")
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element, prefix: str, kept: Callable[[str], bool]) -> None:
    """Keep what draws, under ids of its own: no script, no style sheet, no link to elsewhere."""
    element.tag = _local(element.tag)
    element.text, element.tail = ((text or "").strip() or None for text in (element.text, element.tail))
    attributes = {}
    for name, value in element.attrib.items():
        name = _local(name)
        if name.lower().startswith("on") or name in ("version", "space"):
            continue
        if name == "id":
            if not kept(value):
                continue
            value = prefix + value
        elif name == "href":
            if value.startswith("#"):
                value = "#" + prefix + value[1:]
            elif not value.startswith("data:image/"):
                continue
        elif name in ("d", "transform", "points", "x", "y"):
            # A hundredth of a point is finer than any screen.
            value = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value)
            if name == "d":
                value = re.sub(r"\s*([A-Za-z])\s*", r"\1", value)
        else:
            if name in ("style", "fill", "stroke"):
                value = _themed(value)
            value = re.sub(r"url\(\s*['\"]?#", f"url(#{prefix}", value)
            if re.search(r"url\(\s*['\"]?(?!#)", value):
                continue
        attributes[name] = value
    element.attrib.clear()
    element.attrib.update(attributes)
    for child in list(element):
        if not isinstance(child.tag, str) or _local(child.tag) in _DROPPED:
            element.remove(child)
        else:
            _clean(child, prefix, kept)


def _themed(value: str) -> str:
    """Black becomes the ink of the page, and the grid its lines, in light and in dark."""
    return value.replace("#000000", "currentColor").replace(GRID, "var(--line)")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
