"""How foreign text becomes part of an HTML id, of Markdown and of Typst."""

import re


def slug(text: str) -> str:
    """A text as part of an HTML id, a CSS class or a Typst label."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)


def printable(text: str) -> str:
    """A text without the control characters that no output format can carry."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]", "\ufffd", text)


def escape_markdown(text: str) -> str:
    """A plain text as Markdown that pandoc reads as exactly that text.

    Quotation marks stay bare so that pandoc can make them typographic.
    """
    return re.sub(r"([^\w\s\"',]|_)", _escaped, re.sub(r"[ \t\r\n]+", " ", printable(text)).strip(" "))


def _escaped(match: re.Match[str]) -> str:
    # Pandoc lets any ASCII punctuation be escaped; other characters mean nothing to it.
    return "\\" + match[1] if match[1].isascii() else match[1]


def escape_typst(text: str) -> str:
    """A plain text as a Typst string literal, quotation marks included."""
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "").replace("\t", "\\t") + '"'
