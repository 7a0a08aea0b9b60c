"""Write docs/commands.md from the command line's own parser and the parameter files.

Usage: python tools/commands_page.py. The tests compare the file with what this would write.
"""

import argparse

from gon.claims.study import load_study
from gon.cli import build_parser
from gon.files import PROJECT

PAGE = PROJECT / "docs" / "commands.md"

BUDGET_KEYS = {
    "description": "what it is for, in the report's words",
    "epochs": "epochs of every run",
    "seeds": "every setting is trained from the seeds 0, 1 ... up to this many",
    "train_images": "training images, the first so many; all if not given",
    "validation_images": "validation images, likewise",
    "store": "folder of the runs below `runs/`, or below `GON_RUNS_DIR`",
    "report": "folder of the report",
    "recorded": "whether the report takes runs as far as they are recorded, and trains none",
}


def page() -> str:
    """The whole page."""
    parts = [
        "# Commands, options and parameters",
        "Written by `python tools/commands_page.py`; `./run_all.sh` takes the options of `gon run`.",
    ]
    for name, help_text, command in commands():
        parts += [f"## `gon {name}`", f"{help_text[0].upper()}{help_text[1:]}.", options_table(command)]
    keys = [f"| `{key}` | {meaning} |" for key, meaning in BUDGET_KEYS.items()]
    parts += ["## A budget in `params/budgets.yaml`", "\n".join(["| key | meaning |", "|---|---|", *keys])]
    parts += ["## Parameters for `--set`", "`epochs` and `seeds` for all claims, and:"]
    set_rows = [
        f"| `{claim.name}.{key}` | `{value}` |"
        for claim in load_study().claims
        for key, value in claim.parameters.items()
    ]
    parts += ["\n".join(["| parameter | default |", "|---|---|", *set_rows])]
    return "\n\n".join(parts) + "\n"


def commands() -> list[tuple[str, str, argparse.ArgumentParser]]:
    """Every command: its name, what it does, its parser."""
    (action,) = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
    return [(name, helps[name], parser) for name, parser in action.choices.items()]


def options_table(command: argparse.ArgumentParser) -> str:
    """What a command takes, but for --help."""
    rows = ["| takes | |", "|---|---|"]
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        name, needed = str(action.metavar or action.dest.upper()), ""
        if action.option_strings:
            name = action.option_strings[-1] + ("" if action.nargs == 0 else f" {name}")
            needed = " (required)" if action.required else ""
        rows.append(f"| `{name}` | {action.help}{needed} |")
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
