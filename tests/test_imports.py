"""The lines between the parts, read from the source: who imports whom, and who may open, build or read what.

`violations` is a function over source text, so that each rule is also tried on a few lines that break it.
"""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = {"aggregator", "bank_client", "reporter", "local"}
JOINS_ALL = ("services/local/", "services/__main__.py")
SIMULATES = ("services/bank_client/write_shard.py", "services/local/", "services/__main__.py", "simulation/")
TORCH = *(f"services/bank_client/{name}.py" for name in ("dropout", "network", "training")), "services/local/preload.py"
OPENAI = ("services/reporter/",)
CHANNEL = "fedfraud/channel.py"
HEALTH = "fedfraud/health.py"
RELEASE = "services/bank_client/release.py"
SCORES = ("services/bank_client/score_", "services/bank_client/scoring.py")
COMMANDS = "services/bank_client/__main__.py"
SCORES_AS_MODULES = ("services/bank_client/score_", "services/bank_client/scoring/")
LINES_OUT = {"mutual_channel", "enrolment_channel", "federation_pb2", "federation_pb2_grpc"}

PICKLES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle"}
LOOPS = {
    "asyncio.run",
    "asyncio.Runner",
    "asyncio.new_event_loop",
    "asyncio.get_event_loop",
    "asyncio.set_event_loop_policy",
}
PORTS = {"add_secure_port", "add_insecure_port"}
DATA_LEAVES = {
    "SubmitContributionRequest",
    "WholeContribution",
    "ContributionHeader",
    "model_pb2.Disclosure",
    "disclosure_to_proto",
}
MADE_AT_THE_DOOR = {"Released"}


def imports(tree: ast.AST, path: str) -> Iterator[str]:
    """Every module or name that the file imports, dotted in full; `import_module` with a constant counts."""
    package = path.removesuffix(".py").split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in {"import_module", "__import__"}:
            name = node.args[0] if node.args else None
            yield name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else "unknown at rest"


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a chain of names; empty parts where it is something else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def aliases(tree: ast.AST) -> dict[str, str]:
    """What a local name stands for: `from grpc import aio as a` makes a mean grpc.aio."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return known


def mentioned(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every name or chain of names in the code, in full."""
    known = aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = dotted(node).partition(".")
            yield node, known.get(first, first) + dot + rest


def called(tree: ast.AST) -> set[str]:
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {name for node, name in mentioned(tree) if id(node) in functions}


def is_below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def import_violations(tree: ast.AST, path: str) -> Iterator[str]:
    within = path.split("/")
    service = within[1] if within[0] == "services" and within[1] in SERVICES else ""
    for name in imports(tree, path):
        first, second = (*name.split("."), "", "")[:2]
        if name == "unknown at rest":
            yield "an import names its module"
        if first == "services" and within[0] in {"fedfraud", "simulation"}:
            yield f"{within[0]} imports no service: {name}"
        if first == "services" and service and second != service and not path.startswith(JOINS_ALL):
            yield f"services never import each other: {name}"
        if first == "simulation" and not path.startswith(SIMULATES):
            yield f"only write_shard and local import the simulation: {name}"
        if first == "torch" and path not in TORCH:
            yield f"only the bank's network and training import torch: {name}"
        if first == "openai" and not path.startswith(OPENAI):
            yield f"only the reporter imports openai: {name}"
        if first in {"onnx", "safetensors"} and not path.startswith(OPENAI):
            yield f"only the reporter writes model files: {name}"
        if {"scoring_pb2", "scoring_pb2_grpc"} & set(name.split(".")) and not path.startswith(SCORES):
            yield f"scores stay at the bank: {name}"
        if f"{name.replace('.', '/')}/".startswith(SCORES_AS_MODULES) and not path.startswith((*SCORES, COMMANDS)):
            yield f"scores stay at the bank: {name}"
        if LINES_OUT & set(name.split(".")) and path.startswith(SCORES):
            yield f"what scores has no line out of the bank: {name}"
        if first in PICKLES:
            yield f"nothing is unpickled: {name}"


