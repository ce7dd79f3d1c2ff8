"""The contract is documented to the last field and keeps the house rules; each is tried on a file that breaks it."""

import importlib.resources
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

from fedfraud.v1 import model_pb2

PROTO = Path(__file__).parents[1] / "proto"
HEADER = 'syntax = "proto3";\npackage fedfraud.v1;\nimport "fedfraud/v1/model.proto";\n'
UNSIGNED = {
    FieldDescriptorProto.TYPE_UINT32,
    FieldDescriptorProto.TYPE_UINT64,
    FieldDescriptorProto.TYPE_FIXED32,
    FieldDescriptorProto.TYPE_FIXED64,
}
WITHOUT_ROLES = {"EnrolmentService", "ScoringService"}
"""Who calls the first has no certificate yet; the second is on the bank's own Unix socket alone."""
Place = tuple[int, ...]


def compiled(root: Path, files: Sequence[Path], out: Path) -> list[FileDescriptorProto]:
    """The files with their comments."""
    known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = ["protoc", f"-I{root}", f"-I{PROTO}", f"-I{known}", f"--descriptor_set_out={out}"]
    assert protoc.main([*arguments, "--include_source_info", *map(str, files)]) == 0
    return list(FileDescriptorSet.FromString(out.read_bytes()).file)


def messages(file: FileDescriptorProto) -> Iterator[tuple[str, Place, DescriptorProto]]:
    """Every message, nested ones too: name, place in the source info, and itself."""
    waiting: list[tuple[str, Place, DescriptorProto]] = [(m.name, (4, i), m) for i, m in enumerate(file.message_type)]
    while waiting:
        name, place, message = waiting.pop(0)
        yield name, place, message
        waiting += [(f"{name}.{m.name}", (*place, 3, i), m) for i, m in enumerate(message.nested_type)]


def enums(file: FileDescriptorProto) -> Iterator[tuple[str, Place, EnumDescriptorProto]]:
    yield from ((e.name, (5, i), e) for i, e in enumerate(file.enum_type))
    for name, place, message in messages(file):
        yield from ((f"{name}.{e.name}", (*place, 4, i), e) for i, e in enumerate(message.enum_type))


def declarations(file: FileDescriptorProto) -> Iterator[tuple[str, Place]]:
    """Everything that needs a comment."""
    for i, service in enumerate(file.service):
        yield service.name, (6, i)
        yield from ((f"{service.name}.{rpc.name}", (6, i, 2, j)) for j, rpc in enumerate(service.method))
    for name, place, message in messages(file):
        yield name, place
        yield from ((f"{name}.{f.name}", (*place, 2, i)) for i, f in enumerate(message.field))
        yield from ((f"{name}.{f.name}", (*place, 6, i)) for i, f in enumerate(message.extension))
        written = {f.oneof_index for f in message.field if f.HasField("oneof_index") and not f.proto3_optional}
        yield from ((f"{name}.{message.oneof_decl[i].name}", (*place, 8, i)) for i in sorted(written))
    for name, place, enum in enums(file):
        yield name, place
        yield from ((f"{name}.{v.name}", (*place, 2, i)) for i, v in enumerate(enum.value))
    yield from ((f.name, (7, i)) for i, f in enumerate(file.extension))


def undocumented(file: FileDescriptorProto) -> list[str]:
    """Declarations without a comment, or with one that is a single word or the name again."""
    comments = {tuple(at.path): at.leading_comments + at.trailing_comments for at in file.source_code_info.location}
    found = []
    for name, place in declarations(file):
        words = re.findall(r"[a-z0-9]+", comments.get(place, "").lower())
        own = re.sub("[^a-z0-9]", "", name.rpartition(".")[2].lower())
        if len(words) < 2 or "".join(words) == own:
            found.append(name)
    return found


def broken_rules(file: FileDescriptorProto) -> list[str]:
    """The house rules that the file breaks, each with what breaks it."""
    found = [] if file.package == "fedfraud.v1" else [f"package is fedfraud.v1: {file.package}"]
    if "google/protobuf/empty.proto" in file.dependency:
        found.append(f"no Empty: {file.name}")
    for service in file.service:
        if not service.name.endswith("Service"):
            found.append(f"a service is called …Service: {service.name}")
        for rpc in service.method:
            name = f"{service.name}.{rpc.name}"
            if [rpc.input_type, rpc.output_type] != [
                f".fedfraud.v1.{rpc.name}{end}" for end in ("Request", "Response")
            ]:
                found.append(f"an rpc has its own Request and Response: {name}")
            roles = list(rpc.options.Extensions[model_pb2.allowed_roles])
            if service.name in WITHOUT_ROLES:
                if roles:
                    found.append(f"strangers have no role: {name}")
            elif not roles or set(roles) & {model_pb2.ROLE_UNSPECIFIED, model_pb2.ROLE_AGGREGATOR}:
                found.append(f"an rpc names the roles that may call it: {name}")
    for name, _, message in messages(file):
        if message.options.map_entry:
            found.append(f"no map: {name}")
        found += [f"integers are signed: {name}.{f.name}" for f in message.field if f.type in UNSIGNED]
    for name, _, enum in enums(file):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name.rpartition(".")[2]).upper()
        if enum.value[0].name != f"{prefix}_UNSPECIFIED" or enum.value[0].number != 0:
            found.append(f"enum zero is {prefix}_UNSPECIFIED: {name}")
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> list[FileDescriptorProto]:
    return compiled(PROTO, sorted(PROTO.rglob("*.proto")), tmp_path_factory.mktemp("protos") / "ours.bin")


