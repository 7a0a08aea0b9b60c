"""Compare what was trained here with the project's reference records; imports no torch."""

import json
from collections.abc import Sequence
from pathlib import Path

from gon.claims.params import Budget
from gon.claims.study import Study
from gon.files import sealed, write_atomically
from gon.reporting.checked import Checked, CheckedRun
from gon.runs import provenance
from gon.runs.record import RunRecord, differing_kind
from gon.runs.store import RunStore, read_record
from gon.verify.deviations import largest_deviation, tolerance


def compare_with_records(store: RunStore, reference: RunStore, digests: Sequence[str]) -> Checked:
    """Compare trainings with the records of the same runs, as far as both go.

    Parameters
    ----------
    store
        What was trained here.
    reference
        The records that they are compared with.
    digests
        Which runs.
    """
    runs, deepest = [], 0
    for digest in digests:
        ours, theirs = (_longest(s, digest) for s in (store, reference))
        if ours is None or theirs is None or ours.to_json() == theirs.to_json():
            continue  # what was taken from there proves nothing
        epochs = min(len(ours.chain), len(theirs.chain))
        deepest = max(deepest, epochs)
        runs.append(_compare(ours, store, theirs, reference, epochs))
    return Checked(runs=runs, epochs=deepest, machine=str(provenance.machine()["processor"]))


def _longest(store: RunStore, digest: str) -> RunRecord | None:
    recorded = store.recorded(digest)
    if not recorded:
        return None
    path = store.root / digest / f"epochs-{recorded[-1]}.json"
    record = read_record(path, {})
    return store.load(record.spec, recorded[-1])


def _compare(
    ours: RunRecord, store: RunStore, theirs: RunRecord, reference: RunStore, epochs: int
) -> CheckedRun:
    spec, steps = ours.spec, epochs * ours.spec.steps_per_epoch
    kinds = [
        differing_kind(a, b)
        for a in ours.sessions
        for b in theirs.sessions
        if a.first_epoch <= epochs and b.first_epoch <= epochs
    ]
    if ours.format == theirs.format and ours.chain[:epochs] == theirs.chain[:epochs]:
        return CheckedRun(run=spec.digest, epochs=epochs, outcome="bit-equal", deviation=0.0, allowed=0.0)
    deviation = largest_deviation(
        store.steps_of(ours)[:steps],
        ours.history[:epochs],
        reference.steps_of(theirs)[:steps],
        theirs.history[:epochs],
    )
    allowed = tolerance(spec, epochs) if any(kinds) else 0.0
    return CheckedRun(
        run=spec.digest,
        epochs=epochs,
        outcome="within tolerance" if allowed and deviation <= allowed else "differs",
        deviation=deviation,
        allowed=allowed,
    )


def write_checked(checked: Checked, path: Path) -> None:
    """Write what was compared, sealed."""
    write_atomically(path, sealed(json.loads(checked.model_dump_json()), indent=1))


def deciding(study: Study) -> list[str]:
    """The runs, of the first seed, that the answers in the first lines of the report rest on."""
    found = []
    for claim in study.claims:
        rules = {rule.name: rule for rule in claim.rules}
        for headline in claim.headlines:
            pairs = claim.pairs(rules[headline.rules[0]], study.budget)
            found += [spec.digest for pair in pairs for spec in pair]
    return list(dict.fromkeys(found))


def store_of_checks(budget: Budget) -> RunStore:
    """Where runs are trained to be compared: a store of their own at a budget that trains none itself."""
    store = budget.run_store
    return RunStore(store.root.with_name(f"{store.root.name}-check")) if budget.recorded else store
