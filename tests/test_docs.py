"""Documentation that names every command, option and parameter, and links that lead somewhere."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from gon.files import PROJECT

sys.path.append(str(PROJECT / "tools"))
import commands_page  # noqa: E402
import publish_report  # noqa: E402

PAGES = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((PROJECT / "docs").glob("*.md"))
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_page_of_commands_is_what_the_parser_says() -> None:
    written = commands_page.PAGE.read_text(encoding="utf-8")
    assert written == commands_page.page(), "stale: run python tools/commands_page.py"


def test_every_command_and_every_option_is_named() -> None:
    for name, _, command in commands_page.commands():
        assert f"gon {name}" in TEXT, name
        for action in command._actions:
            for option in action.option_strings:
                if option not in ("-h", "--help"):
                    assert re.search(rf"(?<![\w-]){option}(?![\w-])", TEXT), f"gon {name} {option}"


def test_every_budget_and_its_keys_are_named() -> None:
    budgets = yaml.safe_load((PROJECT / "params" / "budgets.yaml").read_text(encoding="utf-8"))
    for name, budget in budgets.items():
        assert f"`{name}`" in TEXT, name
        assert set(budget) <= set(commands_page.BUDGET_KEYS), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_answers_in_the_readme_are_those_of_the_report_in_the_repository() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    answers = publish_report.answers(publish_report.PUBLISHED)
    assert len(answers.splitlines()) > 5
    assert publish_report.with_answers(readme, answers) == readme, "stale: python tools/publish_report.py"
    assert publish_report.with_answers(readme, "") != readme
