"""Convert text with pandoc."""

import subprocess
import sys

import pypandoc

from gon.errors import GonError
from gon.files import PROJECT

TEMPLATES = PROJECT / "templates"


def convert(text: str, source: str, target: str, *options: str) -> str:
    """Convert a text.

    Parameters
    ----------
    text
        The text.
    source, target
        Formats by pandoc's names.
    options
        Of pandoc. Files are named from the folder of templates: in a path, "%" and "#" would be signs of an
        address.

    Raises
    ------
    GonError
        If pandoc refuses; with its message.
    """
    # pypandoc's own call changes the folder of the whole process, in which others work at the same time.
    command = [pypandoc.get_pandoc_path(), f"--from={source}", f"--to={target}", *options]
    process = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", cwd=TEMPLATES)
    if process.returncode:
        raise GonError(f"pandoc cannot convert a text to {target} ({process.stderr.strip()})")
    sys.stderr.write(process.stderr)
    return process.stdout
