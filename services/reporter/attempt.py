"""An open round as the journal tells it: who has answered the stage that it is at, who is waited for, who fell away."""

from datetime import datetime

from fedfraud import wire
from fedfraud.errors import Invalid
from fedfraud.masking_journal import decline_reason
from fedfraud.thresholds import sizes
from fedfraud.v1 import history_pb2, masking_pb2
from services.reporter.round_facts import MissingAnswer, OpenRound, Stage

_STAGES: dict[int, Stage] = {
    masking_pb2.MASKING_STAGE_ADVERTISE: "advertise",
    masking_pb2.MASKING_STAGE_SHARE: "share",
    masking_pb2.MASKING_STAGE_MASK: "mask",
    masking_pb2.MASKING_STAGE_CONSENT: "consent",
    masking_pb2.MASKING_STAGE_UNMASK: "unmask",
}
_ORDER = list(_STAGES.values())
SILENT = "no answer in time"
"""Why an answer is missing, where the seat said nothing."""


class Attempt:
    """One try of a round: `begun` by its opening, `take` each entry of it; `facts` is how it stands."""

    def __init__(self, opened: history_pb2.RoundOpened, time: datetime) -> None:
        self.facts = OpenRound(
            number=opened.step,
            round=opened.key.round,
            attempt=opened.key.attempt,
            segments=[segment.value for segment in wire.segments_from_proto(list(opened.segments))],
            opened_time=time,
            cohort=list(opened.cohort),
            quorum=opened.quorum,
            awaited=list(opened.cohort),
            stage="advertise" if opened.task_sha256 else None,
        )
        self._key = opened.key
        self._missing: dict[str, MissingAnswer] = {}  # the last of each seat
        self._shared: list[str] = []
        self._released: dict[str, int] = {}  # shares of each seat's secret

    def take(self, entry: history_pb2.Entry) -> None:
        """The next entry; those of other rounds change nothing."""
        match entry.WhichOneof("event"):
            case "contribution_accepted" if entry.contribution_accepted.key == self._key:
                self._contribute(entry.contribution_accepted)
            case "stage_answered" if entry.stage_answered.key == self._key:
                self._answer(entry.stage_answered)
            case "stage_closed" if entry.stage_closed.key == self._key:
                self._close()

    def missing(self, seats: list[str], *, committed: bool) -> list[MissingAnswer]:
        """The answers that the round lacked, by seat. `seats` are those that its end names: whose contributions it had.
        That is all that a committed round needed, and one without masks."""
        if self.facts.stage is None:
            return [MissingAnswer(seat=s, reason=SILENT) for s in sorted(set(self.facts.cohort) - set(seats))]
        found = {**self._missing, **self._lacking()}
        return [one for seat, one in sorted(found.items()) if not committed or seat not in seats]

    def _contribute(self, accepted: history_pb2.ContributionAccepted) -> None:
        self.facts.contributed.append(accepted.seat)
        self.facts.bytes += accepted.size_bytes
        if self.facts.stage in (None, "mask"):
            self._answered(accepted.seat)

    def _answer(self, answered: history_pb2.StageAnswered) -> None:
        answer, seat = answered.answer, answered.seat
        match answer.WhichOneof("answer"):
            case "declined":
                reason = f"sat out: {decline_reason(answer.declined)}"
                self._missing[seat] = MissingAnswer(seat=seat, stage=self.facts.stage, reason=reason)
                self.facts.sat_out.append(seat)
                self.facts.awaited = [other for other in self.facts.awaited if other != seat]
            case "unmasking":
                for share in (*answer.unmasking.seed_shares, *answer.unmasking.secret_shares):
                    self._released[share.dealer] = self._released.get(share.dealer, 0) + 1
                self._answered(seat)
                if self._can_be_opened():
                    self.facts.awaited = []
            case _:
                self._answered(seat)

    def _answered(self, seat: str) -> None:
        if seat in self.facts.awaited:
            self.facts.awaited.remove(seat)
            self.facts.answered.append(seat)

    def _close(self) -> None:
        """The next stage waits for who answered this one; to unmask every seat whose words are in the sum may."""
        stage = self.facts.stage
        if stage is None or stage == _ORDER[-1]:
            return
        self._missing |= self._lacking()
        self._shared = list(self.facts.answered) if stage == "share" else self._shared
        next_stage = _ORDER[_ORDER.index(stage) + 1]
        asked = self.facts.contributed if next_stage == "unmask" else self.facts.answered
        self.facts.stage, self.facts.answered = next_stage, []
        self.facts.awaited = [seat for seat in self.facts.cohort if seat in asked and seat not in self.facts.sat_out]

    def _lacking(self) -> dict[str, MissingAnswer]:
        """The seats that the present stage waits for still."""
        stage = self.facts.stage
        return {seat: MissingAnswer(seat=seat, stage=stage, reason=SILENT) for seat in self.facts.awaited}

    def _can_be_opened(self) -> bool:
        try:
            threshold = sizes(len(self.facts.cohort)).threshold
        except Invalid:
            return False
        return all(self._released.get(seat, 0) >= threshold for seat in self._shared)
