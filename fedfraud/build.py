"""Which code this is: the package's version, and the commit that it was built from or is checked out at.

An image has its commit in a file, which its build wrote. Elsewhere it is read from the checkout's own files, so that no
git is needed; whoever changed files since is not told apart.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

UNKNOWN = "unknown"
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"ref: (refs/[\w./-]+)")
_PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Build:
    """Both are `unknown` where nothing says it."""

    version: str
    commit: str


@cache
def build() -> Build:
    """The code of this process."""
    try:
        own = version("fedfraud")
    except PackageNotFoundError:
        own = UNKNOWN
    return Build(own, commit_of(_PACKAGE))


def commit_of(package: Path) -> str:
    """The commit of the code in this folder: what the file COMMIT in it says, else what git's files beside it do."""
    baked = _text(package / "COMMIT")
    return baked if _COMMIT.fullmatch(baked) else _checked_out(package.parent / ".git")


def _checked_out(git: Path) -> str:
    if pointer := re.fullmatch(r"gitdir: (.+)", _text(git)):  # a worktree
        git = git.parent / pointer[1]
    head = _text(git / "HEAD")
    if ref := _REF.fullmatch(head):
        common = git / (_text(git / "commondir") or ".")
        head = _text(git / ref[1]) or _text(common / ref[1]) or _packed(common / "packed-refs", ref[1])
    return head if _COMMIT.fullmatch(head) else UNKNOWN


def _packed(path: Path, ref: str) -> str:
    lines = (line.split(" ") for line in _text(path).splitlines())
    return next((line[0] for line in lines if line[1:] == [ref]), "")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
