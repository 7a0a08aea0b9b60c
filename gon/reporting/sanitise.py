"""What a notebook may show on its page: an allow-list for nh3, which parses HTML as browsers do.

A notebook and its outputs are other people's: nothing of them may load, send, redirect, run, or stand
outside the box that it belongs to.
"""

import re

import nh3
from pygments.token import STANDARD_TYPES

_MATHS = set(
    "math semantics annotation mrow mi mn mo mtext mspace msub msup msubsup mfrac msqrt mroot munder mover"
    " munderover mtable mtr mtd mstyle mpadded mphantom menclose".split()
)
_TAGS = _MATHS | set(
    "a blockquote br caption code col colgroup dd del div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr img"
    " li ol p pre s span strong sub sup table tbody td tfoot th thead tr ul".split()
)
_ATTRIBUTES: dict[str, set[str]] = {
    **{
        tag: {"mathvariant", "displaystyle", "scriptlevel", "columnalign", "encoding", "form"}
        for tag in _MATHS
    },
    "mo": {"mathvariant", "stretchy", "fence", "form", "accent", "separator", "largeop", "movablelimits"},
    "mspace": {"width"},
    "a": {"href"},
    "div": {"tabindex", "role", "aria-label"},
    "img": {"src", "alt"},
    "ol": {"start"},
    "td": {"colspan", "rowspan", "style"},
    "th": {"colspan", "rowspan", "style", "scope"},
}
_ATTRIBUTES["mtd"] = {"columnalign", "style"}
_ATTRIBUTES["math"] = {"display", "tabindex"}
_ALLOWED = {
    "tabindex": re.compile("0"),
    "role": re.compile("group"),
    "href": re.compile(r"(https?://|mailto:)[^\s]*|[\w./-]+(#[\w-]*)?|#[\w-]*"),
    "src": re.compile(r"data:image/(png|jpeg|gif|svg\+xml);base64,[A-Za-z0-9+/=\s]*"),
    "width": re.compile(r"-?[0-9]?(\.[0-9]{1,4})?em"),
    "start": re.compile("[0-9]{1,6}"),
    "colspan": re.compile("[0-9]{1,3}"),
    "rowspan": re.compile("[0-9]{1,3}"),
}
_CLASSES = {
    "div": {"cell", "input_area", "output_area", "output_svg", "output_png", "output_jpeg", "highlight"},
    "span": {
        *filter(None, STANDARD_TYPES.values()),
        *("ansi-bold", "ansi-underline"),
        *(
            f"ansi-{colour}{strength}-{side}"
            for colour in ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
            for strength in ("", "-intense")
            for side in ("fg", "bg")
        ),
    },
}


def _value(tag: str, attribute: str, value: str) -> str | None:
    """An attribute's value; None drops the attribute."""
    allowed = _ALLOWED.get(attribute)
    return value if allowed is None or allowed.fullmatch(value.strip()) else None


def sanitised(html: str) -> str:
    """HTML without anything that is not on the list; its text stays."""
    return nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style", "title", "template", "noscript", "iframe", "textarea", "svg"},
        attributes=_ATTRIBUTES,
        attribute_filter=_value,
        allowed_classes=_CLASSES,
        filter_style_properties={"text-align"},
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )
