"""Structure-aware fuzzing of every rpc: the answer is a designed one, and the federation unharmed."""

import asyncio
import contextlib
import ctypes
import gc
import hashlib
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from urllib.parse import quote

import grpc
import uvloop

from fedfraud.errors import FedfraudError
from fedfraud.v1 import enrolment_pb2, federation_pb2, history_pb2
from services.aggregator.guard import allowed_roles
from services.aggregator.verify import verify
from tests.faults.campaign import Campaign
from tests.faults.fuzz_network import SETTINGS, Network
from tests.faults.fuzz_shots import Gun, Shot
from tests.faults.fuzz_transport import OK, Answer, Stream, Transport, indoors, over_the_wire
from tests.federation import journals
from tests.federation.hands import DEADLINE, header_of

MESSAGES, IDLE_MESSAGES, ROUND_MESSAGES = 1000, 50, 225
"""Calls of a trial; of them while no run is going on; and in one open round."""
TRIALS, WIRE_TRIALS = 200, 5
STATM, MOST_GROWTH = Path("/proc/self/statm"), 50 * 2**20
_QUIET_SECONDS = 0.1
"""After which a stream that says nothing is left open, to be ended with its round; no verdict rests on it."""
_AT_ONCE = (1, 1, 1, 1, 6)
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
TOO_LARGE, MOST_BYTES = grpc.StatusCode.RESOURCE_EXHAUSTED, 1 << 20
DESIGNED = {OK} | {error.status for error in FedfraudError.__subclasses__()} - {grpc.StatusCode.INTERNAL}
JOURNALLED = {
    "Enrol": {"certificate_issued", "certificate_revoked"},
    "RenewCertificate": {"certificate_issued"},
    "Participate": {"lease_granted"},
    "SubmitContribution": {"contribution_accepted"},
    "StartRun": {"run_started", "round_opened"},
    "StopRun": {"run_stop_requested"},
    "LapseSeat": {"seat_lapsed"},
    "RevokeSeat": {"certificate_revoked"},
}
"""What a call that succeeds may put into the journal."""
REFUSED = {"SubmitContribution", "AnswerStage"}
"""The calls whose refusal the journal tells of."""
HANGING_UP = "seat_absent"
"""The journal hears of a stream's end when it ends, during whatever call."""
LEASED = "lease_granted"
Opener = Callable[..., AbstractAsyncContextManager[Transport]]


