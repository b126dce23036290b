"""The published Olist files are read as they are, with all their dirt, and no order is lost."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecomlib import olist
from ecomlib.errors import BadInput, EcomlibError
from ecomlib.importing import BAD_ROW, Findings, Imported
from ecomlib.olist import ITEMS, ORDERS, PAYMENTS, read_olist

OLIST_FILES = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "olist"

ORDER_COLUMNS = (
    "order_id,customer_id,order_status,order_purchase_timestamp,order_approved_at,"
    "order_delivered_carrier_date,order_delivered_customer_date,order_estimated_delivery_date"
)
PAYMENT_COLUMNS = "order_id,payment_sequential,payment_type,payment_installments,payment_value"
ITEM_COLUMNS = "order_id,order_item_id,product_id,seller_id,shipping_limit_date,price,freight_value"

# a arrives; b, paid in two parts, is cancelled; c is unpaid and has no item. It is winter: UTC is 3 hours on.
A = "a,anna,delivered,2018-07-01 10:00:00,2018-07-01 10:20:00,2018-07-02 09:00:00,2018-07-05 18:00:00,"
B = "b,ben,canceled,2018-07-01 22:30:00,2018-07-01 23:00:00,,,2018-07-20 00:00:00"
C = "c,cleo,created,2018-07-03 08:00:00,,,,2018-07-20 00:00:00"
GOOD = {
    ORDERS: [ORDER_COLUMNS, C, A, B],
    PAYMENTS: [PAYMENT_COLUMNS, "b,1,credit_card,1,10.10", "a,1,boleto,1,50.00", "b,2,voucher,1,0.2", "c,1,boleto,1,7"],
    ITEMS: [ITEM_COLUMNS, "a,1,p,s,2018-07-04 00:00:00,45.00,5.00", "b,1,p,s,2018-07-04 00:00:00,10.00,0.30"],
}
Files = dict[str, list[str]]


def write(folder: Path, files: Files) -> Path:
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def read_in_new_folder(files: dict[str, bytes]) -> Imported:
    """For many examples in one test: each gets a folder of its own."""
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return read_olist(folder)


def as_bytes(files: Files) -> dict[str, bytes]:
    return {name: "\n".join(lines).encode() for name, lines in files.items()}


def told(imported: Imported) -> list[str]:
    return [f"{event.time:%d %H:%M} {event!r}" for event in imported.events]


GOOD_STORY = [
    "01 13:00 <order.created order_id='a', amount='50.00', user_id='anna'>",
    "01 13:20 <order.paid order_id='a', amount='50.00', user_id='anna'>",
    "02 01:30 <order.created order_id='b', amount='10.30', user_id='ben'>",
    "02 02:00 <order.paid order_id='b', amount='10.30', user_id='ben'>",
    "02 02:00 <order.cancelled order_id='b'>",
    "02 12:00 <order.shipped order_id='a'>",
    "03 11:00 <order.created order_id='c', amount='7.00', user_id='cleo'>",
    "05 21:00 <order.delivered order_id='a'>",
]


class TestAFolder:
    def test_becomes_events_in_order_of_time_in_utc(self, tmp_path: Path) -> None:
        assert told(read_olist(write(tmp_path, GOOD))) == GOOD_STORY

    def test_may_be_gzipped_in_part(self, tmp_path: Path) -> None:
        write(tmp_path, GOOD)
        for name in (ORDERS, ITEMS):
            plain = tmp_path / name
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        assert told(read_olist(str(tmp_path))) == GOOD_STORY

    def test_may_be_as_it_was_saved_on_windows_with_quotes(self) -> None:
        files = as_bytes(GOOD)
        files[ORDERS] = b"\xef\xbb\xbf" + files[ORDERS].replace(b"\n", b"\r\n").replace(b"a,anna", b'"a","anna"')
        assert told(read_in_new_folder(files)) == GOOD_STORY

    def test_may_have_its_columns_in_any_order_and_more_of_them(self, tmp_path: Path) -> None:
        payments = ["note,payment_value,order_id", ",10.30,b", "hi,50,a", ",7.00,c"]
        assert told(read_olist(write(tmp_path, GOOD | {PAYMENTS: payments}))) == GOOD_STORY

    def test_needs_no_items(self, tmp_path: Path) -> None:
        imported = read_olist(write(tmp_path, {name: GOOD[name] for name in (ORDERS, PAYMENTS)}))
        assert told(imported) == GOOD_STORY
        assert imported.findings.counts[olist.NO_ITEMS] == 0
        assert f"{ITEMS} is not there, so" in str(imported.findings)

    def test_read_twice_gives_the_same_events(self, tmp_path: Path) -> None:
        first, second = read_olist(write(tmp_path, GOOD)), read_olist(tmp_path)
        assert first.events == second.events
        assert first.events[0].id == "a:order.created"
        assert len({event.id for event in first.events}) == len(first.events)

    def test_tells_which_order_each_event_belongs_to(self, tmp_path: Path) -> None:
        for event in read_olist(write(tmp_path, GOOD)).events:
            assert event.subject == event.data.order_id
            assert event.correlationid == f"{event.subject}:order.created"

    def test_with_no_orders_says_so(self, tmp_path: Path) -> None:
        imported = read_olist(write(tmp_path, {ORDERS: [ORDER_COLUMNS], PAYMENTS: [PAYMENT_COLUMNS]}))
        assert imported.events == []
        assert "holds no orders" in str(imported.findings)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Imported]:
    """Reads the good files with more rows: `read(orders=[...], payments=[...])`."""

    def reader(orders: list[str] | None = None, payments: list[str] | None = None) -> Imported:
        more = {ORDERS: GOOD[ORDERS] + (orders or []), PAYMENTS: GOOD[PAYMENTS] + (payments or [])}
        return read_olist(write(tmp_path, GOOD | more))

    return reader


def events_of(order_id: str, imported: Imported) -> list[str]:
    return [event.type for event in imported.events if event.subject == order_id]


class TestWhatIsDirty:
    def test_is_counted_with_examples(self, read: Callable[..., Imported]) -> None:
        assert read().findings.sentences() == [
            "1 of the cancelled orders had been paid: b.",
            "1 of the orders had several payments, which were added up: b.",
            "1 of the orders had no items: c.",
        ]

    def test_shows_only_the_first_examples(self) -> None:
        findings = Findings()
        for n in range(1, 6):
            findings.add("orders were odd", f"order {n}")
        assert str(findings) == "5 of the orders were odd: order 1; order 2; order 3; …"

    def test_an_order_whose_times_run_backwards_keeps_them(self, read: Callable[..., Imported]) -> None:
        imported = read(["d,,shipped,2018-07-01 10:00:00,2018-07-03 10:00:00,2018-07-02 10:00:00,,"])
        assert events_of("d", imported) == ["order.created", "order.shipped", "order.paid"]
        assert imported.findings.examples[olist.BACKWARDS] == ["d"]

    def test_an_order_without_payments_is_kept_with_amount_zero(self, read: Callable[..., Imported]) -> None:
        imported = read(["d,,approved,2018-07-01 10:00:00,2018-07-01 10:00:00,,,"])
        amounts = [event.data.amount for event in imported.events if event.subject == "d"]
        assert amounts == [Decimal("0.00")] * 2
        assert imported.findings.examples[olist.NO_PAYMENTS] == ["d"]

    def test_an_order_that_was_cancelled_after_all_else_is_told_so_last(self, read: Callable[..., Imported]) -> None:
        times = "2018-07-01 10:00:00,2018-07-01 11:00:00,2018-07-03 10:00:00,2018-07-02 10:00:00"
        imported = read([f"d,,canceled,{times},"])
        (cancelled,) = (e for e in imported.events if e.type == "order.cancelled" and e.subject == "d")
        assert events_of("d", imported)[-1] == "order.cancelled"
        assert cancelled.time == datetime(2018, 7, 3, 13, tzinfo=UTC)
        for type, what in olist.CANCELLED_YET.items():
            assert "d" in imported.findings.examples[what], type

    def test_a_delivered_order_without_its_date_is_not_delivered(self, read: Callable[..., Imported]) -> None:
        imported = read(["d,,delivered,2018-07-01 10:00:00,2018-07-01 11:00:00,2018-07-02 10:00:00,,"])
        assert "order.delivered" not in events_of("d", imported)
        assert imported.findings.examples[olist.NO_DELIVERY_DATE] == ["d"]

    def test_a_payment_of_an_unknown_order_is_named(self, read: Callable[..., Imported]) -> None:
        imported = read(payments=["nobody,1,boleto,1,5.00"])
        assert told(imported) == GOOD_STORY
        assert imported.findings.examples[olist.UNKNOWN_ORDER] == ["nobody"]

    def test_a_second_row_of_an_order_is_left_out_with_its_place(self, read: Callable[..., Imported]) -> None:
        imported = read(["a,anna,created,2018-07-01 10:00:00,,,,"])
        assert told(imported) == GOOD_STORY
        assert imported.findings.examples[olist.DUPLICATE] == [f"a ({ORDERS}, line 5)"]

    def test_a_time_that_cannot_be_read_costs_only_its_own_fact(self, read: Callable[..., Imported]) -> None:
        imported = read(["d,,shipped,2018-07-01 10:00:00,soon,2018-07-02 10:00:00,2018-07-09 10:00:00+01,"])
        assert events_of("d", imported) == ["order.created", "order.shipped"]
        assert imported.findings.examples[olist.BAD_TIME] == [
            f"{ORDERS}, line 5 (order_approved_at is 'soon')",
            f"{ORDERS}, line 5 (order_delivered_customer_date is '2018-07-09 10:00:00+01')",
        ]

    @pytest.mark.parametrize(
        ("row", "why"),
        [
            ("d,,created,,,,,", "does not say when the order was placed"),
            ("d,,created,yesterday,,,,", "does not say when the order was placed"),
            (",,created,2018-07-01 10:00:00,,,,", "order_id"),
            ("d,created", "2 columns instead of 8"),
            ('"d,,created,2018-07-01 10:00:00,,,,', "unexpected end of data"),
            ("x" * 200_000, "field larger than field limit"),
        ],
    )
    def test_a_row_that_cannot_be_read_is_named_with_its_line(
        self, read: Callable[..., Imported], row: str, why: str
    ) -> None:
        imported = read(["", row, "e,,created,2018-07-09 10:00:00,,,,"])
        assert told(imported)[:-1] == GOOD_STORY
        assert events_of("e", imported) == ["order.created"]
        (example,) = imported.findings.examples[BAD_ROW]
        assert example.startswith(f"{ORDERS}, line 6 (")
        assert why in example

    @pytest.mark.parametrize("value", ["", "five", "-5.00", "nan", "inf", "0.001", "1e99", "999999999"])
    def test_a_payment_that_cannot_be_read_is_named_and_the_others_count(
        self, read: Callable[..., Imported], value: str
    ) -> None:
        imported = read(payments=["a,2,boleto,1,999999.99", f"a,3,boleto,1,{value}"])
        (amount,) = {e.data.amount for e in imported.events if e.subject == "a" and e.type == "order.paid"}
        assert amount == Decimal("1000049.99")
        (example,) = imported.findings.examples[BAD_ROW]
        assert example.startswith(f"{PAYMENTS}, line 7 (")


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


class TestWhatCannotBeRead:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="nowhere is not a folder"):
            read_olist(tmp_path / "nowhere")

    @pytest.mark.parametrize("name", [ORDERS, PAYMENTS])
    def test_a_file_that_is_not_there(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(BadInput, match=f"has no {name} or {name}.gz"):
            read_olist(write(tmp_path, {other: lines for other, lines in GOOD.items() if other != name}))

    @pytest.mark.parametrize("name", [ORDERS, PAYMENTS, ITEMS])
    def test_a_file_with_other_columns(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(BadInput, match=rf"{name}, line 1: no column is called order_id"):
            read_olist(write(tmp_path, GOOD | {name: ["year,month", "2018,7"]}))

    @pytest.mark.parametrize("name", [ORDERS, PAYMENTS, ITEMS])
    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x1f\x8b\x08" + bytes(500)])
    def test_a_file_with_nothing_in_it(self, name: str, content: bytes) -> None:
        with pytest.raises(BadInput, match=f"{name}, line 1"):
            read_in_new_folder(as_bytes(GOOD) | {name: content})

    @pytest.mark.parametrize("name", [ORDERS, PAYMENTS, ITEMS])
    def test_ten_megabytes_of_noise(self, name: str) -> None:
        with pytest.raises(BadInput, match=f"{name}, line 1"):
            read_in_new_folder(as_bytes(GOOD) | {name: random.Random(1).randbytes(10_000_000)})

    def test_noise_below_a_right_first_line(self) -> None:
        noise = ORDER_COLUMNS.encode() + b"\n" + random.Random(2).randbytes(1_000_000)
        with pytest.raises(
            BadInput, match=r"not one order could be read.*line \d+ \(it is not text in UTF-8\)"
        ) as error:
            read_in_new_folder(as_bytes(GOOD) | {ORDERS: noise})
        assert len(str(error.value)) < 1000

    def test_a_folder_in_the_place_of_a_file(self, tmp_path: Path) -> None:
        write(tmp_path, GOOD)
        (tmp_path / PAYMENTS).unlink()
        (tmp_path / PAYMENTS).mkdir()
        with pytest.raises(BadInput, match=f"{PAYMENTS} can't be read"):
            read_olist(tmp_path)

    def test_a_gzip_file_that_breaks_off_is_named_with_the_line(self) -> None:
        orders = [f"{n},,created,2018-07-01 10:00:00,,,," for n in range(5000)]
        whole = packed("\n".join([ORDER_COLUMNS, *orders]).encode())
        files = as_bytes(GOOD)
        del files[ORDERS]
        with pytest.raises(BadInput, match=rf"{ORDERS}.gz, line \d+: the gzip file breaks off"):
            read_in_new_folder(files | {f"{ORDERS}.gz": whole[: len(whole) // 2]})

    def test_a_gzip_file_cut_or_changed_anywhere_never_passes_for_whole(self) -> None:
        files = as_bytes(GOOD)
        whole = packed(files.pop(ORDERS))
        for place in range(2, len(whole)):
            with pytest.raises(BadInput):
                read_in_new_folder(files | {f"{ORDERS}.gz": whole[:place]})
            changed = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
            try:
                assert told(read_in_new_folder(files | {f"{ORDERS}.gz": changed})) == GOOD_STORY
            except BadInput:
                continue

    @given(st.sampled_from([ORDERS, PAYMENTS, ITEMS]), st.booleans(), st.booleans(), st.binary(max_size=300))
    def test_any_bytes_at_all_end_in_an_import_or_in_a_sentence(
        self, name: str, with_header: bool, zipped: bool, content: bytes
    ) -> None:
        header = GOOD[name][0].encode() + b"\n" if with_header else b""
        with suppress(EcomlibError):
            read_in_new_folder(as_bytes(GOOD) | {name: packed(header + content) if zipped else header + content})

    @given(
        st.sampled_from([ORDERS, PAYMENTS, ITEMS]),
        st.integers(1, 4),
        st.binary(max_size=80).map(lambda noise: noise.replace(b"\n", b"")),
    )
    def test_a_row_of_garbage_anywhere_costs_no_good_order(self, name: str, place: int, garbage: bytes) -> None:
        lines = [line.encode() for line in GOOD[name]]
        lines.insert(min(place, len(lines)), garbage)
        assert told(read_in_new_folder(as_bytes(GOOD) | {name: b"\n".join(lines)})) == GOOD_STORY

    order_text = st.text(st.characters(exclude_characters=',"\r\n', exclude_categories=["Cs"]), max_size=30)

    @given(st.lists(order_text, min_size=8, max_size=8), st.lists(order_text, min_size=5, max_size=5))
    def test_a_row_of_the_right_shape_and_any_content_costs_no_good_order(
        self, order: list[str], payment: list[str]
    ) -> None:
        files = GOOD | {ORDERS: [*GOOD[ORDERS], ",".join(order)], PAYMENTS: [*GOOD[PAYMENTS], ",".join(payment)]}
        assert set(GOOD_STORY) <= set(told(read_in_new_folder(as_bytes(files))))


if OLIST_FILES.is_dir():

    @pytest.fixture(scope="module")
    def real() -> Imported:
        return read_olist(OLIST_FILES)

    @pytest.fixture(scope="module")
    def table() -> pd.DataFrame:
        """The files added up by pandas, which knows nothing of the importer."""
        orders = pd.read_csv(OLIST_FILES / f"{ORDERS}.gz")
        payments = pd.read_csv(OLIST_FILES / f"{PAYMENTS}.gz")
        cents = (payments.payment_value * 100).round().astype("int64").groupby(payments.order_id).sum()
        return orders.assign(cents=orders.order_id.map(cents))

    def test_the_published_files_have_the_facts_that_they_are_said_to_have(real: Imported) -> None:
        assert Counter(event.type for event in real.events) == {
            "order.created": 8135,
            "order.paid": 7989,
            "order.shipped": 6353,
            "order.delivered": 5170,
            "order.cancelled": 625,
        }
        revenue = sum(event.data.amount for event in real.events if event.type == "order.paid")
        assert revenue == Decimal("1393427.64")
        assert len({event.id for event in real.events}) == len(real.events)
        assert [event.time for event in real.events] == sorted(event.time for event in real.events)

    def test_the_published_files_have_the_dirt_that_they_are_said_to_have(real: Imported) -> None:
        assert real.findings.counts == {
            olist.BACKWARDS: 80,
            olist.CANCELLED_YET["order.paid"]: 484,
            olist.CANCELLED_YET["order.shipped"]: 75,
            olist.CANCELLED_YET["order.delivered"]: 6,
            olist.NO_DELIVERY_DATE: 8,
            olist.NO_ITEMS: 775,
            olist.SEVERAL_PAYMENTS: 274,
        }

    def test_orders_and_revenue_by_month_are_those_that_pandas_adds_up(real: Imported, table: pd.DataFrame) -> None:
        zone = ZoneInfo("America/Sao_Paulo")
        created, revenue = Counter[str](), Counter[str]()
        for event in real.events:
            month = f"{event.time.astimezone(zone):%Y-%m}"
            if event.type == "order.created":
                created[month] += 1
            elif event.type == "order.paid":
                revenue[month] += int(event.data.amount * 100)
        placed, paid = table.order_purchase_timestamp.str[:7], table.order_approved_at.str[:7]
        assert created == placed.value_counts().to_dict()
        assert revenue == table.groupby(paid).cents.sum().to_dict()

    def test_each_time_is_local_to_sao_paulo(real: Imported, table: pd.DataFrame) -> None:
        stamps = dict(zip(table.order_id, table.order_purchase_timestamp, strict=True))
        for event in real.events:
            if event.type == "order.created":
                local = event.time.astimezone(ZoneInfo("America/Sao_Paulo"))
                assert f"{local:%Y-%m-%d %H:%M:%S}" == stamps[event.subject]
        summer = next(event for event in real.events if event.type == "order.created")
        assert summer.time == datetime(2016, 9, 5, 0, 15, 19, tzinfo=UTC)
