"""Who made a report's narrative, as `narrative.json` beside it says: facts are the journal's, and this is not in it."""

from pydantic import BaseModel


class Origin(BaseModel):
    """`chosen` are the headings under which `model` chose the sentences and its choice passed the check; `template` are
    the others, and `reason` says why, where a model was asked."""

    model: str = ""
    chosen: list[str] = []
    template: list[str] = []
    reason: str = ""