class Storm:
    """A trial's calls at one network, each checked."""

    def __init__(self, network: Network, gun: Gun, number: int) -> None:
        self.left = MESSAGES
        self.statuses: Counter[str] = Counter()
        self._network = network
        self._gun = gun
        self._number = number
        self._open: list[tuple[Shot, Stream, asyncio.Future[bytes | None]]] = []
        self._late: Counter[str] = Counter()
        """What calls before may still put into the journal."""

    async def rage(self, calls: int) -> None:
        """So many calls; then every file is what it was, and nobody is left on the line."""
        files, end = self._files(), max(self.left - calls, 0)
        while self.left > end:
            shots = self._volley(self.left - end)
            await self._judge(shots, await asyncio.gather(*(self._fire(shot) for shot in shots)))
            if self._network.instruction is None:
                await self._hang_up()  # whoever is there when a run begins is in its cohort
        await self._hang_up()
        assert self._files() == files, "no message changes a model or a sum"

    def _volley(self, most: int) -> list[Shot]:
        """One call, or several at once while a round is open; of those one enrols, so that the newest is known."""
        shots: list[Shot] = []
        size = min(most, self._random().choice(_AT_ONCE)) if self._network.instruction else 1
        while len(shots) < size:
            shot = self._gun.shot(self._random())
            if shot.rpc.name == "Enrol" and any(other.rpc.name == "Enrol" for other in shots):
                break
            shots.append(shot)
            self.left -= 1
        return shots

    def _random(self) -> Random:
        return Random(f"{self._number}/{self.left}")  # noqa: S311  # to be repeated, not to be secret

    async def _fire(self, shot: Shot) -> Answer:
        own = shot.who.own
        if not shot.rpc.descriptor.server_streaming:
            return await self._network.transport.ask(shot.rpc, own, shot.messages)
        stream = self._network.transport.listen(shot.rpc, own, shot.messages)
        for _ in range(shot.responses):
            step = asyncio.ensure_future(stream.read())
            may_wait = shot.who.role in allowed_roles(shot.rpc.path)
            await asyncio.wait({step}, timeout=_QUIET_SECONDS if may_wait else DEADLINE)
            if not step.done():
                self._open.append((shot, stream, step))
                return Answer(OK, still_open=True)
            if step.result() is None:
                break
        return await stream.close()

    async def _judge(self, shots: Sequence[Shot], answers: Sequence[Answer]) -> None:
        """Each answer is designed, and the journal has nothing but what these calls may put there."""
        budget = self._late
        for shot, answer in zip(shots, answers, strict=True):
            self.statuses["lost" if answer.lost else answer.status.name] += 1
            _check_answer(shot, answer, alone=len(shots) == 1)
            refusal = {"contribution_refused"} if shot.rpc.name in REFUSED else set()
            # Of calls at once another may have ended a stream that had begun well.
            well = answer.status is OK or (shot.rpc.descriptor.server_streaming and len(shots) > 1)
            budget.update(JOURNALLED.get(shot.rpc.name, set()) if well else refusal)
        entries = self._network.look()
        kinds = Counter(str(entry.WhichOneof("event")) for entry in entries)
        del kinds[HANGING_UP]
        assert kinds <= budget, (kinds - budget, answers, [str(shot) for shot in shots])
        # Of a stream that said nothing yet the lease may still be on its way to the disk.
        self._late = Counter({LEASED: min((budget - kinds)[LEASED], len(self._open))})
        news = {entry.contribution_accepted.seat for entry in entries if entry.HasField("contribution_accepted")}
        for shot, answer in zip(shots, answers, strict=True):
            await self._follow(shot, answer, new=shot.who.seat in news)

    async def _follow(self, shot: Shot, answer: Answer, *, new: bool) -> None:
        """What succeeded is taken into account."""
        if answer.status is OK and shot.rpc.name == "SubmitContribution":
            header = header_of(federation_pb2.SubmitContributionRequest.FromString(shot.messages[0]))
            response = federation_pb2.SubmitContributionResponse.FromString(answer.response)
            self._network.check_receipt(shot.who, header, response.receipt, new=new)
        if answer.status is OK and shot.rpc.name == "StartRun":
            await self._network.hear()
        if answer.status is OK and shot.rpc.name == "Enrol":
            request = enrolment_pb2.EnrolRequest.FromString(shot.messages[0])
            self._network.enrolled(request, enrolment_pb2.EnrolResponse.FromString(answer.response))

    async def _hang_up(self) -> None:
        """On those who are still on the line; whoever was sent away meanwhile was told why."""
        for shot, stream, step in self._open:
            ended = step.done() and step.result() is None
            step.cancel()
            answer = await stream.close()
            assert answer.status in DESIGNED, f"{answer}\n{shot}"
            assert not ended or answer.sentence, f"{answer}\n{shot}"
        self._open.clear()

    def _files(self) -> dict[str, str]:
        """The hash of each model, sum and momentum."""
        folder = self._network.data_dir / "vectors"
        paths = (*folder.glob("models/*"), *folder.glob("*/*.*"))
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _check_answer(shot: Shot, answer: Answer, *, alone: bool) -> None:
    """Designed, in words if it is a refusal, and the right one for who may not call."""
    if answer.lost:
        return
    assert answer.status in DESIGNED, f"{answer}\n{shot}"
    assert len(quote(answer.sentence)) < 8192, f"a trailer must hold the sentence\n{shot}"
    assert bool(answer.sentence) is (answer.status is not OK), f"{answer}\n{shot}"
    if answer.status is TOO_LARGE and max(map(len, shot.messages)) > MOST_BYTES:
        return  # gRPC refuses it before anybody asks who sent it
    roles = allowed_roles(shot.rpc.path)
    if roles and shot.who.role not in roles:
        assert not answer.still_open, f"who may not call must be told at once\n{shot}"
        expected = {UNAUTHENTICATED} if shot.who.role is None else {DENIED}
        # Of calls at once another may have revoked this caller.
        assert answer.status in (expected if alone else {UNAUTHENTICATED, DENIED}), f"{answer}\n{shot}"


