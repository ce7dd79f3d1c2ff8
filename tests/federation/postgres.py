"""A PostgreSQL server of the test's own: in a temporary folder, on a Unix socket, with a password, and ended by it."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

PASSWORD = "se/cret:1"  # noqa: S105  # of this server alone; it needs escaping in a URL
ESCAPED = "se%2Fcret%3A1"
_SECONDS = 60


def binaries() -> Path | None:
    """Where initdb and pg_ctl are: on the path, or where Debian puts them; None without a server."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return next((path.parent for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)), None)


@contextlib.contextmanager
def postgres(programs: Path) -> Iterator[str]:
    """Its URL. It refuses to run as root: then it is the user postgres's."""
    with tempfile.TemporaryDirectory(prefix="fedfraud-postgres-") as folder:
        home = Path(folder)
        user = _owner(home)
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        words: list[str | Path] = [
            "--username=bank",
            "--auth=scram-sha-256",
            f"--pwfile={home / 'password'}",
            "--no-sync",
            "--locale=C",
        ]
        _run([programs / "initdb", "-D", home / "data", "--encoding=UTF8", *words], home, user)
        options = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c fsync=off"
        control: list[str | Path] = [programs / "pg_ctl", "-D", home / "data", "-w"]
        _run([*control, "-l", home / "log", "-o", options, "start"], home, user)
        try:
            yield f"postgresql://bank:{ESCAPED}@/postgres?host={home}"
        finally:
            _run([*control, "-m", "immediate", "stop"], home, user)


def _owner(home: Path) -> str | None:
    if os.getuid() != 0:
        return None
    owner = pwd.getpwnam("postgres")
    os.chown(home, owner.pw_uid, owner.pw_gid)
    return owner.pw_name


def _run(words: list[str | Path], home: Path, user: str | None) -> None:
    """Its words go to a file: the server that pg_ctl starts would hold a pipe open."""
    with (home / "said").open("a") as said:
        done = subprocess.run(
            list(map(str, words)), cwd=home, user=user, stdout=said, stderr=said, timeout=_SECONDS, check=False
        )
    assert done.returncode == 0, (home / "said").read_text()
