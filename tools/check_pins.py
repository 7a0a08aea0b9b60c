"""Tell whether this Python's environment has every version that a lock file pins.

Usage: python tools/check_pins.py LOCK. Exit status 0 if it has; 1 if not, with the differences on
stdout, on one line. Reads the installed packages' metadata only: no network, no import of the packages.
"""

import sys
from importlib import metadata
from pathlib import Path


def differences(lock: Path) -> list[str]:
    try:
        from packaging.requirements import Requirement
    except ImportError:  # itself in every lock
        return ["packaging is missing"]
    found = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            found.append(f"{requirement.name} is missing")
            continue
        # A pin without a local part ("+cpu") is for all builds of that version.
        if not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} is {version}, not {str(requirement.specifier).lstrip('=')}")
    return found


if __name__ == "__main__":
    problems = differences(Path(sys.argv[1]))
    more = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
    print(", ".join(problems[:5] + more))
    sys.exit(1 if problems else 0)