@pytest.fixture
def sample(tmp_path: Path, request: pytest.FixtureRequest) -> FileDescriptorProto:
    """The parameter as a file of its own."""
    (tmp_path / "sample.proto").write_text(request.param)
    return compiled(tmp_path, [tmp_path / "sample.proto"], tmp_path / "sample.bin")[0]


def test_every_file_of_the_contract_is_here_and_its_comments_too(ours: list[FileDescriptorProto]) -> None:
    names = {file.name.rpartition("/")[2] for file in ours}
    services = {"enrolment.proto", "federation.proto", "history.proto", "operation.proto", "scoring.proto"}
    assert names == services | {"masking.proto", "model.proto"}
    assert sum(len(list(declarations(file))) for file in ours) > 200


def test_every_declaration_is_documented(ours: list[FileDescriptorProto]) -> None:
    assert [name for file in ours for name in undocumented(file)] == []


def test_the_contract_keeps_the_house_rules(ours: list[FileDescriptorProto]) -> None:
    assert [rule for file in ours for rule in broken_rules(file)] == []


SILENT = """
import "google/protobuf/descriptor.proto";
service SeatService { rpc TakeSeat(TakeSeatRequest) returns (TakeSeatResponse); }
// Seat.
message TakeSeatRequest {
  // Seat number.
  int32 seat_number = 1;
  optional int32 row = 2;
  oneof choice { int32 left = 3; }
  message Inner { int32 deep = 1; }
}
// Says enough.
message TakeSeatResponse {
  int32 after = 1;  // A comment behind counts.
}
enum State { STATE_UNSPECIFIED = 0; }
extend google.protobuf.FieldOptions { int32 secret = 50002; }
"""


@pytest.mark.parametrize("sample", [HEADER + SILENT], indirect=True)
def test_each_kind_of_declaration_is_missed_when_it_is_silent(sample: FileDescriptorProto) -> None:
    assert sorted(undocumented(sample)) == [
        "SeatService",
        "SeatService.TakeSeat",
        "State",
        "State.STATE_UNSPECIFIED",
        "TakeSeatRequest",
        "TakeSeatRequest.Inner",
        "TakeSeatRequest.Inner.deep",
        "TakeSeatRequest.choice",
        "TakeSeatRequest.left",
        "TakeSeatRequest.row",
        "TakeSeatRequest.seat_number",
        "secret",
    ]


def rpc(line: str, service: str = "SeatService") -> str:
    return f"{HEADER}message TakeSeatRequest {{}} message TakeSeatResponse {{}} service {service} {{ {line} }}"


TAKE = "rpc TakeSeat(TakeSeatRequest) returns (TakeSeatResponse)"


@pytest.mark.parametrize(
    ("sample", "rules"),
    [
        (rpc(TAKE + " { option (allowed_roles) = ROLE_BANK; }"), []),
        (rpc(TAKE + ";", service="EnrolmentService"), []),
        (rpc(TAKE + ";"), ["an rpc names the roles that may call it: SeatService.TakeSeat"]),
        (
            rpc(TAKE + " { option (allowed_roles) = ROLE_AGGREGATOR; }"),
            ["an rpc names the roles that may call it: SeatService.TakeSeat"],
        ),
        (
            rpc(TAKE + " { option (allowed_roles) = ROLE_BANK; }", service="EnrolmentService"),
            ["strangers have no role: EnrolmentService.TakeSeat"],
        ),
        (
            rpc(TAKE + " { option (allowed_roles) = ROLE_BANK; }", service="Seats"),
            ["a service is called …Service: Seats"],
        ),
        (
            rpc("rpc Sit(TakeSeatRequest) returns (TakeSeatResponse) { option (allowed_roles) = ROLE_BANK; }"),
            ["an rpc has its own Request and Response: SeatService.Sit"],
        ),
        (
            HEADER + 'import "google/protobuf/empty.proto"; message M { google.protobuf.Empty e = 1; }',
            ["no Empty: sample.proto"],
        ),
        (HEADER + "message M { map<string, double> scores = 1; }", ["no map: M.ScoresEntry"]),
        (HEADER + "message M { message N { uint64 n = 1; } }", ["integers are signed: M.N.n"]),
        (HEADER + "enum SeatState { FREE = 0; }", ["enum zero is SEAT_STATE_UNSPECIFIED: SeatState"]),
        (
            HEADER + "message M { enum Kind { UNSPECIFIED = 0; } }",
            ["enum zero is KIND_UNSPECIFIED: M.Kind"],
        ),
        ('syntax = "proto3"; package fedfraud.v2;', ["package is fedfraud.v1: fedfraud.v2"]),
    ],
    indirect=["sample"],
)
def test_each_house_rule_is_noticed_when_it_is_broken(sample: FileDescriptorProto, rules: list[str]) -> None:
    assert broken_rules(sample) == rules
