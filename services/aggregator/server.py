"""Puts the aggregator together, serves until told to stop, and takes it apart again."""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy.random  # noqa: F401  # numpy loads it when it is first named: not while banks wait for their first model

from fedfraud.channel import bind_enrolment, bind_mutual, enrolment_server, mutual_server
from fedfraud.chunks import ChunkMessages
from fedfraud.errors import Misconfigured, NotStored, Stale
from fedfraud.feature_plan import plan_of
from fedfraud.health import HealthServer
from fedfraud.identity import make_folder, sync_folder
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.masking_journal import federation_id
from fedfraud.transactions import HAVE_HOLDOUT, SCHEMAS, SIMULATED, preset_of
from fedfraud.v1 import enrolment_pb2_grpc, federation_pb2_grpc, history_pb2, history_pb2_grpc, operation_pb2_grpc
from services.aggregator.authority import Authority
from services.aggregator.conductor import Conductor, check_settings
from services.aggregator.final_models import FinalModels
from services.aggregator.guard import Calls, ErrorMapper, Guard
from services.aggregator.holdout import Holdout
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.journal_file import NAME
from services.aggregator.memory import share_memory
from services.aggregator.participants import Participants
from services.aggregator.recovery import NamedVectors
from services.aggregator.round_drive import Surroundings
from services.aggregator.seats import Seats
from services.aggregator.servicers.enrolment import EnrolmentServicer, Registrar
from services.aggregator.servicers.federation import FederationServicer
from services.aggregator.servicers.history import HistoryServicer
from services.aggregator.servicers.operation import OperationServicer
from services.aggregator.settings import Settings
from services.aggregator.status import Network
from services.aggregator.vectors import NAME as VECTORS
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer

if TYPE_CHECKING:
    from services.aggregator.metrics_server import MetricsServer
    from services.aggregator.traces import Traces

_GRACE_SECONDS = 1.0
_LAST_CALLS_SECONDS = 3.0
"""Whoever insists on a disk that fails looks again every two seconds, and sees that the writer is closed."""
_SWEEP_SECONDS = 60.0


async def serve(settings: Settings, stop: asyncio.Event, ready: Callable[[int, int], None] = lambda *_: None) -> None:
    """Serves until `stop`; `ready` is told the mutual-TLS port and the enrolment port."""
    share_memory()
    log = Log("aggregator")
    manifest = manifest_of(settings)
    check_settings(settings, manifest)
    lock = _locked(settings.data_dir)
    with _durably():
        # A first start makes the authority, then the journal, then the folder of vectors.
        has_journal, has_vectors = ((settings.data_dir / name).exists() for name in (NAME, VECTORS))
        authority, writer = Authority(settings.data_dir / "authority", begun=has_journal or has_vectors), Writer()
        journal = Journal(settings.data_dir / NAME, writer, authority.journal_key, begun=has_vectors)
        for folder in (settings.data_dir / "authority", settings.data_dir):
            sync_folder(folder)  # what a former start made may be there, and its name not durable
    calls = Calls()
    try:
        await _serve(settings, manifest, authority, writer, journal, calls, stop, ready, log)
    finally:
        writer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(calls.over(), _LAST_CALLS_SECONDS)
        journal.close()
        lock.close()
    log.info("stopped")


