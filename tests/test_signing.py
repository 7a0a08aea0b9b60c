"""Signatures of archives and records, by keys made here and checked by OpenSSH."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gon.cli import main
from gon.files import PROJECT
from gon.verify.findings import Check
from gon.verify.signing import SUMS, check_signature, check_sums, write_sums

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")


def make_key(folder: Path, name: str) -> Path:
    """A key of somebody, and the line that lets them sign."""
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().split()
    (folder / f"{name}.signers").write_text(f"{name}@example.org {public[0]} {public[1]}\n")
    return key


def sign(file: Path, key: Path) -> None:
    """Sign as the documentation says."""
    file.with_name(f"{file.name}.sig").unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(key), str(file)], check=True)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A file to sign."""
    file = tmp_path / "report.zip"
    file.write_bytes(b"a report")
    return file


def found(file: Path, signers: Path | None = None) -> Check:
    check = check_signature(file, signers)
    assert check is not None
    return check


def test_a_signature_is_checked_and_its_signer_named(archive: Path, tmp_path: Path) -> None:
    assert check_signature(archive) is None
    ada, bob = make_key(tmp_path, "ada"), make_key(tmp_path, "bob")
    missing = found(archive, tmp_path / "ada.signers")
    assert not missing.agrees and "is not there" in missing.note
    sign(archive, ada)
    by_ada = found(archive, tmp_path / "ada.signers")
    assert by_ada.outcome == "valid" and "by ada@example.org" in by_ada.note
    anybody = found(archive)
    assert anybody.outcome == "valid" and "SHA256:" in anybody.note and "nobody vouches" in anybody.note
    assert not found(archive, tmp_path / "bob.signers").agrees
    sign(archive, bob)
    assert not found(archive, tmp_path / "ada.signers").agrees


def test_what_was_altered_after_it_was_signed_is_refused(archive: Path, tmp_path: Path) -> None:
    sign(archive, make_key(tmp_path, "ada"))
    archive.write_bytes(b"another report")
    assert found(archive).outcome == "differs"
    assert found(archive, tmp_path / "ada.signers").outcome == "differs"
    archive.with_name("report.zip.sig").write_text("no signature")
    assert found(archive).outcome == "differs"


def test_a_folder_of_records_has_one_list_of_digests_to_sign(tmp_path: Path) -> None:
    records = tmp_path / "records"
    for name in ("a/epochs-1.json", "a/steps-1.npz", "b/epochs-5.json"):
        (records / name).parent.mkdir(parents=True, exist_ok=True)
        (records / name).write_text(name)
    write_sums(records)
    assert check_sums(records).note == "3 files"
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=records, check=True)
    sign(records / SUMS, make_key(tmp_path, "ada"))
    assert found(records / SUMS, tmp_path / "ada.signers").outcome == "valid"
    for change in (
        lambda: (records / "a/epochs-1.json").write_text("other"),
        lambda: (records / "a/epochs-50.json").write_text("added"),
        lambda: (records / "b/epochs-5.json").unlink(),
    ):
        shutil.copytree(records, tmp_path / "good")
        change()
        assert check_sums(records).outcome == "differs"
        shutil.rmtree(records)
        (tmp_path / "good").rename(records)


def test_any_signed_file_is_verified_from_the_command_line(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.yaml"
    shutil.copyfile(PROJECT / "params" / "ledger.yaml", ledger)
    sign(ledger, make_key(tmp_path, "ada"))
    words = ["verify", str(ledger), "--signers", str(tmp_path / "ada.signers")]
    assert main(words) == 0
    ledger.write_text(ledger.read_text().replace("2026", "2025"))
    assert main(words) == 1
    ledger.with_name("ledger.yaml.sig").unlink()
    assert main(["verify", str(ledger)]) == 2


def test_the_reference_records_are_those_of_their_list() -> None:
    from gon.claims.params import REFERENCE

    assert check_sums(REFERENCE).agrees
