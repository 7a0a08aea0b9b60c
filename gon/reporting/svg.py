"""Make a figure's SVG fit to stand inside the page."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from gon.errors import GonError
from gon.files import read_text

_PIXELS_PER_POINT = 1.8
_LONG_LINE = 200
"""Characters of a path that is a curve, and no box, tick or mark."""

_LINK = "{http://www.w3.org/1999/xlink}href"

GRID = "#e0e0e0"
"""Colour of the grid in figures."""

# `style`, which holds matplotlib's rule for every element, would reach the whole page from inside the figure.
_KEPT = set("svg g defs path use clipPath rect circle ellipse line polyline polygon text tspan image".split())
_KEPT |= {"linearGradient", "radialGradient", "stop", "pattern"}


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
    text = read_text(path)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise GonError(f"{path}: not an SVG figure ({error})") from error
    if _local(root.tag) != "svg":
        raise GonError(f"{path}: not an SVG figure (it is a {_local(root.tag)!r} document)")
    size = [re.match(r"[0-9]+(\.[0-9]+)?", root.get(side, "")) for side in ("width", "height")]
    # Ids that are led to, and those that say something (see `gon.claims.figures`): the others only weigh.
    used = set(re.findall(r"[\"'(]#([^\"')]+)", text))
    # A mark inherits nothing where what it repeats has that very style itself.
    styles = {f"#{shape.get('id')}": shape.get("style") for shape in root.iterfind(".//{*}defs/{*}path")}
    for mark in root.iterfind(".//{*}use"):
        if mark.get("style") and mark.get("style") == styles.get(mark.get(_LINK, "")):
            del mark.attrib["style"]
    try:
        _clean(root, prefix, lambda name: name in used or "|" in name or name.startswith("ytick_"))
    except (ValueError, RecursionError) as error:
        raise GonError(f"{path}: not a figure of matplotlib ({error})") from error
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


def _clean(element: ElementTree.Element, prefix: str, kept: Callable[[str], bool], places: int = 2) -> None:
    """Keep what draws, under ids of its own: no script, no style sheet, no link to elsewhere."""
    element.tag = _local(element.tag)
    element.text, element.tail = ((text or "").strip() or None for text in (element.text, element.tail))
    if element.get("id", "").startswith("seed|"):
        places = 1  # the values of single seeds are not told
    attributes = {}
    for name, value in element.attrib.items():
        name = _local(name)
        if name.lower().startswith("on") or name in ("version", "space"):
            continue
        if name == "style" and element.tag == "image":  # the page's style sheet says how it is enlarged
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
        elif name == "transform" and re.match(r"rotate\(-?0[ )]", value):
            continue
        elif name in ("d", "transform", "points", "x", "y"):
            # A hundredth of a point is finer than any screen, and keeps three digits of a value.
            value = re.sub(r"-?\d+\.\d+", lambda number: f"{round(float(number[0]), places):g}", value)
            if name == "d":
                value = _steps(re.sub(r"\s*([A-Za-z])\s*", r"\1", value).strip(), places)
        else:
            if name in ("style", "fill", "stroke"):
                value = _themed(value)
                value = re.sub(r"font-family: [^;]*;? ?", "", value)  # the page's style sheet names one
                value = value.replace(": ", ":").replace("; ", ";")
            value = re.sub(r"url\(\s*['\"]?#", f"url(#{prefix}", value)
            if re.search(r"url\(\s*['\"]?(?!#)", value):
                continue
        attributes[name] = value
    element.attrib.clear()
    element.attrib.update(attributes)
    for child in list(element):
        if not isinstance(child.tag, str) or _local(child.tag) not in _KEPT:
            element.remove(child)
        else:
            _clean(child, prefix, kept, places)
    _lighten(element)


def _lighten(element: ElementTree.Element) -> None:
    """Take from an element what draws nothing: groups that only hold, and styles that its marks share."""
    for i, child in reversed(list(enumerate(element))):
        if child.tag == "g" and not child.attrib:
            element[i : i + 1] = list(child)
        elif child.tag == "defs" and not len(child):
            element.remove(child)
    looks = {(child.tag, child.get("style", "")) for child in element}
    if len(element) > 1 and len(looks) == 1 and not element.get("style"):
        ((tag, style),) = looks
        if tag == "use" and style:
            element.set("style", style)
            for child in element:
                del child.attrib["style"]


def _steps(path: str, places: int) -> str:
    """A curve with each point by its distance from the last one: half as long. Other paths as they are."""
    if len(path) < _LONG_LINE or set(re.findall("[A-Za-z]", path)) != {"M", "L"}:
        return path
    text, last = "", (0.0, 0.0)
    for command, x, y in re.findall(r"([ML])([^ML ]+) ([^ML ]+)", path):
        here = float(x), float(y)
        if command == "M":
            text += f"M{here[0]:g} {here[1]:g}l"
        else:
            text += f"{round(here[0] - last[0], places):g} {round(here[1] - last[1], places):g} "
        last = here
    # "0.5 -0.3 " as ".5-.3 ", since a sign parts two numbers as well.
    text = re.sub(r"(?<![\d.])0(?=\.)", "", text)
    return re.sub(r" (?=-)| $| (?=M)", "", text)


def _themed(value: str) -> str:
    """Black becomes the ink of the page, and the grid its lines, in light and in dark."""
    return value.replace("#000000", "currentColor").replace(GRID, "var(--line)")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
