"""What a bank scores with, read from its own volume: the kept model and, where it has payments, counters, key and
the payments of its data."""

from dataclasses import dataclass

from fedfraud.contract import ID, Contract, contract_named
from fedfraud.errors import Misconfigured
from services.bank_client import kept_model, own_data
from services.bank_client.column_map import ColumnMap
from services.bank_client.known_payments import Known, MerchantRisk
from services.bank_client.merchant_key import fingerprint, read_merchant_key
from services.bank_client.scoring import Scorer
from services.bank_client.settings import Settings


@dataclass(frozen=True)
class ScoreInputs:
    """`risk` is None where the bank's rows have their features themselves."""

    scorer: Scorer
    contract: Contract
    column_map: ColumnMap
    risk: MerchantRisk | None


def read_inputs(settings: Settings) -> ScoreInputs:
    """Of the model that was kept last; refused where it is not whole, and where the merchants' key is another."""
    kept = kept_model.load(settings.data_dir)
    contract = contract_named(kept.manifest.population)
    return ScoreInputs(Scorer(kept), contract, own_data.map_of(settings, contract), _risk(settings, kept))


def read_known(settings: Settings, inputs: ScoreInputs) -> Known:
    """The payments of the bank's data, checked as they are before it joins."""
    own = own_data.load(settings, inputs.contract, keep_ids=True)
    own.report.findings.refuse()
    if own.payments is None:
        raise Misconfigured(f"payments must be of a contract of payments, {inputs.contract.name} is none")
    has_ids = not inputs.column_map.origin(ID).row_number
    return Known(own.payments, own.ids if has_ids else None)


def _risk(settings: Settings, kept: kept_model.KeptModel) -> MerchantRisk | None:
    plan = kept.manifest.feature_plan
    if plan is None:
        return None
    key = read_merchant_key(settings.data_dir / settings.merchant_key)
    if fingerprint(key) != kept.merchant_key:
        raise Misconfigured(
            f"MERCHANT_KEY must be the one that the kept model's merchants were counted by, {kept.merchant_key}, "
            f"got {fingerprint(key)}"
        )
    return MerchantRisk(plan, kept_model.load_counters(settings.data_dir, kept), key)
