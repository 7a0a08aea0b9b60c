"""What a run says of the code that computed it: the project's own repository, and nothing around it."""

import os
import subprocess
from pathlib import Path

import pytest

from gon.runs import provenance


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", *who, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "outer" / "project"
    for name in ("params", "gon", "notebooks", "templates"):
        (project / name).mkdir(parents=True)
        (project / name / "file").write_text(name)
    (project / ".gitignore").write_text("*.private\n__pycache__/\n")
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(provenance, "PROJECT", project)
    return project


def test_a_clean_checkout_has_its_commit(checkout: Path) -> None:
    (checkout / "gon" / "__pycache__").mkdir()
    (checkout / "gon" / "__pycache__" / "x.pyc").write_text("")
    assert provenance.commit() == git(checkout, "rev-parse", "--short=12", "HEAD")


@pytest.mark.parametrize("name", ["params/extra.yaml", "gon/x.private", "notebooks/n", "templates/t.private"])
@pytest.mark.parametrize("how", ["plain", "info/exclude", "showUntrackedFiles"])
def test_a_file_that_nobody_committed_counts(checkout: Path, name: str, how: str) -> None:
    (checkout / name).write_text("")
    if how == "info/exclude":
        (checkout / ".git" / "info").mkdir(exist_ok=True)
        (checkout / ".git" / "info" / "exclude").write_text("*\n")
    if how == "showUntrackedFiles":
        git(checkout, "config", "status.showUntrackedFiles", "no")
    assert str(provenance.commit()).endswith("+changes")


def test_a_repository_around_the_project_is_not_the_project(checkout: Path) -> None:
    git(checkout.parent, "init", "--quiet")
    git(checkout.parent, "commit", "--quiet", "--allow-empty", "--message", "outer")
    (checkout / ".git").rename(checkout.parent.parent / "away")
    assert provenance.commit() is None
    (checkout / ".git").mkdir()  # damaged: git itself would take the one around it
    assert str(provenance.commit()).startswith("unknown, since git fails: fatal: not a git repository")
    assert (provenance.repository(), provenance.source_files()) == (None, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_the_checkout_of_another_user_has_its_commit(checkout: Path) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)
    assert provenance.commit() == git(
        checkout, "-c", f"safe.directory={checkout}", "rev-parse", "--short=12", "HEAD"
    )


def test_without_git_the_reason_is_told(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.commit() == "unknown, since git cannot be started (No such file or directory)"


def test_asking_takes_no_lock(checkout: Path) -> None:
    (checkout / "gon" / "file").touch()  # git would refresh its index for that
    before = (checkout / ".git" / "index").stat().st_mtime_ns
    (checkout / ".git" / "index.lock").write_text("")
    assert provenance.commit() == git(checkout, "--no-optional-locks", "rev-parse", "--short=12", "HEAD")
    assert (checkout / ".git" / "index").stat().st_mtime_ns == before
