"""The narrative by a model: asked at most twice within a total time, checked, and taken section by section.

What a model answers is a choice among sentences of this code's own (`choice.py` says why nothing false can come of it).
Whatever goes wrong, the sections that passed stay and the template has the others; nothing that was received is in the
reason. The openai package is imported only when there is a key.
"""

import asyncio
import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from fedfraud.logs import Log
from services.reporter import choice, prompt
from services.reporter.choice import SECTIONS
from services.reporter.facts import RunFacts
from services.reporter.report import Written
from services.reporter.sentences.candidates import offered
from services.reporter.sentences.sentence import Sentence
from services.reporter.settings import Settings

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = Log("reporter")

ATTEMPTS = 2
UNSOUND = "the model's choice did not hold to the list of sentences"
SHAPELESS = "the model's answer did not have the four sections"
_MOST_FAULTS = 40


class _Useless(Exception):
    """There is no answer to check, and asking again would not help; the message is one sentence for the report."""


@dataclass(frozen=True)
class _Answer:
    """What a server sent: the text, the model that it names, the tokens that it counts."""

    text: str
    model: str
    request: str | None
    input_tokens: int | None
    output_tokens: int | None


@dataclass
class _Draft:
    """The sections that passed so far, and what was wrong with the last answer's others."""

    offered: choice.Offered
    sections: dict[str, tuple[Sentence, ...]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    former: str = ""
    model: str = ""
    reason: str = ""

    def take(self, text: str) -> None:
        """Keeps the sections of an answer that are sound and were not there yet."""
        chosen = choice.read(text)
        if chosen is None:
            self.former, self.faults, self.reason = "", [SHAPELESS], SHAPELESS
            return
        self.former, self.faults, self.reason = chosen.model_dump_json(), [], ""
        for section in SECTIONS:
            if section in self.sections:
                continue
            names = getattr(chosen, section)
            faults = choice.faults(names, section, self.offered)
            if not faults:
                self.sections[section] = tuple(self.offered[name] for name in names)
            self.faults += [f"{section}: {fault}" for fault in faults]
        if self.faults:
            self.reason = UNSOUND

    def written(self) -> Written:
        """What the report gets."""
        return Written(
            {name: self.sections[name] for name in SECTIONS if name in self.sections},
            self.model,
            self.reason,
            len(self.offered),
        )


async def write(run: RunFacts, settings: Settings, key: SecretStr) -> Written:
    """Asks the model, within `settings.openai_timeout` seconds in total; what it returns has passed the check."""
    draft = _Draft(offered(run))
    started = time.monotonic()
    try:
        async with asyncio.timeout(settings.openai_timeout):
            await _fill(draft, run, settings, key)
    except TimeoutError:
        draft.reason = f"the API did not answer within {settings.openai_timeout:g} seconds"
    written, seconds = draft.written(), round(time.monotonic() - started, 1)
    chosen = sum(map(len, written.sections.values()))
    names = ",".join(written.sections) or "none"
    log.info(
        "narrative checked", run=run.run.id, sections=names, sentences=chosen, offered=written.offered, seconds=seconds
    )
    if written.reason:
        log.warning("narrative by template", run=run.run.id, but=names, reason=written.reason)
    return written


async def _fill(draft: _Draft, run: RunFacts, settings: Settings, key: SecretStr) -> None:
    try:
        openai = await asyncio.to_thread(__import__, "openai")  # half a second of imports, off the loop
    except ImportError:
        draft.reason = "the openai package is not installed"
        return
    try:
        client = openai.AsyncOpenAI(
            api_key=key.get_secret_value(),
            base_url=settings.openai_base_url,
            timeout=settings.openai_timeout,
            max_retries=2,
        )
        async with client:
            for _ in range(ATTEMPTS):
                await _attempt(draft, client, run, settings)
                if not draft.faults:
                    return
    except _Useless as error:
        draft.reason = str(error)
    except openai.APIStatusError as error:
        draft.reason = _refused(error.status_code)
    except openai.APITimeoutError:
        draft.reason = f"the API did not answer within {settings.openai_timeout:g} seconds"
    except openai.APIConnectionError:
        draft.reason = "the API could not be reached"
    except Exception as error:  # the package raises what its parsers raise; no answer may lose the report
        draft.reason = f"the API's answer could not be read ({type(error).__name__})"


async def _attempt(draft: _Draft, client: "AsyncOpenAI", run: RunFacts, settings: Settings) -> None:
    body = prompt.request(run, settings, draft.former, draft.faults)
    started = time.monotonic()
    ask = _ask_chat if settings.openai_api == "chat" else _ask_responses
    answer = await ask(client, body)
    _log_cost(answer, body, settings, run.run.id, time.monotonic() - started)
    draft.model = _named(answer.model, settings.openai_model)
    draft.take(answer.text)
    if draft.faults:
        log.warning("narrative refused", run=run.run.id, faults=len(draft.faults), first=draft.faults[0][:200])
        draft.faults = [fault[:200] for fault in draft.faults[:_MOST_FAULTS]]


def _named(answered: str, asked: str) -> str:
    """The model that was asked for, with the date that the server adds; a server's own words are not for the report."""
    return answered if re.fullmatch(rf"{re.escape(asked)}-\d{{4}}-\d{{2}}-\d{{2}}", answered) else asked


async def _ask_responses(client: "AsyncOpenAI", body: dict[str, Any]) -> _Answer:
    response = await client.responses.create(**body)
    if response.status == "incomplete":
        raise _Useless("the model's answer was incomplete")
    if response.status != "completed":
        raise _Useless("the model did not complete its answer")
    contents = [part for item in response.output if item.type == "message" for part in item.content]
    if any(part.type == "refusal" for part in contents):
        raise _Useless("the model refused to write the narrative")
    usage = response.usage
    counted = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
    return _Answer(response.output_text, str(response.model), response._request_id, *counted)


async def _ask_chat(client: "AsyncOpenAI", body: dict[str, Any]) -> _Answer:
    response = await client.chat.completions.create(**body)
    choice = response.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise _Useless("the model refused to write the narrative")
    if choice.finish_reason != "stop":
        raise _Useless("the model's answer was incomplete")
    usage = response.usage
    counted = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    return _Answer(choice.message.content or "", str(response.model), response._request_id, *counted)


def _log_cost(answer: _Answer, body: dict[str, Any], settings: Settings, run_id: str, seconds: float) -> None:
    tokens, prices = (
        (answer.input_tokens, answer.output_tokens),
        (settings.openai_price_input, settings.openai_price_output),
    )
    costs = [
        count * price / 1e6
        for count, price in zip(tokens, prices, strict=True)
        if count is not None and price is not None
    ]
    log.info(
        "model answered",
        run=run_id,
        model=answer.model[:80],
        request=answer.request,
        prompt_sha256=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16],
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cost=round(sum(costs), 6) if len(costs) == len(prices) else None,
        seconds=round(seconds, 1),
    )


def _refused(status: int) -> str:
    if status in (401, 403):
        return f"the API refused the key (status {status})"
    if status == 429:
        return "the API's rate limit or quota is used up (status 429)"
    return f"the API answered with status {status}"
