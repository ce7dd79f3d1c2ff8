"""A jump of the wall clock moves no deadline: services read it in these places alone, and wait on the monotonic one."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
READERS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
TO_DATE = "GetCurrentTime"  # of a protobuf Timestamp
NAMED = {
    ("services/aggregator/authority.py", "server_key_pair.own"): "when the aggregator's certificate is to change",
    ("services/aggregator/authority.py", "_sign"): "a certificate's dates",
    ("services/aggregator/authority.py", "_create"): "the CA certificate's dates",
    ("services/aggregator/journal.py", "_store"): "an entry's time",
    ("services/aggregator/operate.py", "_seats"): "whether a certificate is shown as expired",
    ("services/aggregator/runs.py", "new_run_id"): "a run's name",
    ("services/aggregator/seats.py", "__init__"): "whether a certificate is expired",
    ("services/aggregator/vectors.py", "sweep"): "whether a contribution's retention is over",
    ("services/bank_client/enrol.py", "expired"): "whether the certificate is expired",
    ("services/bank_client/enrol.py", "renewal_due_in"): "when the certificate is to be renewed",
    ("services/bank_client/score_desk.py", "__init__"): "that no payment to be scored is of the future",
    ("services/bank_client/own_data.py", "read"): "that no payment and no label is of the future",
}


def readings(tree: ast.AST, within: str = "") -> Iterator[str]:
    """The functions of a module that read the wall clock, each with those around it."""
    for child in ast.iter_child_nodes(tree):
        inner = within
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{within}.{child.name}".strip(".")
        if isinstance(child, ast.Attribute) and (ast.unparse(child) in READERS or child.attr == TO_DATE):
            yield within
        yield from readings(child, inner)


def test_the_wall_clock_is_read_in_the_named_places_alone() -> None:
    found = {
        (str(path.relative_to(ROOT)), function)
        for service in ("aggregator", "bank_client")
        for path in (ROOT / "services" / service).rglob("*.py")
        for function in readings(ast.parse(path.read_text()))
    }
    assert found == NAMED.keys()


def test_the_clocks_are_called_by_their_full_names() -> None:
    """So that the test above sees them."""
    for service in ("aggregator", "bank_client"):
        for path in (ROOT / "services" / service).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "time":
                    raise AssertionError(f"{path} must import the module time, not its parts")
                if isinstance(node, ast.Import | ast.ImportFrom):
                    renamed = [
                        alias.name for alias in node.names if alias.name in ("time", "datetime") and alias.asname
                    ]
                    assert not renamed, path
