"""The narrative against a real HTTP server: what is sent, and one sentence for everything that can go wrong."""

import json
import logging

import pytest
from pydantic import SecretStr

from services.reporter import narrative
from services.reporter.desk import narrated
from services.reporter.narrative import NarrativeError
from services.reporter.settings import Settings
from tests.services.reporter.journals import Journal, two_banks
from tests.services.reporter.responses_api import SECTIONS, Answer, response, serving, text

KEY = "sk-test-0123456789"
# A server that says so is not asked again; the tests of retries leave it out.
NO_RETRY = {"Content-Type": "application/json", "x-should-retry": "false"}


def settings(url: str, seconds: float = 20.0) -> Settings:
    return Settings(openai_base_url=url, openai_timeout=seconds)


async def failing(answer: Answer, seconds: float = 20.0) -> str:
    """The sentence of the error that this answer leads to."""
    with serving(answer) as api, pytest.raises(NarrativeError) as error:
        await narrative.write(two_banks().facts(), settings(api.url, seconds), SecretStr(KEY))
    assert KEY not in str(error.value)
    return str(error.value)


async def test_the_four_sections_come_back_with_the_models_name() -> None:
    with serving(response()) as api:
        written = await narrative.write(two_banks().facts(), settings(api.url), SecretStr(KEY))
    assert written.narrative.model_dump() == SECTIONS
    assert written.model == "gpt-5.2-2026-01-01"


async def test_the_request_asks_for_the_schema_and_is_not_stored() -> None:
    with serving(response()) as api:
        await narrative.write(two_banks().facts(), settings(api.url), SecretStr(KEY))
    [asked] = api.asked
    assert (asked["path"], asked["authorization"]) == ("/v1/responses", f"Bearer {KEY}")
    assert (asked["model"], asked["store"]) == ("gpt-5.2", False)
    schema = asked["text"]["format"]
    assert (schema["type"], schema["strict"]) == ("json_schema", True)
    assert sorted(schema["schema"]["required"]) == sorted(SECTIONS)
    assert schema["schema"]["additionalProperties"] is False
    assert "tools" not in asked


async def test_nothing_leaves_but_rounds_bank_count_final_metrics_rows_and_fraud_rates() -> None:
    journal = two_banks()
    for entry in journal.entries:
        if entry.HasField("run_finished"):
            entry.run_finished.reason = "a reason that stays here"
    with serving(response()) as api:
        await narrative.write(journal.facts(), settings(api.url), SecretStr(KEY))
    sent = json.loads(api.asked[0]["input"])
    assert set(sent) == {"rounds", "bank_count", "final", "banks"}
    assert sent["bank_count"] == 2
    assert set(sent["final"]) == {"holdout", "pooled"}
    assert sent["banks"] == [
        {"seat": "bank-01", "rows": 4000, "fraud_rate": 0.025},
        {"seat": "bank-02", "rows": 2000, "fraud_rate": 0.05},
    ]
    assert {name for sent_round in sent["rounds"] for name in sent_round} == {
        "number",
        "outcome",
        "banks",
        "holdout",
        "pooled",
    }
    assert "a reason that stays here" not in json.dumps(api.asked)


async def test_a_bank_that_discloses_nothing_is_sent_as_null() -> None:
    facts = Journal().started().opened(1, ["bank-01"]).finished().facts()
    assert narrative.payload(facts)["banks"] == [{"seat": "bank-01", "rows": None, "fraud_rate": None}]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "the API refused the key (status 401)"),
        (429, "the API's rate limit or quota is used up (status 429)"),
        (500, "the API answered with status 500"),
        (404, "the API answered with status 404"),
    ],
)
async def test_a_status_becomes_a_sentence(status: int, sentence: str) -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    assert await failing(Answer(status, body, headers=NO_RETRY)) == sentence


async def test_a_server_error_is_tried_three_times() -> None:
    with serving(Answer(503, headers={"Retry-After": "0.01"})) as api, pytest.raises(NarrativeError, match="503"):
        await narrative.write(two_banks().facts(), settings(api.url), SecretStr(KEY))
    assert len(api.asked) == 3


async def test_the_time_is_bounded_in_total_though_the_server_never_answers() -> None:
    assert await failing(Answer(hang=True), seconds=0.4) == "the API did not answer within 0.4 seconds"


async def test_the_time_is_bounded_though_the_server_asks_to_wait() -> None:
    answer = Answer(429, headers={"Retry-After": "60"})
    assert await failing(answer, seconds=0.4) == "the API did not answer within 0.4 seconds"


async def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    with serving(Answer()) as api:
        pass
    with pytest.raises(NarrativeError, match="the API could not be reached"):
        await narrative.write(two_banks().facts(), settings(api.url), SecretStr(KEY))


async def test_a_refusal_is_said() -> None:
    refusal = response({"type": "refusal", "refusal": f"I will not. {KEY}"})
    assert await failing(refusal) == "the model refused to write the narrative"


async def test_an_incomplete_answer_is_said_though_its_text_is_cut_off() -> None:
    cut = {"type": "output_text", "text": '{"executive_summary": "It ra', "annotations": []}
    answer = response(cut, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert await failing(answer) == "the model's answer was incomplete"


async def test_a_failed_answer_is_said() -> None:
    assert await failing(response(status="failed")) == "the model did not complete its answer"


@pytest.mark.parametrize(
    "answer",
    [
        text("not JSON"),
        text(json.dumps({**SECTIONS, "extra": "section"})),
        text(json.dumps({"executive_summary": "alone"})),
        response(output=[]),
    ],
)
async def test_text_without_the_four_sections_is_said(answer: Answer) -> None:
    assert await failing(answer) == "the model's answer did not have the four sections"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"<html>"),
        Answer(body=b"<html>", headers={"Content-Type": "text/html"}),
        Answer(body=b"[1, 2]"),
        Answer(body=b""),
        Answer(body=b"{}"),
        Answer(body=b'{"status": "completed", "output": 3}'),
    ],
)
async def test_garbage_is_said(answer: Answer) -> None:
    sentence = await failing(answer)
    assert sentence.startswith(("the API's answer could not be read", "the model did not complete its answer"))


async def test_a_failure_leaves_the_templates_report_and_the_key_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "reporter")
    body = json.dumps({"error": {"message": KEY}}).encode()
    with serving(Answer(401, body, headers=NO_RETRY)) as api:
        report = await narrated(two_banks().facts(), settings(api.url), SecretStr(KEY))
    assert "Narrative by template: the API refused the key (status 401)." in report
    assert "times as good as chance" in report
    said = "".join(str(vars(record)) for record in caplog.records)
    assert "the API refused the key" in said
    assert KEY not in report + said


async def test_a_success_leaves_the_key_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "reporter")
    with serving(response()) as api:
        report = await narrated(two_banks().facts(), settings(api.url), SecretStr(KEY))
    assert "It ranks fraud well." in report
    assert KEY not in report + "".join(str(vars(record)) for record in caplog.records)
