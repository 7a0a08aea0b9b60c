"""The templates: numbers are never typed into results prose, and foreign text is never markup."""

from pathlib import Path
from typing import get_args

import pypandoc
import pytest
from lint import find_typed_digits

from gon.claims import formats, pairing, words
from gon.claims.judging import JudgedClaim
from gon.claims.results import Comparison, Finding, Measurement, Reason, Verdict
from gon.claims.study import load_study
from gon.files import PROJECT
from gon.reporting import escape
from gon.reporting.svg import inline_svg


def test_no_digit_is_typed_into_results_prose() -> None:
    assert [str(digit) for digit in find_typed_digits()] == []


@pytest.mark.parametrize(
    "prose",
    [
        "ELU reaches a loss of 0.59.",
        "{{ value }} is 3% lower",
        "{% if a > 1 %}more than 2{% endif %}",
        "## Section 4 { #results }",
        "{{ 5 }}\n\nfine\n\ntext with 1 digit",
        "[Table 1](#table-1)",
    ],
)
def test_lint_finds_a_typed_digit(tmp_path: Path, prose: str) -> None:
    (tmp_path / "bad.md").write_text(prose, encoding="utf-8")
    (found,) = find_typed_digits(tmp_path)
    assert found.path.name == "bad.md"
    assert found.line == prose.count("\n", 0, max(prose.rfind(c) for c in "0123456789")) + 1


