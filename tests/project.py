"""A copy of the project in a folder of its own, in which whole commands are run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from gon.data.prepared import data_dir
from gon.files import PROJECT


class Project:
    """The copy, on the data of this one.

    Parameters
    ----------
    root
        Where it is made.
    claims
        Those that it has; all if not given. With some only, its notebook on the method trains little.
    """

    def __init__(self, root: Path, claims: tuple[str, ...] | None = None) -> None:
        self.root = root
        files = subprocess.run(
            ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        for name in filter(None, files):
            if (PROJECT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, root / name)
        if claims is not None:
            for path in (root / "params" / "claims").glob("*.yaml"):
                if path.stem not in claims:
                    path.unlink()
            method = root / "notebooks" / "method.ipynb"
            text = method.read_text(encoding="utf-8")
            assert "steps = 120" in text
            method.write_text(text.replace("steps = 120", "steps = 10"), encoding="utf-8")
            deviations = root / "params" / "deviations.yaml"
            entries = yaml.safe_load(deviations.read_text(encoding="utf-8"))
            for entry in entries:
                entry["claims"] = [claim for claim in entry["claims"] if claim in claims]
                if entry.get("measured", {}).get("claim") not in claims:
                    entry.pop("measured", None)
            kept = [entry for entry in entries if entry["claims"]]
            deviations.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        """For commands of the copy that are started here."""
        return {**os.environ, "PYTHONPATH": str(self.root), "GON_DATA_DIR": str(data_dir())}

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Start a command of the copy; what it prints is read by `communicate`."""
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-m", "gon.cli", *arguments],
            **{
                "cwd": self.root,
                "env": self.environment,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.STDOUT,
                "text": True,
                **options,
            },
        )

    def gon(self, *arguments: str, status: int = 0) -> str:
        """Run a command of the copy; returns what it printed."""
        process = self.start(*arguments)
        output, _ = process.communicate()
        assert process.returncode == status, output
        return output

    def processes(self) -> dict[int, str]:
        """Those whose environment takes code from the copy: number to command line. Linux only."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended
                continue
            if f"PYTHONPATH={self.root}".encode() in environment:
                found[int(folder.name)] = command
        return found

    def result(self, claim: str) -> dict[str, object]:
        """The result of a claim at smoke."""
        path = self.root / "build" / "smoke" / "claims" / claim / "result.json"
        return dict(json.loads(path.read_text()))

    def page(self) -> str:
        """The page's source."""
        return (self.root / "report-smoke" / "index.html").read_text()

    def verdicts(self, claim: str, report: str = "report-smoke") -> list[tuple[str, str, str]]:
        """Rule, outcome and tendency of each verdict of a claim."""
        table = pd.read_csv(self.root / report / "data" / "verdicts.csv")
        own = table[table["claim"] == claim].drop_duplicates("rule")
        return list(own[["rule", "outcome", "tendency"]].itertuples(index=False, name=None))
