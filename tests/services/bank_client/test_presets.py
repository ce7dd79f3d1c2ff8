"""The presets on a few made-up rows in the public sets' own columns and formats."""

# ruff: noqa: E501  # rows as the sets have them

from pathlib import Path

import pytest

from fedfraud.contract import contract_named
from fedfraud.transactions import SCHEMAS
from services.bank_client.own_data import load
from services.bank_client.presets import PRESETS
from services.bank_client.settings import Settings
from services.bank_client.transactions import Transactions

NOW = 1_700_000_000
APRIL = 1_522_540_800  # 2018-04-01
DAY = 86_400

HANDBOOK = """TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,TX_FRAUD_SCENARIO
0,2018-04-01 00:00:31,596,3156,57.16,31,0,0,0
1,2018-04-01 00:02:10,4961,3412,81.51,130,0,1,1
2,2018-04-01 00:07:56,2,1365,146.0,476,0,1,2
"""
SPARKOV = """,trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,city_pop,job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud
0,2019-01-01 00:00:18,2703186189652095,"fraud_Rippin, Kub and Mann",misc_net,4.97,A,B,F,S,C,NC,28654,36,-81,3495,J,1988-03-09,0b242abb,1325376018,36.0,-82.0,0
1,2019-01-01 00:00:44,630423337322,"fraud_Heller",grocery_pos,107.23,A,B,F,S,C,WA,99160,48,-118,149,J,1978-06-21,1f76529f,1325376044,49.1,-118.1,1
2,2019-01-01 00:00:51,38859492057661,"fraud_Lind",x,220.11,A,B,M,S,C,ID,83252,42,-112,4154,J,1962-01-19,a1a22d70,1325376051,43.1,-112.1,1
"""
PAYSIM = """step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud
1,PAYMENT,9839.64,C1231006815,170136.0,160296.36,M1979787155,0.0,0.0,0,0
1,TRANSFER,181.0,C1305486145,181.0,0.0,C553264065,0.0,0.0,1,0
743,CASH_OUT,181.0,C840083671,181.0,0.0,C38997010,21182.0,0.0,1,0
"""
TABFORMER = """User,Card,Year,Month,Day,Time,Amount,Use Chip,Merchant Name,Merchant City,Merchant State,Zip,MCC,Errors?,Is Fraud?
0,0,2019,1,1,06:21,$134.09,Swipe Transaction,3527213246127876953,La Verne,CA,91750.0,5300,,No
0,0,2019,1,1,06:42,$-38.48,Swipe Transaction,-727612092139916043,Monterey Park,CA,91754.0,5411,,No
0,1,2019,1,2,16:42,"$1,120.34",Swipe Transaction,-727612092139916043,Monterey Park,CA,91754.0,5411,,Yes
3,1,2019,1,2,16:42,$5.00,Online Transaction,-727612092139916043,ONLINE,,,5411,Bad PIN,Yes
"""


AMLWORLD = """Timestamp,From Bank,Account,To Bank,Account.1,Amount Received,Receiving Currency,Amount Paid,Payment Currency,Payment Format,Is Laundering
2022/08/01 00:17,020,800104D70,020,800104D71,6794.63,US Dollar,6794.63,US Dollar,Reinvestment,0
2022/08/01 00:02,03196,800107150,03196,800107150,7739.29,US Dollar,7739.29,US Dollar,Reinvestment,1
2022/09/01 23:59,01208,80010E430,020,80010E520,15.00,Euro,17.52,US Dollar,ACH,1
"""


def payments(folder: Path, preset: str, text: str) -> Transactions:
    (folder / "rows.csv").write_text(text)
    found = load(Settings(data_dir=folder, dataset="rows.csv", data_preset=preset), contract_named("cards"), NOW)
    assert found.report.findings.faults == []
    assert found.payments is not None
    return found.payments


def test_the_handbooks_columns(tmp_path: Path) -> None:
    made = payments(tmp_path, "handbook", HANDBOOK)
    assert (made.time - APRIL).tolist() == [31, 130, 476]
    assert made.amount.tolist() == [5716, 8151, 14600]
    assert made.customer_ids == ("596", "4961", "2")
    assert made.merchant_ids == ("3156", "3412", "1365")
    assert made.label.tolist() == [0, 1, 1]
    assert (made.known_at - made.time).tolist() == [7 * DAY] * 3


def test_sparkovs_columns_a_whole_number_of_weeks_earlier(tmp_path: Path) -> None:
    made = payments(tmp_path, "sparkov", SPARKOV)
    assert (made.time - APRIL).tolist() == [2 * DAY + 18, 2 * DAY + 44, 2 * DAY + 51]  # a Tuesday, as it was
    assert made.merchant_ids[0] == "fraud_Rippin, Kub and Mann"
    assert made.amount.tolist() == [497, 10723, 22011]


