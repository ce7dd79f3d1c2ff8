"""Column maps of public data sets: their schemas, none of their rows.

A set with customer, merchant, time and amount maps to the contract `cards`; one without to a table of its own.
"""

from datetime import UTC, datetime

from fedfraud.contract import ID, KNOWN_AT
from fedfraud.errors import Invalid
from fedfraud.transactions import LABEL
from services.bank_client.column_map import ColumnMap, Origin

_LABELLED_AFTER = Origin(days_after_payment=7)
"""The public sets do not say when a fraud was found out: a week later, as the feature plan assumes."""
_BY_ROW = Origin(row_number=True)
_YES_NO = {"Yes": 1, "No": 0}


def _of(*columns: str, **more: object) -> Origin:
    return Origin.model_validate({"columns": columns, **more})


_WEEKS = -39 * 7
"""Moves January 2019 to April 2018, where the plan's days are, and leaves every day of the week what it was."""
_AML_WEEKS = -226 * 7
"""Moves August 2022, when the large sets begin, to the second day of the plan."""
_PAYSIM_START = datetime(2018, 4, 29, tzinfo=UTC)
"""Steps are hours of an unnamed month of 31 days: they end with the last day of the plan."""

PRESETS = {
    "handbook": ColumnMap(
        "cards",
        {
            ID: _of("TRANSACTION_ID"),
            "time": _of("TX_DATETIME"),
            "customer_id": _of("CUSTOMER_ID"),
            "merchant_id": _of("TERMINAL_ID"),
            "amount": _of("TX_AMOUNT"),
            LABEL: _of("TX_FRAUD"),
            KNOWN_AT: _LABELLED_AFTER,
        },
        leaks=("TX_FRAUD_SCENARIO",),
    ),
    "sparkov": ColumnMap(
        "cards",
        {
            ID: _of("trans_num"),
            "time": _of("trans_date_trans_time", shift_days=_WEEKS),
            "customer_id": _of("cc_num"),
            "merchant_id": _of("merchant"),
            "amount": _of("amt"),
            LABEL: _of("is_fraud"),
            KNOWN_AT: _LABELLED_AFTER,
        },
        ids=("first", "last", "street", "dob"),
    ),
    "paysim": ColumnMap(
        "cards",
        {
            ID: _BY_ROW,
            "time": _of("step", form="hours", start=_PAYSIM_START),
            "customer_id": _of("nameOrig"),
            "merchant_id": _of("nameDest"),
            "amount": _of("amount"),
            LABEL: _of("isFraud"),
            KNOWN_AT: _LABELLED_AFTER,
        },
        leaks=("newbalanceOrig", "newbalanceDest", "oldbalanceDest", "isFlaggedFraud"),
    ),
    "tabformer": ColumnMap(
        "cards",
        {
            ID: _BY_ROW,
            "time": _of("Year", "Month", "Day", "Time", form="date parts", shift_days=_WEEKS),
            "customer_id": _of("User", "Card"),
            "merchant_id": _of("Merchant Name"),
            "amount": _of("Amount", form="money"),
            LABEL: _of("Is Fraud?", values=_YES_NO),
            KNOWN_AT: _LABELLED_AFTER,
        },
        leaks=("Errors?",),
        skip_refunds=True,
    ),
    "ulb_creditcard": ColumnMap(
        "ulb_creditcard",
        {
            **{f"v{i:02d}": _of(f"V{i}") for i in range(1, 29)},
            "amount": _of("Amount"),
            LABEL: _of("Class"),
        },
    ),
    "amlworld": ColumnMap(
        "cards",
        {
            ID: _BY_ROW,
            "time": _of("Timestamp", shift_days=_AML_WEEKS),
            "customer_id": _of("From Bank", "Account"),
            "merchant_id": _of("To Bank", "Account.1"),
            "amount": _of("Amount Paid"),
            LABEL: _of("Is Laundering"),
            KNOWN_AT: _LABELLED_AFTER,
        },
    ),
    "ieee_cis": ColumnMap(
        "ieee_cis",
        {
            "amount": _of("TransactionAmt"),
            **{f"c{i:02d}": _of(f"C{i}") for i in range(1, 15)},
            **{f"d{i:02d}": _of(f"D{i}") for i in range(1, 16)},
            LABEL: _of("isFraud"),
        },
        ids=("TransactionID", "card1", "card2", "card3", "card5", "addr1"),
    ),
    "baf": ColumnMap("baf", {LABEL: _of("fraud_bool")}, leaks=("device_fraud_count",)),
}
"""By the names that DATA_PRESET takes."""


def preset_named(name: str) -> ColumnMap:
    """The preset of that name, or an error that lists the names there are."""
    if name not in PRESETS:
        raise Invalid(f"DATA_PRESET must be one of {', '.join(PRESETS)}, got {name[:40]!r}")
    return PRESETS[name]