async def _serve(
    settings: Settings,
    manifest: Manifest,
    authority: Authority,
    writer: Writer,
    journal: Journal,
    calls: Calls,
    stop: asyncio.Event,
    ready: Callable[[int, int], None],
    log: Log,
) -> None:
    vectors, seats = Vectors(settings.data_dir / VECTORS, gather=settings.retention_hours == 0), Seats()
    with _durably():
        vectors.prepare()
    participants = Participants(seats, journal, log)
    intake = Intake(seats, participants, journal, writer, vectors, settings.stall_timeout, log)
    holdout = _holdout(settings, manifest)
    surroundings = Surroundings(
        manifest,
        holdout,
        intake,
        participants,
        journal,
        writer,
        vectors,
        log,
        settings.round_deadline,
        keep_contributions=settings.retention_hours > 0,
        stage_deadline=settings.stage_deadline,
        federation_id=federation_id(authority.ca_pem),
        seats=seats,
        preset=preset_of(settings.population, settings.preset),
        central_file=settings.central_file,
        central_wait=settings.central_wait,
    )
    conductor = Conductor(settings, surroundings)
    network = Network(conductor, intake, participants, seats, journal, writer)
    registrar = Registrar(settings, authority, seats, journal)
    await journal.replay(seats.apply)
    await journal.replay(conductor.apply)
    await _forget_strays(journal, writer, vectors)
    final_models = FinalModels()
    await journal.replay(final_models.apply)

    server = mutual_server([Guard(seats, calls, log), ChunkMessages()])
    enrolment = enrolment_server([ErrorMapper(calls, log)])
    federation_pb2_grpc.add_FederationServiceServicer_to_server(
        FederationServicer(
            manifest,
            participants,
            conductor,
            intake,
            registrar,
            journal,
            authority.journal_certificate_pem,
            writer,
            vectors,
            log,
        ),
        server,
    )
    history_pb2_grpc.add_HistoryServiceServicer_to_server(
        HistoryServicer(journal, final_models, writer, vectors), server
    )
    operation_pb2_grpc.add_OperationServiceServicer_to_server(OperationServicer(settings, network, log), server)
    enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(
        EnrolmentServicer(settings, authority, registrar, log), enrolment
    )
    own = authority.server_key_pair(settings.hostnames.split(","), timedelta(hours=settings.server_certificate_hours))
    try:
        port = bind_mutual(server, settings.listen, authority.ca_pem, own)
        enrolment_port = bind_enrolment(enrolment, settings.enrolment_listen, own)
    except RuntimeError as error:  # gRPC's own, for an address that is taken or is not ours
        raise Misconfigured(
            f"LISTEN and ENROLMENT_LISTEN must be free addresses, got {settings.listen}, {settings.enrolment_listen}"
        ) from error
    with _durably():
        authority.write_join_folders(settings.join_dir)

    health = HealthServer(settings.health_socket) if settings.health_socket else None
    await conductor.begin(seats)
    await _all_absent(seats, journal)
    metrics = await _metrics(settings, network) if settings.metrics_listen else None
    traces = await _traces(settings.traces_endpoint, journal) if settings.traces_endpoint else None
    await asyncio.gather(server.start(), enrolment.start(), *([health.start()] if health else []))
    log.info("serving", port=port, enrolment_port=enrolment_port, expected_banks=settings.expected_banks)
    ready(port, enrolment_port)
    tasks = [
        asyncio.create_task(writer.probe(settings.data_dir, vectors.forget_spares, journal.write_again)),
        asyncio.create_task(_sweep(settings.retention_hours * 3600, writer, vectors, conductor)),
    ]
    if settings.simulation:
        tasks.append(asyncio.create_task(_lapse(settings, seats, participants)))
    if health:
        tasks.append(asyncio.create_task(_say_health(health, writer)))
    await stop.wait()

    log.info("stopping")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if health:
        await health.set_serving(False)
    if metrics:
        await asyncio.to_thread(metrics.close)
    if traces:
        await asyncio.to_thread(traces.close)
    await conductor.close()
    with contextlib.suppress(NotStored):
        await writer.aside(vectors.forget_spares)
    await asyncio.gather(server.stop(_GRACE_SECONDS), enrolment.stop(_GRACE_SECONDS))
    if health:
        await health.stop()


