"""How numbers and durations are written, the same way everywhere."""

import datetime
import math
import re
from collections.abc import Sequence

SPACE = "\u202f"
"""Narrow no-break space: separates thousands, and a number from its unit."""

MINUS = "\u2212"

_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"]
_WORDS += ["twelve"]
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """A measured number with three significant digits; "diverged" for None.

    Digits in front of the decimal point are never rounded away, so 12345.6 gives "12 346".
    """
    if value is None:
        return "diverged"
    if value == 0:
        return "0"
    # Round first: 9.996 has one digit in front of the point only before it is rounded.
    exponent = math.floor(math.log10(abs(float(f"{value:.2e}"))))
    if exponent < -3 or exponent > 8:
        mantissa, power = f"{value:.2e}".split("e")
        return f"{mantissa} × 10{str(int(power)).translate(_SUPERSCRIPT)}".replace("-", MINUS)
    return f"{value:,.{max(0, 2 - exponent)}f}".replace(",", SPACE).replace("-", MINUS)


def count(value: int) -> str:
    """A whole number with thousands set apart."""
    return f"{value:,}".replace(",", SPACE).replace("-", MINUS)


def spelled(value: int) -> str:
    """A whole number as a word where English likes it better, up to twelve."""
    return _WORDS[value] if 0 <= value < len(_WORDS) else count(value)


def published(value: float | None) -> str:
    """A published number with all its digits, at least two behind the point; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:,.10f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}".replace(",", SPACE).replace("-", MINUS)


def counted(value: int, noun: str) -> str:
    """A count with its noun: "1 epoch", "50 epochs"."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def percent(value: float) -> str:
    """A share as a percentage: at most two significant digits behind a leading zero, six places at most."""
    share = abs(value) * 100
    digits = 0 if share >= 10 or share == round(share) else 1 if share >= 0.1 else 2
    if 0 < share < 0.01:
        digits = min(6, 1 - math.floor(math.log10(share)))
    text = f"{share:.{digits}f}"
    return f"{text}%" if float(text) else "0%"


def change(value: float | None) -> str:
    """A relative difference with its sign, or as a factor from five on; a dash if there is none to tell."""
    if value is None:
        return "–"
    if (factor := _factor(value)) is not None:
        return f"{_times(factor)} times {'higher' if value > 0 else 'lower'}"
    text = percent(value)
    # A difference that prints as nothing has no direction either.
    if not re.search("[1-9]", text):
        return text
    return ("+" if value > 0 else MINUS) + text


def bounds(interval: tuple[float, float]) -> str:
    """The interval of a relative difference."""
    factors = [_factor(value) for value in interval]
    if None not in factors and (interval[0] > 0) == (interval[1] > 0):
        low, high = sorted(factor for factor in factors if factor is not None)
        return f"{_times(low)} to {_times(high)} times {'higher' if interval[0] > 0 else 'lower'}"
    return f"{change(interval[0])} to {change(interval[1])}"


def _factor(relative_difference: float) -> float | None:
    """How many times higher or lower; None where a percentage says it better."""
    ratio = 1 + relative_difference
    if ratio <= 0:
        return None
    factor = max(ratio, 1 / ratio)
    return factor if factor >= 5 else None


def _times(factor: float) -> str:
    return f"{factor:.1f}" if factor < 9.95 else count(round(factor))


def level(confidence: float) -> str:
    """A level of confidence as a percentage, with every digit that it has."""
    return f"{100 * confidence:.6g}%"


def spread(interval: tuple[float, float]) -> str:
    """A confidence interval that lies around its mean: half its width, with a plus-minus sign."""
    return f"±{SPACE}{number((interval[1] - interval[0]) / 2)}"


def p_value(value: float | None) -> str:
    """A probability; a dash if there is none."""
    if value is None:
        return "–"
    return "<\u2009" + "0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """A time in the two units that matter."""
    if seconds < 60:
        return f"{number(seconds)}{SPACE}s" if seconds < 59.5 else f"1{SPACE}min"
    minutes = round(seconds / 60)
    if minutes < 10:
        whole = round(seconds)
        return f"{whole // 60}{SPACE}min {whole % 60:02d}{SPACE}s"
    if minutes < 60:
        return f"{minutes}{SPACE}min"
    return f"{count(minutes // 60)}{SPACE}h {minutes % 60:02d}{SPACE}min"


def date(moment: datetime.date) -> str:
    """A day as it is written in a title."""
    return f"{moment.day} {moment:%B %Y}"


def listed(items: Sequence[str]) -> str:
    """Items as a phrase: "a", "a and b", "a, b and c"; of items with commas, "a, b; c, d and e, f"."""
    if len(items) < 2:
        return "".join(items)
    comma = "; " if any("," in item for item in items) else ", "
    return comma.join(items[:-1]) + " and " + items[-1]
