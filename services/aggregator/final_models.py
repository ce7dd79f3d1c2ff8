"""The models that ended runs left, as the journal tells it: the only ones that a reporter may have."""

from fedfraud.errors import NotFound
from fedfraud.v1 import history_pb2


class FinalModels:
    """A fold over the journal: `apply` each entry once, in order."""

    def __init__(self) -> None:
        self._ended: dict[str, history_pb2.ModelDescription] = {}
        self._run_id = ""
        self._present = history_pb2.ModelDescription()

    def of(self, run_id: str) -> history_pb2.ModelDescription:
        """The model that the run ended with."""
        if run_id not in self._ended:
            raise NotFound(f"a run must have ended with a model, got {run_id[:80]!r}")
        return self._ended[run_id]

    def apply(self, entry: history_pb2.Entry) -> None:
        """Takes one entry into account."""
        match entry.WhichOneof("event"):
            case "run_started":
                started = entry.run_started
                self._run_id = started.run_id
                self._present = history_pb2.ModelDescription(manifest=started.manifest)
                if started.HasField("run_state"):
                    self._present.run_state.CopyFrom(started.run_state)
                    self._present.model.CopyFrom(started.model)
            case "round_committed" if entry.round_committed.key.run_id == self._run_id:
                committed = entry.round_committed
                self._present.model.CopyFrom(committed.model)
                if committed.HasField("run_state"):
                    self._present.run_state.CopyFrom(committed.run_state)
            case "run_finished" if entry.run_finished.run_id == self._run_id:
                if entry.run_finished.model_sha256 and self._present.HasField("model"):
                    self._ended[self._run_id] = self._present
