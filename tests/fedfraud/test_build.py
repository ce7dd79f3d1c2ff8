"""Which commit the code is of, from git's files alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fedfraud.build import UNKNOWN, build, commit_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
BAKED = "ab" * 20


def git(folder: Path, *words: str) -> str:
    own = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "core.hooksPath=/dev/null",
    )
    return subprocess.run(["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def checkout(root: Path) -> str:
    """A repository with a package in it; returns its commit."""
    (root / "fedfraud").mkdir(parents=True)
    git(root, "init", "--quiet")
    git(root, "commit", "--quiet", "--allow-empty", "--message", "one")
    return git(root, "rev-parse", "HEAD")


@needs_git
def test_a_checkout_is_at_the_commit_that_git_says(tmp_path: Path) -> None:
    commit = checkout(tmp_path)
    assert commit_of(tmp_path / "fedfraud") == commit
    git(tmp_path, "pack-refs", "--all")
    assert commit_of(tmp_path / "fedfraud") == commit
    git(tmp_path, "checkout", "--quiet", "--detach")
    assert commit_of(tmp_path / "fedfraud") == commit


@needs_git
def test_a_worktree_is_at_its_own_commit(tmp_path: Path) -> None:
    first = checkout(tmp_path / "main")
    git(tmp_path / "main", "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    git(tmp_path / "other", "commit", "--quiet", "--allow-empty", "--message", "two")
    (tmp_path / "other" / "fedfraud").mkdir()
    second = git(tmp_path / "other", "rev-parse", "HEAD")
    assert commit_of(tmp_path / "other" / "fedfraud") == second != first


def test_an_image_has_its_commit_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "COMMIT").write_text(BAKED + "\n")
    assert commit_of(tmp_path) == BAKED


@pytest.mark.parametrize("said", ["", "unknown", "<b>x</b>", "\xff"])
def test_where_nothing_says_it_the_commit_is_unknown_and_nothing_fails(tmp_path: Path, said: str) -> None:
    package = tmp_path / "fedfraud"
    package.mkdir()
    (package / "COMMIT").write_text(said, "latin-1")
    assert commit_of(package) == UNKNOWN
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    assert commit_of(package) == UNKNOWN


def test_this_code_has_a_version() -> None:
    assert build().version
    assert build() is build()
