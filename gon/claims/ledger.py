"""The ledger of rules: which text each version of a rule has had, so that none changes under its name."""

import datetime
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from gon.claims.params import ClaimParams
from gon.claims.rules import Name, Rule, Strict, ValueRule
from gon.claims.strict_yaml import read_mapping
from gon.errors import UsageError
from gon.files import canonical, sha256_of, write_atomically

LEDGER = "ledger.yaml"
_HEAD = """\
# Every version of every rule, with its date and the digest of its text, the parameters that it names, and the
# published values that it compares with. `gon rules --lock` adds what is new; a line that stands here never
# changes.
"""


class Entry(Strict):
    """One version of a rule."""

    claim: Name
    rule: Name
    version: int
    date: datetime.date
    sha256: str


def entry_of(claim: ClaimParams, rule: Rule) -> Entry:
    """What the ledger holds of a rule as it is now."""
    text = rule.model_dump(mode="json")
    named = sorted(set(_names(text)) & set(claim.parameters))
    content = [text, {name: claim.parameters[name] for name in named}]
    if isinstance(rule, ValueRule):
        content.append(claim.published.values)
    digest = sha256_of(canonical(content))
    return Entry(claim=claim.name, rule=rule.name, version=rule.version, date=rule.date, sha256=digest)


def _names(content: Any) -> list[str]:
    """The parameters that a rule's text names, `$` before each."""
    if isinstance(content, dict):
        return list(itertools.chain.from_iterable(map(_names, content.values())))
    if isinstance(content, list):
        return list(itertools.chain.from_iterable(map(_names, content)))
    return [content.removeprefix("$")] if isinstance(content, str) and content.startswith("$") else []


def read_ledger(folder: Path) -> list[Entry]:
    """Read the ledger in a folder of parameters.

    Raises
    ------
    UsageError
        If it is missing or holds something else; names the file and the entry.
    """
    path = folder / LEDGER
    entries = read_mapping(path).get("rules", [])
    if not isinstance(entries, list):
        raise UsageError(f"{path}: rules: a list is allowed")
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            found.append(Entry.model_validate(entry))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(part) for part in problem["loc"])
            raise UsageError(f"{path}: rules: entry {number}: {key}: {problem['msg']}") from error
    return found


def check_ledger(claims: Sequence[ClaimParams], folder: Path) -> list[Entry]:
    """Check that no rule has another text than the ledger says of its version.

    Parameters
    ----------
    claims
        The claims as their files have them.
    folder
        The folder of parameters.

    Returns
    -------
    list of Entry
        Rules that the ledger does not hold yet.

    Raises
    ------
    UsageError
        Names the rule whose text changed without a new version and date.
    """
    known = {(e.claim, e.rule, e.version): e for e in read_ledger(folder)}
    new = []
    for entry in (entry_of(claim, rule) for claim in claims for rule in claim.rules):
        held = known.get((entry.claim, entry.rule, entry.version))
        if held is None:
            new.append(entry)
        elif held != entry:
            raise UsageError(
                f"{folder}/claims/{entry.claim}.yaml: rules: {entry.rule}: is not version {entry.version} "
                f"of {held.date} in {folder / LEDGER}; a rule that changes gets a new version and date"
            )
    return new


def lock(claims: Sequence[ClaimParams], folder: Path) -> list[Entry]:
    """Add to the ledger the rules that it does not hold; returns them."""
    entries = read_ledger(folder) if (folder / LEDGER).exists() else []
    new = check_ledger(claims, folder) if entries else [entry_of(c, rule) for c in claims for rule in c.rules]
    content = {"rules": [entry.model_dump() for entry in [*entries, *new]]}
    write_atomically(folder / LEDGER, _HEAD + yaml.safe_dump(content, sort_keys=False, width=110))
    return new


def told(claims: Sequence[ClaimParams], folder: Path, *, adding: bool) -> list[str]:
    """Every rule in one line, with its version, date, and whether it is locked; locks those that are new."""
    new = (lock if adding else check_ledger)(claims, folder)
    state = ", added" if adding else ", not locked"
    return [
        f"{claim.name}.{rule.name}: version {rule.version} of {rule.date}"
        f"{state if entry_of(claim, rule) in new else ''}: {rule.statement}"
        for claim in claims
        for rule in claim.rules
    ]