def test_paysims_columns_in_the_last_month_of_the_plan(tmp_path: Path) -> None:
    made = payments(tmp_path, "paysim", PAYSIM)
    assert (made.time - APRIL).tolist() == [28 * DAY + 3600, 28 * DAY + 3600, 28 * DAY + 743 * 3600]
    assert made.time[-1] < APRIL + 59 * DAY
    assert made.merchant_ids == ("M1979787155", "C553264065", "C38997010")


def test_tabformers_columns_without_refunds(tmp_path: Path) -> None:
    made = payments(tmp_path, "tabformer", TABFORMER)
    assert made.amount.tolist() == [13409, 112034, 500]
    assert made.customer_ids == ("0-0", "0-1", "3-1")
    assert (made.time - APRIL).tolist() == [2 * DAY + 22_860, 3 * DAY + 60_120, 3 * DAY + 60_120]
    assert made.label.tolist() == [0, 1, 1]


def test_rows_after_a_refund_that_was_left_out_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(TABFORMER.replace("$5.00", "five"))
    found = load(Settings(data_dir=tmp_path, dataset="rows.csv", data_preset="tabformer"), contract_named("cards"), NOW)
    assert [fault.row for fault in found.report.findings.faults] == [4]
    assert found.report.figures["refunds_left_out"] == 1


def test_ulbs_columns(tmp_path: Path) -> None:
    names = ["Time", *(f"V{i}" for i in range(1, 29)), "Amount", "Class"]
    rows = [["0", *(str(i / 8) for i in range(28)), "149.62", str(int(row < 20))] for row in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(",".join(f'"{cell}"' for cell in row) for row in [names, *rows]))
    settings = Settings(data_dir=tmp_path, dataset="rows.csv", data_preset="ulb_creditcard")
    table = load(settings, contract_named("ulb_creditcard"), NOW).table()
    assert table.features[0].tolist() == [*(i / 8 for i in range(28)), 149.62]
    assert table.fraud_count == 20


def test_amlworlds_columns_with_banks_in_the_accounts_names(tmp_path: Path) -> None:
    made = payments(tmp_path, "amlworld", AMLWORLD)
    assert (made.time - APRIL).tolist() == [DAY + 120, DAY + 17 * 60, 32 * DAY + 86_340]  # a Monday, as it was
    assert sorted(made.customer_ids) == ["01208-80010E430", "020-800104D70", "03196-800107150"]
    assert sorted(made.merchant_ids) == ["020-800104D71", "020-80010E520", "03196-800107150"]
    assert (made.amount.tolist(), made.label.tolist()) == ([773_929, 679_463, 1_752], [1, 0, 1])


def test_ieee_ciss_columns_with_gaps_where_the_set_has_them(tmp_path: Path) -> None:
    names = ["TransactionID", "isFraud", "TransactionDT", "TransactionAmt", "ProductCD", "card1", "dist1", "dist2"]
    names += [*(f"C{i}" for i in range(1, 15)), *(f"D{i}" for i in range(1, 16)), "M1", "V1"]
    first = [["2987000", "1", "86400", "68.5", "W", "13926", "19.0", ""], [str(i) for i in range(1, 15)]]
    rest = [["14.0", *[""] * 14], ["T", "1.0"]]
    rows = [cell for part in (*first, *rest) for cell in part]
    more = [[str(2_987_000 + row), str(int(row < 20)), *rows[2:]] for row in range(40)]
    (tmp_path / "rows.csv").write_text("\n".join(",".join(row) for row in [names, *more]) + "\n")
    settings = Settings(data_dir=tmp_path, dataset="rows.csv", data_preset="ieee_cis")
    table = load(settings, contract_named("ieee_cis"), NOW).table()
    known = dict(zip([feature.name for feature in SCHEMAS["ieee_cis"]], table.features[0].tolist(), strict=True))
    assert (known["amount"], known["c01"], known["c14"]) == (68.5, 1.0, 14.0)
    assert (known["dist1"], known["dist1_known"], known["dist2_known"]) == (19.0, 1.0, 0.0)
    assert (known["d01"], known["d01_known"], known["d15_known"]) == (14.0, 1.0, 0.0)
    assert (table.fraud_count, len(known)) == (20, 1 + 14 + 2 * 17)


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_of_another_set_is_refused_by_the_columns_that_it_lacks(tmp_path: Path, name: str) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    settings = Settings(data_dir=tmp_path, dataset="rows.csv", data_preset=name)
    found = load(settings, contract_named(PRESETS[name].contract), NOW)
    assert {fault.rule for fault in found.report.findings.faults} == {"column"}