def opens(name: str) -> bool:
    """Whether calling it opens a channel, a port or a server of gRPC."""
    last = name.rpartition(".")[2]
    return last in PORTS or (is_below(name, "grpc") and (last.endswith("channel") or last == "server"))


def call_violations(tree: ast.AST, path: str) -> Iterator[str]:
    for name in called(tree):
        last = name.rpartition(".")[2]
        if opens(name) and path != CHANNEL and (path, name) != (HEALTH, "grpc.aio.server"):
            yield f"only channel.py opens channels and ports: {name}"
        if name in UNSAFE_CALLS or name.removeprefix("builtins.") in UNSAFE_CALLS:
            yield f"nothing received or stored is run: {name}"
        if name in LOOPS:
            yield f"a process runs uvloop's event loop: {name}"
        if last in MADE_AT_THE_DOOR and is_behind_the_door(path):
            yield f"data leaves a bank by the release door alone: {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not is_false(node.value):
            yield "nothing is unpickled: allow_pickle"


def is_behind_the_door(path: str) -> bool:
    return path.startswith("services/bank_client/") and path != RELEASE


def is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def name_violations(tree: ast.AST, path: str) -> Iterator[str]:
    settings = path.startswith("services/") and path.endswith("/settings.py")
    names = {name for _, name in mentioned(tree)} | set(imports(tree, path))
    for name in names:
        if name in {"os.environ", "os.environb", "os.getenv", "os.getenvb"} and not settings:
            yield f"only settings read the environment: {name}"
        if DATA_LEAVES & {name.rpartition(".")[2], ".".join(name.split(".")[-2:])} and is_behind_the_door(path):
            yield f"data leaves a bank by the release door alone: {name}"


def violations(source: str, path: str) -> list[str]:
    """What the file at this path, relative to the root, does that its place forbids."""
    tree = ast.parse(source)
    rules: tuple[Callable[[ast.AST, str], Iterator[str]], ...] = (import_violations, call_violations, name_violations)
    return sorted({found for rule in rules for found in rule(tree, path)})


def files() -> list[Path]:
    found = [path for top in ("fedfraud", "services", "simulation") for path in (ROOT / top).rglob("*.py")]
    return sorted(path for path in found if not path.is_relative_to(ROOT / "fedfraud" / "v1"))  # v1 is generated


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_keeps_to_its_place(path: Path) -> None:
    assert violations(path.read_text(), path.relative_to(ROOT).as_posix()) == []


def test_the_files_that_the_rules_name_are_where_the_rules_say() -> None:
    assert {path.relative_to(ROOT).as_posix() for path in files()} >= {CHANNEL, HEALTH, RELEASE, *TORCH[:2]}


