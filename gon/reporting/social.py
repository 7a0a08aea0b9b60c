"""The picture that stands for the report where somebody links to it: each question with its answer."""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt

from gon.claims import words
from gon.claims.figures import style
from gon.reporting.report import Report

IMAGE = "card.png"
_TONES = {"reproduced": "#1a6636", "not reproduced": "#a12a1b"}
_OPEN = "#6f5000"


def draw_social_image(report: Report, title: str, path: Path) -> None:
    """Draw the picture, 1200 by 630 pixels."""
    with style(), plt.rc_context({"figure.constrained_layout.use": False}):
        figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor="white")
        figure.text(0.06, 0.92, textwrap.fill(title, 42), fontsize=30, weight="bold", va="top")
        for i, (_, headline, verdict, _) in enumerate(report.answers):
            height = 0.62 - 0.1 * i
            figure.text(0.06, height, headline.question, fontsize=21)
            answer = words.answer(verdict)
            figure.text(
                0.94,
                height,
                answer,
                fontsize=21,
                ha="right",
                weight="bold",
                color=_TONES.get(verdict.outcome, _OPEN),
            )
        figure.savefig(path, metadata={"Software": None})
        plt.close(figure)
