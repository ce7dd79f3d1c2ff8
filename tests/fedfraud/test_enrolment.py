"""The join folder: what the aggregator hands a role, and what is said when it is not there."""

from pathlib import Path

import pytest

from fedfraud.enrolment import JoinFolder
from fedfraud.errors import Misconfigured


def test_a_join_folder_holds_the_cas_certificate_and_a_token_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"the certificate")
    (tmp_path / "token").write_text("secret\n")
    assert JoinFolder.read(tmp_path) == JoinFolder(b"the certificate", "secret")


@pytest.mark.parametrize("missing", ["ca.pem", "token"])
def test_a_join_folder_without_one_of_them_refuses_to_start(tmp_path: Path, missing: str) -> None:
    for name in {"ca.pem", "token"} - {missing}:
        (tmp_path / name).write_text("there")
    sentence = rf"^a join folder must hold ca\.pem and token, readable: No such file or directory, .*/{missing}$"
    with pytest.raises(Misconfigured, match=sentence):
        JoinFolder.read(tmp_path)