async def run(number: int, folder: Path, opener: Opener) -> Counter[str]:
    """One trial; returns how often each status was heard."""
    async with attentive(), opener(folder, **SETTINGS) as transport:
        network = Network(transport)
        await network.assemble()
        storm = Storm(network, Gun(network, handshake=opener is over_the_wire), number)
        while storm.left:
            if network.instruction is None:
                await storm.rage(IDLE_MESSAGES)
            if network.instruction is None:
                await network.start()
            await storm.rage(ROUND_MESSAGES)
            await network.answer()
        await network.close()
    _check_journal(network.data_dir)
    return storm.statuses


def _check_journal(data_dir: Path) -> None:
    """What `verify` recomputes is as the journal says, and no run failed and no round was void."""
    assert not verify(data_dir).faults, verify(data_dir).text
    assert not journals.events(data_dir, "round_void")
    outcomes = {event.outcome for event in journals.events(data_dir, "run_finished")}
    assert history_pb2.RUN_OUTCOME_FAILED not in outcomes


@contextlib.asynccontextmanager
async def attentive() -> AsyncIterator[None]:
    """Whatever the aggregator logs as an error, or the event loop finds lying about, breaks the promise."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(self.format(record))

    ear, logger, loop = Ear(logging.ERROR), logging.getLogger(), asyncio.get_running_loop()
    level = logging.getLogger("aggregator").level
    logging.getLogger("aggregator").setLevel(logging.ERROR)  # thousands of refusals are not news
    logger.addHandler(ear)
    loop.set_exception_handler(lambda _, context: heard.append(str(context)))
    try:
        yield
    except Exception as error:
        error.add_note("\n".join(heard))
        raise
    finally:
        logger.removeHandler(ear)
        logging.getLogger("aggregator").setLevel(level)
    assert not heard, "\n".join(heard)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_first: dict[str, int] = {}


def check_memory(campaign: str) -> None:
    """Holds this process to what it may have grown since the campaign's first trial was over. What the allocator keeps
    of freed memory, tens of megabytes more or less each time, is given back first."""
    if STATM.exists():
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc's
            ctypes.CDLL(None).malloc_trim(0)
        now = resident_bytes()
        grown = now - _first.setdefault(campaign, now)
        assert grown < MOST_GROWTH, f"memory grew by {grown >> 20} MB"


def trial(number: int, folder: Path) -> None:
    """A thousand calls in this process."""
    uvloop.run(run(number, folder, indoors))
    check_memory("fuzz")


def wire_trial(number: int, folder: Path) -> None:
    """A thousand calls over gRPC and mutual TLS."""
    uvloop.run(run(TRIALS + number, folder, over_the_wire))


PROMISE = "no crash, no UNKNOWN or INTERNAL, nothing changed by what is refused, sums exact"
FUZZ = Campaign(
    "fuzz",
    f"{TRIALS * MESSAGES} fuzzed calls of every rpc: {PROMISE}, memory under 50 MB more",
    lambda: TRIALS,
    5,
    trial,
)
FUZZ_WIRE = Campaign(
    "fuzz-wire",
    f"{WIRE_TRIALS * MESSAGES} fuzzed calls over gRPC and mTLS: {PROMISE}",
    lambda: WIRE_TRIALS,
    1,
    wire_trial,
)
