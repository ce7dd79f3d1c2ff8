"""What each row that is read is called: its transaction id, or its file and row where the bank has none."""

from typing import Any

import numpy as np
import pyarrow as pa

from fedfraud.contract import ID
from services.bank_client.checks import Checked
from services.bank_client.sources import Chunk


class RowNames:
    """Each row's id, where somebody wants to know it."""

    def __init__(self, checked: Checked, wanted: bool) -> None:
        self._checked, self._wanted = checked, wanted
        self._parts: list[pa.Array] = []

    def take(self, chunk: Chunk) -> None:
        """The next rows; none is kept once a rule is broken."""
        checked = self._checked
        if not self._wanted or checked.findings:
            self._parts = []
        elif checked.column_map.is_read(checked.contract, ID) and not checked.column_map.origin(ID).row_number:
            self._parts.append(checked.texts(chunk, ID))
        else:
            self._parts.append(pa.array([f"{chunk.file}:{chunk.row(index)}" for index in range(len(chunk))]))

    def whole(self, order: np.ndarray[Any, np.dtype[np.int64]] | None = None) -> pa.Array | None:
        """All, in this order or in that in which they came."""
        if not self._wanted:
            return None
        names = pa.concat_arrays([pa.array([], pa.string()), *self._parts])
        return names if order is None else names.take(pa.array(order))