async def _metrics(settings: Settings, network: Network) -> "MetricsServer":
    # Not above: whoever has no Prometheus does not wait for its import.
    from services.aggregator.exposition import registry_of
    from services.aggregator.metrics_server import MetricsServer

    registry, tally = registry_of(network, settings.data_dir)
    await network.journal.replay(tally.apply)
    server = MetricsServer(registry, settings.metrics_listen)
    Log("aggregator").info("metrics can be read", port=server.port)
    return server


async def _traces(endpoint: str, journal: Journal) -> "Traces":
    # Not above: half a second of imports.
    from services.aggregator.traces import traces_to

    traces = await asyncio.to_thread(traces_to, endpoint)
    await journal.replay(traces.apply)
    traces.begin()
    return traces


def manifest_of(settings: Settings) -> Manifest:
    """The model of the set population; an unknown one is refused."""
    known = SIMULATED if settings.simulation else tuple(SCHEMAS)
    if settings.population not in known:
        raise Misconfigured(f"population must be one of {', '.join(known)}, got {settings.population!r}")
    name = settings.population
    return Manifest(name, SCHEMAS[name], feature_plan=plan_of(name, settings.first_day))


def _holdout(settings: Settings, manifest: Manifest) -> Holdout | None:
    """The rows in the file that is set, where the population has rows that no bank has."""
    if settings.holdout_file is None or settings.population not in HAVE_HOLDOUT:
        return None
    return Holdout(settings.holdout_file, manifest)


def _locked(folder: Path) -> BinaryIO:
    """The data folder's lock, held until it is closed: a second aggregator on the folder refuses to start."""
    try:
        make_folder(folder, 0o700)
        file = (folder / "lock").open("wb")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Misconfigured(f"DATA_DIR must be a folder of this aggregator alone, another runs on {folder}") from error
    except OSError as error:
        raise Misconfigured(f"DATA_DIR must be a folder that can be written: {error.strerror}, {folder}") from error
    return file


@contextlib.contextmanager
def _durably() -> Iterator[None]:
    """What the disk says of what a start has to write, in our words."""
    try:
        yield
    except OSError as error:
        raise NotStored(f"a start must be made durable, the disk said: {error}") from error


async def _forget_strays(journal: Journal, writer: Writer, vectors: Vectors) -> None:
    """A former process may have written the model or the counters of a round that it did not commit."""
    named = NamedVectors()
    await journal.tell(named.apply)
    await writer.aside(vectors.remove_but, named.sha256s)


async def _all_absent(seats: Seats, journal: Journal) -> None:
    """After a restart nobody has a stream, whatever the former process knew."""
    for record in list(seats.records.values()):
        if record.present:
            await journal.append(history_pb2.SeatAbsent(seat=record.name, fencing_number=record.fencing_number))


async def _say_health(health: HealthServer, writer: Writer) -> None:
    """SERVING while the disk takes what arrives."""
    while True:
        changed = writer.changed
        await health.set_serving(not writer.failure)
        await changed.wait()


async def _sweep(retention: float, writer: Writer, vectors: Vectors, conductor: Conductor) -> None:
    """Forgets contributions whose retention is over, now and then each minute."""
    while True:
        with contextlib.suppress(NotStored):
            await writer.aside(vectors.sweep, retention, conductor.open_round)
        await asyncio.sleep(_SWEEP_SECONDS)


async def _lapse(settings: Settings, seats: Seats, participants: Participants) -> None:
    """Lets simulated seats lapse that have had no lease for the set time."""
    absent_since: dict[str, float] = {}
    while True:
        now = time.monotonic()
        away = [r.name for r in seats.records.values() if not (r.present or r.lapsed or r.revoked)]
        absent_since = {seat: absent_since.get(seat, now) for seat in away}
        for seat, since in absent_since.items():
            if now - since >= settings.lapse_after:
                with contextlib.suppress(Stale, NotStored):  # its bank has just come back; it is tried again
                    await participants.lapse(seat, f"no lease for {settings.lapse_after:g} s")
        await asyncio.sleep(min(1.0, settings.lapse_after / 4))
