"""Says whether a model's files belong together, and whether a journal has them: the command `check-model`."""

import argparse
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed

from fedfraud.chain import checked_line, journal_key
from fedfraud.errors import Invalid, Misconfigured
from fedfraud.v1 import history_pb2
from services.reporter import model_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, help="the folder with model.json and the files beside it")
    parser.add_argument("--journal", type=Path, metavar="EXPORT", help="what `services.aggregator export` wrote")
    parser.add_argument("--ca", type=Path, metavar="PEM", help="the federation's CA, ca.pem of a join folder")
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="PEM",
        help="the journal's certificate: journal.pem of the aggregator's authority folder, or of any bank's folder",
    )


def main(arguments: argparse.Namespace) -> int:
    """Prints what holds, and returns 0; or the file that is not what it was, and 1."""
    if arguments.journal and not (arguments.ca and arguments.certificate):
        raise Misconfigured("--journal must come with --ca and --certificate, which it is checked with")
    try:
        final = model_files.read(arguments.folder)
        which = f"model {final.sha256} of run {final.run_id}: its files belong together"
        if arguments.journal:
            model_files.check_against(final, _checked(arguments.journal, arguments.ca, arguments.certificate))
    except Invalid as error:
        print(f"FAULT  {error}")
        return 1
    found = (
        f", and the journal has it at entry {final.journal_sequence}" if arguments.journal else "; no journal was given"
    )
    print(which + found)
    return 0


def _checked(export: Path, ca: Path, certificate: Path) -> Iterator[tuple[history_pb2.Entry, bytes]]:
    """Every entry of the export with the head after it, each checked to follow from the former and to be signed."""
    try:
        key, stream = journal_key(certificate.read_bytes(), ca.read_bytes()), BytesIO(export.read_bytes())
    except OSError as error:
        raise Misconfigured(
            f"a journal and its certificates must be readable: {error.strerror}, {error.filename}"
        ) from error
    head, sequence = b"", 0
    try:
        while line := parse_length_prefixed(history_pb2.JournalLine, stream):
            sequence += 1
            yield checked_line(line, head, sequence, key), line.head
            head = line.head
    except (DecodeError, ValueError) as error:
        raise Invalid(
            f"{export.name}: an export must be journal lines, got other bytes after line {sequence}"
        ) from error
