"""A bank's own Compose file: its settings are the bank's, and it may do no more than a bank of the root's file."""

import re
from pathlib import Path
from typing import Any

import yaml

from services.bank_client.settings import Settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "bank" / "docker-compose.yml").read_text()
SERVICES = yaml.safe_load(TEXT)["services"]
NETWORK = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["bank_client"]
OF_THE_MACHINE = {"JOIN_FOLDER", "ROWS_DIR", "MEMORY", "CPUS", "BANK_IMAGE", "TORCH_INDEX"}
FIXED = {"DATA_DIR", "JOIN_DIR", "HOLDOUT", "DEVICE"}
"""What a bank in this container has no other value for."""


def without_anchors(service: dict[str, Any]) -> dict[str, Any]:
    return {name: service.get(name) for name in ("read_only", "tmpfs", "cap_drop", "security_opt", "init", "ipc")}


def test_every_setting_of_a_bank_can_be_set_and_nothing_else() -> None:
    fields = {name.upper() for name in Settings.model_fields}
    assert set(SERVICES["bank"]["environment"]) == fields - FIXED


def test_rows_are_checked_under_the_settings_that_they_are_read_by() -> None:
    read_by = {"DATASET", "DATASET_QUERY", "DATASET_URL_FILE", "DATA_PRESET", "COLUMN_MAP", "FIRST_DAY"}
    checking, serving = (SERVICES[name]["environment"] for name in ("check-data", "bank"))
    assert read_by <= checking.keys()
    assert {name: serving[name] for name in checking} == checking


def test_the_example_names_what_the_file_reads_and_no_other() -> None:
    example = (ROOT / "deploy" / "bank" / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.M))
    read = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
    passed = {name for service in SERVICES.values() for name in service["environment"]}
    assert named <= read | passed
    assert read - named <= {"DATASET"} | passed
    assert named - passed <= OF_THE_MACHINE


def test_it_is_hardened_as_a_bank_of_the_network_is_and_publishes_nothing() -> None:
    for service in SERVICES.values():
        assert without_anchors(service) == without_anchors(NETWORK)
        assert not {"ports", "expose", "privileged", "cap_add", "user"} & service.keys()
    assert SERVICES["check-data"]["network_mode"] == "none"
    assert (SERVICES["bank"]["restart"], SERVICES["bank"]["healthcheck"]) == (
        NETWORK["restart"],
        NETWORK["healthcheck"],
    )