@pytest.mark.parametrize(
    "prose",
    [
        "{{ values[0]|number }} of {{ 12|count }}",
        "{% set x = 3 %}{# comment 4 #}text",
        "[text](#run-123) ::: {.column width=50}",
        "<td colspan=2>text</td>",
    ],
)
def test_lint_leaves_what_is_not_prose(tmp_path: Path, prose: str) -> None:
    (tmp_path / "good.md").write_text(prose, encoding="utf-8")
    assert find_typed_digits(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "diverged"),
        (0.0, "0"),
        (0.59123, "0.591"),
        (9.996, "10.0"),
        (41.23, "41.2"),
        (999.6, "1\u202f000"),
        (12345.6, "12\u202f346"),
        (0.00012, "1.20 × 10⁻⁴"),
        (-3.14159, "\u22123.14"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4523, "0.452 s"), (59.7, "1 min"), (83, "1 min 23 s"), (599.9, "10 min"), (7505, "2 h 05 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace("\u202f", " ") == text


def test_small_formats() -> None:
    assert [formats.percent(x) for x in (0.05, 0.099, 0.1534, 0.5)] == ["5%", "9.9%", "15%", "50%"]
    assert [formats.percent(x) for x in (0.0, 1e-3, 8.2e-6, 1e-15)] == ["0%", "0.1%", "0.00082%", "0%"]
    assert [formats.change(x) for x in (None, -0.14, 0.02, 0.0)] == ["–", "\u221214%", "+2%", "0%"]
    assert [formats.change(x) for x in (72.06, -0.9866, 4.5, -0.8, -0.79, 3.9)] == [
        "73 times higher",
        "75 times lower",
        "5.5 times higher",
        "5.0 times lower",
        "\u221279%",
        "+390%",
    ]
    assert formats.bounds((-0.19, 0.02)) == "\u221219% to +2%"
    assert formats.bounds((-0.99, -0.9)) == "10 to 100 times lower"
    assert formats.bounds((1.0, 7.0)) == "+100% to 8.0 times higher"
    assert [formats.level(1 - alpha) for alpha in (0.05, 0.025, 0.01)] == ["95%", "97.5%", "99%"]
    assert [formats.published(x) for x in (0.4, 2.4, 1.36, 0.125)] == ["0.40", "2.40", "1.36", "0.125"]
    assert [formats.counted(n, "epoch") for n in (1, 50)] == ["1 epoch", "50 epochs"]
    assert formats.listed(["a", "b", "c"]) == "a, b and c"
    assert formats.listed(["a, b", "c, d", "e"]) == "a, b; c, d and e"


ASCII = "".join(chr(code) for code in range(33, 127) if chr(code) not in "\"'")


def test_every_ascii_character_survives_markdown() -> None:
    for text in (ASCII, ASCII[::-1], *(f"{c}{c}{c} x {c}y{c} {c}" for c in ASCII if not c.isalnum())):
        markdown = escape.escape_markdown(text)
        assert (
            pypandoc.convert_text(markdown, "plain", "markdown", extra_args=["--wrap=none"]).strip() == text
        )


@pytest.mark.parametrize(
    ("first", "second", "where", "names"),
    [
        (
            "MNIST, latent 64, ELU",
            "MNIST, autoencoder, latent 64, ELU",
            "MNIST, latent 64",
            ("GON", "autoencoder"),
        ),
        ("MNIST, latent 128, ELU", "MNIST, latent 64, ELU", "MNIST", ("latent 128", "latent 64")),
        ("MNIST, latent 64, ELU", "MNIST, latent 64, ReLU", "MNIST, latent 64", ("ELU", "ReLU")),
        (
            "MNIST, latent 64, ELU, 2 inner steps",
            "MNIST, latent 64, ELU",
            "MNIST, latent 64",
            ("2 inner steps", "1 inner step"),
        ),
        ("MNIST, latent 64, ELU", "MNIST, PCA, latent 64", "MNIST, latent 64", ("GON, ELU", "PCA")),
        ("the same", "the same", "", ("the same", "the same")),
    ],
)
def test_a_pair_is_named_by_what_differs(first: str, second: str, where: str, names: tuple[str, str]) -> None:
    def measurement(name: str, label: str) -> Measurement:
        return Measurement(
            name=name, label=label, quantity="loss", unit="", value=1.0, epochs=1, values=[], recorded=None
        )

    found = measurement("a", first), measurement("b", second)
    claim = JudgedClaim(load_study().claim("two_step"), (), (), found, ())
    comparison = Comparison(
        first="a", second="b", epochs=1, seeds=1, relative_difference=0.0, finding="too close to tell"
    )
    (pair,) = pairing.pairs(claim, [comparison])
    assert (pair.where, pair.names) == (where, names)


def test_every_finding_reason_and_outcome_has_its_words() -> None:
    assert set(words.WANTS) == set(get_args(Reason))
    rules = [rule for claim in load_study().claims for rule in claim.rules]
    assert {rule.kind for rule in rules} == {"ordering", "value", "structural"}
    for rule in rules:
        assert f"version {rule.version} of" in words.terms(rule)
        for tendency in (*get_args(Finding), "mixed"):
            verdict = Verdict(
                rule=rule,
                outcome="inconclusive",
                tendency=tendency,
                reasons=list(get_args(Reason)),
                epochs=1,
                seeds=2,
                comparisons=[],
            )
            assert words.tendency_words(verdict) in words.so_far(verdict)
            reasons = 1 if rule.kind == "structural" else len(get_args(Reason))
            assert len(words.open_reasons(verdict)) == reasons
            assert words.would_change(verdict)


def test_more_seeds_are_never_said_to_change_a_verdict() -> None:
    rule = load_study().claim("two_step").rules[0]
    verdict = Verdict(
        rule=rule,
        outcome="inconclusive",
        tendency="mixed",
        reasons=["overlap"],
        epochs=1,
        seeds=3,
        comparisons=[],
    )
    remedy = "".join(part for part in words.would_change(verdict) if isinstance(part, str))
    assert (
        remedy.startswith("a new version of the rule only")
        and "more seeds are shown but not judged" in remedy
    )


def test_typst_strings_hold_their_text() -> None:
    assert escape.escape_typst('a"b\\c\n#x') == '"a\\"b\\\\c\\n#x"'


def test_two_figures_share_no_id_and_carry_no_script(tmp_path: Path) -> None:
    (tmp_path / "f.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="5pt" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
        "<style>* { color: red }</style><script>alert(1)</script><metadata>2026-01-01</metadata>"
        '<defs><path id="p" d="M0 0"/></defs><use xlink:href="#p" clip-path="url(#c)" onclick="x()"/>'
        '<image href="https://example.org/x.png"/></svg>',
        encoding="utf-8",
    )
    svg = inline_svg(tmp_path / "f.svg", "one-", 'alt "<text>"')
    assert 'id="one-p"' in svg and 'href="#one-p"' in svg and "url(#one-c)" in svg
    assert 'role="img"' in svg and 'viewBox="0 0 10 5"' in svg
    for word in ("script", "onclick", "example.org", "color: red", "2026"):
        assert word not in svg


def test_templates_name_no_machine() -> None:
    for path in sorted((PROJECT / "templates").rglob("*")):
        if path.is_file():
            text = path.read_bytes()
            assert str(Path.home()).encode() not in text and str(PROJECT).encode() not in text, path


def test_lint_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_text("fine\nnot 4 fine\n", encoding="utf-8")
    (found,) = find_typed_digits(tmp_path)
    assert str(found) == f"{tmp_path / 'bad.md'}:2: a digit is typed into results prose: not 4 fine"


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"equal": 1}, "The only pair is equal."),
        ({"equal": 2}, "Both pairs are equal."),
        ({"equal": 3}, "All three pairs are equal."),
        ({"lower": 1, "equal": 1}, "Of two pairs, one is lower and one is equal."),
        (
            {"lower": 1, "equal": 12, "open": 2},
            "Of 15 pairs, one is lower, twelve are equal and two are open.",
        ),
    ],
)
def test_counts_and_their_verbs_agree(counts: dict[str, int], said: str) -> None:
    assert words.shares("pair", counts) == said


def test_a_phrase_about_a_verdict_stands_in_one_file() -> None:
    rules = [rule for claim in load_study().claims for rule in claim.rules]
    phrases = set(words.WANTS.values()) - {"training", "images", "seeds"}
    for rule in rules:
        for tendency in (*get_args(Finding), "mixed"):
            verdict = Verdict(rule=rule, outcome="inconclusive", tendency=tendency, reasons=[])
            phrases.add(words.tendency_words(verdict))
    files = [
        path
        for folder in ("gon", "templates", "notebooks")
        for path in (PROJECT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".html", ".typ", ".ipynb")
    ]
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    for phrase in phrases:
        found = [path.name for path, text in texts.items() if phrase in text]
        assert found == ["words.py"], (phrase, found)
