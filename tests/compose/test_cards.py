"""Banks with payments in containers: counters are summed, and the run ends with a report in the trade's terms."""

import json
from functools import partial

import pytest

from tests.compose.network import ROUNDS, execute, until
from tests.compose.running import running

pytestmark = pytest.mark.timeout(480)

BANKS = 4
"""The fewest of a masked round."""


def test_payments_run_to_the_report_and_each_bank_has_its_own_figures() -> None:
    settings = {"POPULATION": "cards", "PRESET": "national", "STAGE_DEADLINE": "60", "PERSONALISE": "true"}
    with running(BANKS, BANKS=str(BANKS), **settings) as network:
        run_id = network.reported_run(1)
        facts = network.facts(run_id)
        run, final = facts["run"], facts["final"]
        assert (run["population"], run["recipe"], run["aggregation"]) == ("cards", "cards", "secure")
        assert run["outcome"] == "finished"
        asked = [["count"], ["standardise"], *[["evaluate", "train"]] * ROUNDS, ["evaluate", "trade"]]
        assert [done["segments"] for done in facts["rounds"]] == asked
        assert {done["banks"] for done in facts["rounds"]} == {BANKS}
        assert final["trade"]["budgets"][0]["alerts"] == BANKS * 7 * 5
        assert "### Alerts a day, cards and money" in (network.reports / run_id / "report.md").read_text()

        until(lambda: network.containers("central")[0]["State"]["Status"] == "exited", "central ends")
        (central,) = network.containers("central")
        assert (central["State"]["ExitCode"], central["State"]["OOMKilled"]) == (0, False)

        payments = 0
        for bank in network.containers("bank_client"):
            until(partial(has_fine_tuned, bank["Id"]), "what fine-tuning gains")
            own, tuned = (
                json.loads(execute(bank["Id"], "cat", f"/data/{name}.json")) for name in ("trade", "personal")
            )
            assert own["model_sha256"] == tuned["model_sha256"] == run["model_sha256"]
            assert own["alone"].keys() == own["figures"].keys()
            payments += own["payments"]
        assert payments == final["trade"]["total"]["payments"]


def has_fine_tuned(bank: str) -> bool:
    """Whether that is done, which comes last of what a bank does for itself."""
    return "personal.json" in execute(bank, "ls", "/data").split()