BANK = "services/bank_client/participant.py"
SCORE = "services/bank_client/score_desk.py"
SCORES_RULE = "scores stay at the bank: "
NO_LINE = "what scores has no line out of the bank: "
EACH_OTHER = "services never import each other: "
TORCH_RULE = "only the bank's network and training import torch: "
SIMULATION_RULE = "only write_shard and local import the simulation: "
OPENS = "only channel.py opens channels and ports: "
DOOR = "data leaves a bank by the release door alone: "
LOOP = "a process runs uvloop's event loop: "
RUN = "nothing received or stored is run: "
UNPICKLED = "nothing is unpickled: "
ENVIRONMENT = "only settings read the environment: "


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("fedfraud/model.py", "import services.aggregator", "fedfraud imports no service: services.aggregator"),
        ("fedfraud/model.py", "from services import aggregator", "fedfraud imports no service: services.aggregator"),
        ("fedfraud/model.py", "from simulation import tutorial", SIMULATION_RULE + "simulation.tutorial"),
        ("simulation/cards.py", "import services.local", "simulation imports no service: services.local"),
        (BANK, "from services.aggregator.rounds import Round", EACH_OTHER + "services.aggregator.rounds.Round"),
        (BANK, "from services import reporter", EACH_OTHER + "services.reporter"),
        (BANK, "import services.local.network as n", EACH_OTHER + "services.local.network"),
        (BANK, "from ..aggregator import rounds", EACH_OTHER + "services.aggregator.rounds"),
        (BANK, "from .. import reporter", EACH_OTHER + "services.reporter"),
        ("services/aggregator/servicers/history.py", "from ... import reporter", EACH_OTHER + "services.reporter"),
        (BANK, "def late():\n    import services.reporter.facts", EACH_OTHER + "services.reporter.facts"),
        (BANK, "import importlib\nimportlib.import_module('services.reporter')", EACH_OTHER + "services.reporter"),
        (BANK, "import importlib\nimportlib.import_module(name)", "an import names its module"),
        (BANK, "from simulation.tutorial import shard", SIMULATION_RULE + "simulation.tutorial.shard"),
        ("services/aggregator/holdout.py", "import simulation", SIMULATION_RULE + "simulation"),
        (BANK, "import torch.nn", TORCH_RULE + "torch.nn"),
        ("services/local/__main__.py", "import torch", TORCH_RULE + "torch"),
        ("services/aggregator/rounds.py", "from torch import nn", TORCH_RULE + "torch.nn"),
        (BANK, "if TYPE_CHECKING:\n    from torch import Tensor", TORCH_RULE + "torch.Tensor"),
        (BANK, "from openai import OpenAI", "only the reporter imports openai: openai.OpenAI"),
        (BANK, "from onnx import helper", "only the reporter writes model files: onnx.helper"),
        ("fedfraud/model.py", "import safetensors", "only the reporter writes model files: safetensors"),
        (BANK, "import grpc\ngrpc.aio.secure_channel('a', None)", OPENS + "grpc.aio.secure_channel"),
        (BANK, "import grpc\ngrpc.insecure_channel('a')", OPENS + "grpc.insecure_channel"),
        (BANK, "from grpc import aio\naio.insecure_channel('a')", OPENS + "grpc.aio.insecure_channel"),
        (BANK, "from grpc import insecure_channel as c\nc('a')", OPENS + "grpc.insecure_channel"),
        (BANK, "import grpc.aio as a\na.server()", OPENS + "grpc.aio.server"),
        (BANK, "server.add_insecure_port('[::]:1')", OPENS + "server.add_insecure_port"),
        (BANK, "make().add_secure_port('[::]:1', c)", OPENS + ".add_secure_port"),
        (HEALTH, "import grpc\ngrpc.aio.insecure_channel('a')", OPENS + "grpc.aio.insecure_channel"),
        (BANK, "import os\nos.environ['A']", ENVIRONMENT + "os.environ"),
        (BANK, "import os\nos.getenv('A')", ENVIRONMENT + "os.getenv"),
        (BANK, "from os import environ", ENVIRONMENT + "os.environ"),
        ("fedfraud/settings.py", "import os\nos.environ.get('A')", ENVIRONMENT + "os.environ"),
        (BANK, "from services.bank_client.scoring import Scorer", SCORES_RULE + "services.bank_client.scoring.Scorer"),
        (BANK, "from services.bank_client import score_desk", SCORES_RULE + "services.bank_client.score_desk"),
        (BANK, "from fedfraud.v1 import scoring_pb2", SCORES_RULE + "fedfraud.v1.scoring_pb2"),
        (
            "services/reporter/facts.py",
            "import fedfraud.v1.scoring_pb2_grpc",
            SCORES_RULE + "fedfraud.v1.scoring_pb2_grpc",
        ),
        (SCORE, "from fedfraud.channel import mutual_channel", NO_LINE + "fedfraud.channel.mutual_channel"),
        (SCORE, "from fedfraud.v1 import federation_pb2_grpc", NO_LINE + "fedfraud.v1.federation_pb2_grpc"),
        (BANK, "import pickle", UNPICKLED + "pickle"),
        (BANK, "from joblib import load", UNPICKLED + "joblib.load"),
        (BANK, "import numpy as np\nnp.load(f, allow_pickle=True)", UNPICKLED + "allow_pickle"),
        (BANK, "import numpy as np\nnp.load(f, allow_pickle=flag)", UNPICKLED + "allow_pickle"),
        ("services/bank_client/network.py", "import torch\ntorch.load(f)", RUN + "torch.load"),
        (BANK, "from yaml import load\nload(f)", RUN + "yaml.load"),
        (BANK, "eval('1')", RUN + "eval"),
        (BANK, "import asyncio\nasyncio.run(main())", LOOP + "asyncio.run"),
        (BANK, "import asyncio\nasyncio.set_event_loop_policy(None)", LOOP + "asyncio.set_event_loop_policy"),
        (BANK, "from asyncio import Runner\nwith Runner() as runner: pass", LOOP + "asyncio.Runner"),
        (BANK, "federation_pb2.SubmitContributionRequest()", DOOR + "federation_pb2.SubmitContributionRequest"),
        (BANK, "federation_pb2.WholeContribution()", DOOR + "federation_pb2.WholeContribution"),
        (BANK, "header: federation_pb2.ContributionHeader", DOOR + "federation_pb2.ContributionHeader"),
        (BANK, "from fedfraud.wire import disclosure_to_proto as d", DOOR + "fedfraud.wire.disclosure_to_proto"),
        (BANK, "from fedfraud import wire\nwire.disclosure_to_proto(d)", DOOR + "fedfraud.wire.disclosure_to_proto"),
        (BANK, "from fedfraud.v1 import model_pb2\nmodel_pb2.Disclosure()", DOOR + "fedfraud.v1.model_pb2.Disclosure"),
        (
            BANK,
            "from services.bank_client.release import Released\nReleased(b'', b'', None)",
            DOOR + "services.bank_client.release.Released",
        ),
    ],
)
def test_a_file_that_crosses_a_line_is_caught(path: str, source: str, rule: str) -> None:
    assert violations(source, path) == [rule]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/local/__main__.py", "from services.aggregator import rounds\nimport services.reporter, simulation"),
        ("services/__main__.py", "from services.local.__main__ import main"),
        ("services/bank_client/write_shard.py", "from simulation import tutorial"),
        ("services/bank_client/training.py", "import torch\nfrom services.bank_client import network\nmodel.eval()"),
        ("services/reporter/narrative.py", "import openai"),
        (BANK, "import asyncio, uvloop\nuvloop.run(main())\nasyncio.get_running_loop()"),
        ("services/aggregator/settings.py", "import os\nos.environ['A']"),
        (CHANNEL, "import grpc\ngrpc.insecure_channel('unix:a')\ngrpc.aio.server().add_insecure_port('unix:a')"),
        (HEALTH, "import grpc\ngrpc.aio.server()"),
        (SCORE, "from fedfraud.v1 import scoring_pb2\nfrom services.bank_client.scoring import Scorer"),
        (COMMANDS, "from services.bank_client.score_service import serve_scores"),
        (BANK, "from fedfraud.channel import mutual_channel\nmutual_channel('a', b'', own)"),
        (BANK, "from fedfraud.wire import Disclosure\nfrom .release import Released\nx: Released"),
        (BANK, "import numpy as np\nnp.load(f, allow_pickle=False)"),
        (RELEASE, "from fedfraud.wire import disclosure_to_proto\nfederation_pb2.ContributionHeader()\nReleased()"),
        ("services/aggregator/intake.py", "federation_pb2.SubmitContributionRequest"),
    ],
)
def test_a_file_that_keeps_to_its_place_is_left_alone(path: str, source: str) -> None:
    assert violations(source, path) == []
