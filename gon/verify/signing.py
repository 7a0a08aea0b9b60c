"""Signatures: checked with OpenSSH, which made them (`ssh-keygen -Y sign -n file -f KEY FILE`)."""

import shutil
import subprocess
from pathlib import Path

from gon.files import read_bytes, sha256_of_file, write_atomically
from gon.verify.findings import Check

NAMESPACE = "file"
SUMS = "SHA256SUMS"
"""In a folder of records: the digest of every file, as sha256sum reads it; this is what is signed of them."""


def check_signature(file: Path, signers: Path | None = None) -> Check | None:
    """Check the signature beside a file, `FILE.sig`.

    Parameters
    ----------
    file
        What was signed.
    signers
        Who may sign, a file of OpenSSH's `allowed_signers` format. Without it any key's signature counts,
        and the key is named.

    Returns
    -------
    Check or None
        None if there is no signature, and none is asked for.
    """
    signature, name = file.with_name(f"{file.name}.sig"), f"signature of {file.name}"
    if not signature.exists():
        return Check(name, "differs", f"{signature} is not there") if signers else None
    if shutil.which("ssh-keygen") is None:
        return Check(name, "not compared", "ssh-keygen, which checks it, is not installed")
    if signers is None:
        done = _ssh_keygen(file, "check-novalidate", "-s", str(signature))
        return _checked(name, done, "of a key that nobody vouches for here; --signers FILE says who may sign")
    found = _ssh_keygen(file, "find-principals", "-s", str(signature), "-f", str(signers))
    if found.returncode:
        return Check(name, "differs", f"by none of those in {signers}")
    signer = found.stdout.split("\n")[0].strip()
    done = _ssh_keygen(file, "verify", "-s", str(signature), "-f", str(signers), "-I", signer)
    return _checked(name, done, f"by {signer}")


def write_sums(folder: Path) -> None:
    """Write the digest of every file of a folder of records."""
    write_atomically(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in _sums(folder).items()))


def check_sums(folder: Path) -> Check:
    """Check that a folder of records holds the files that its list of digests names, and no others."""
    lines = read_bytes(folder / SUMS).decode(errors="replace").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _sums(folder)
    differing = sorted(name for name in {*listed, *found} if listed.get(name) != found.get(name))
    if differing:
        return Check(
            SUMS, "differs", f"from what is there in {differing[0]} and {len(differing) - 1} more files"
        )
    return Check(SUMS, "bit-equal", f"{len(found)} files")


def _sums(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.glob("*/*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in paths}


def _ssh_keygen(file: Path, action: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    namespace = () if action == "find-principals" else ("-n", NAMESPACE)
    with file.open("rb") as content:
        command = ["ssh-keygen", "-Y", action, *namespace, *arguments]
        return subprocess.run(command, stdin=content, capture_output=True, text=True, check=False)


def _checked(name: str, done: subprocess.CompletedProcess[str], whose: str) -> Check:
    said = (done.stdout.strip() or done.stderr.strip()).split("\n")[0]
    if done.returncode:
        return Check(name, "differs", f"does not fit: {said}")
    return Check(name, "valid", f"{said}, {whose}")
