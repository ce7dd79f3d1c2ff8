"""What a benchmark cannot be run with is refused by name before it begins."""

from types import ModuleType

import pytest

from benchmarks import containers, many_banks, tutorial


@pytest.mark.parametrize(
    ("benchmark", "option", "given", "value"),
    [
        (many_banks, "--banks", "0", "0"),
        (many_banks, "--banks", "10, 5000", "5000"),
        (many_banks, "--banks", "10,x", "x"),
        (containers, "--banks", "0", "0"),
        (tutorial, "--banks", "0", "0"),
    ],
)
def test_a_number_of_banks_that_no_network_has(
    benchmark: ModuleType,
    option: str,
    given: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark.py", option, given])
    with pytest.raises(SystemExit):
        benchmark.main()
    said = capsys.readouterr()
    assert said.err.endswith(f"argument {option}: must be a whole number from 1 to 4096, got '{value}'\n")
    assert not said.out
