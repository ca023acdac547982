"""Azure's price list: meter names read, impossible prices refused, pages asked for, the last answer kept."""

import json
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from workbench.catalog.azure_prices import (
    Key,
    Meter,
    azure_prices,
    is_of_tuning,
    kept_path,
    key_of,
    meters_in,
    prices_of,
    refresh_prices,
)
from workbench.catalog.catalog import model
from workbench.catalog.citations import Source
from workbench.errors import SetupError

SAID = Source("a list", date(2026, 11, 30), "http://x")
DAY = date(2026, 6, 1)


def meter(name: str, usd: float = 1.0, *, product: str = "Azure OpenAI", unit: str = "1K") -> Meter:
    return Meter(product, name, unit, usd, DAY, ())


@pytest.mark.parametrize(
    ("product", "name", "unit", "key"),
    [
        ("", "gpt-4.1 FT Training global Tokens", "1K", ("gpt-4.1", "training", "globalStandard")),
        ("", "gpt 4.1 mini dev ft training glbl Tokens", "1K", ("gpt-4.1-mini", "training", "developerTier")),
        (
            "",
            "gpt-4.1-nano-ft cached input regnl Tokens",
            "1K",
            ("gpt-4.1-nano", "tuned_cached_input", "standard"),
        ),
        ("", "gpt-4o-0806-FT-Trng-regnl tkn Tokens", "1K", ("gpt-4o", "training", "standard")),
        (
            "",
            "gpt-4o-mini-0718-FT-Hstng-glbl Unit",
            "1 Hour",
            ("gpt-4o-mini", "hosting_hour", "globalStandard"),
        ),
        (
            "",
            "gpt-4o-0806-cached-FT-inp-datazone Tokens",
            "1K",
            ("gpt-4o", "tuned_cached_input", "dataZone"),
        ),
        (" PP FT GPT4s", "4o mini 0718 ft opt Dz Tokens", "1K", ("gpt-4o-mini", "tuned_output", "dataZone")),
        (
            " Reasoning",
            "o4 mini dev RFT Training glb Unit",
            "1 Hour",
            ("o4-mini", "training_hour", "developerTier"),
        ),
        (
            " Reasoning",
            "o4-mini-ft model grader cchd inp Tokens",
            "1K",
            ("o4-mini", "grader_cached_input", ""),
        ),
        ("", "o1 model ft grader output Tokens", "1K", ("o1", "grader_output", "")),
        ("", "o3-ft mdl grdr inpt Tokens", "1K", ("o3", "grader_input", "")),
        (" OSS Models", "OSS-20b FT Tokens", "1K", ("gpt-oss-20b", "training", "globalStandard")),
        (
            " OSS Models",
            "20b FT regnl Deployment Hosting Unit",
            "1/Hour",
            ("gpt-oss-20b", "hosting_hour", "standard"),
        ),
        (" OSS Models", "GPT-OSS-20b-IN-FT Tokens", "1K", ("gpt-oss-20b", "tuned_input", "globalStandard")),
    ],
)
def test_a_meters_name_says_what_it_prices(product, name, unit, key):
    assert key_of(meter(name, product=f"Azure OpenAI{product}", unit=unit)) == Key(*key)


@pytest.mark.parametrize(
    ("product", "name", "key"),
    [
        ("Llama", "Llama3.3-Out-FT Tokens", ("Llama-3.3-70B-Instruct", "tuned_output", "globalStandard")),
        ("Llama", "3.3 70b FT DZ Tokens", ("Llama-3.3-70B-Instruct", "training", "dataZone")),
        ("Mistral", "Ministral 3B Model In-FT Tokens", ("Ministral-3B", "tuned_input", "globalStandard")),
        ("Mistral", "Mnstrl 3b Outp FT regnl Tokens", ("Ministral-3B", "tuned_output", "standard")),
    ],
)
def test_open_weights_are_global_where_no_type_is_named(product, name, key):
    assert key_of(meter(name, product=f"Azure {product} Models")) == Key(*key)


def test_a_name_with_its_words_run_together_is_read():
    glued = meter(
        "Ministral 3bFTregnl Deployment Hosting Unit", product="Azure Mistral Models", unit="1/Hour"
    )
    assert key_of(glued) == Key("Ministral-3B", "hosting_hour", "standard")


@pytest.mark.parametrize(
    "name", ["gpt-4.1 Inp glbl Tokens", "4.1 pp inp Gl Tokens", "babbage-002-FT-Trng-glbl tkn Tokens"]
)
def test_other_meters_are_passed_over(name):
    assert not is_of_tuning(meter(name))


def test_a_meter_that_nobody_can_read_is_named():
    read = prices_of([meter("gpt-9 FT Training global Tokens")], SAID)
    assert (read.prices, read.unread) == ({}, ("Azure OpenAI: gpt-9 FT Training global Tokens, 1K",))


def test_thousands_of_tokens_become_millions():
    read = prices_of([meter("gpt-4.1 FT Training global Tokens", 0.025)], SAID)
    (price,) = read.prices[Key("gpt-4.1", "training", "globalStandard")]
    assert (price.usd, price.source) == (25.0, SAID)


def test_a_price_forty_times_off_is_refused_and_so_are_its_neighbours():
    mixed = {
        "gpt-4o-mini-0718-FT-inp-glbl": 0.00015,
        "gpt-4o-mini-0718-FT-Outp-glbl": 0.0006,
        "gpt 4o mini dev ft inpt glbl": 0.0066,
        "gpt 4o mini dev ft opt glbl": 0.00061,
        "gpt 4o mini dev ft training glbl": 0.0015,
    }
    read = prices_of([meter(f"{name} Tokens", usd) for name, usd in mixed.items()], SAID)
    assert sorted(key.what for key in read.prices) == ["training", "tuned_input", "tuned_output"]
    assert read.refused == {
        Key(
            "gpt-4o-mini", "tuned_input", "developerTier"
        ): "$6.60 per 1M tokens is 44 times the Global price",
        Key("gpt-4o-mini", "tuned_output", "developerTier"): (
            "stands beside gpt-4o-mini, tuned input (developerTier), which cannot be"
        ),
    }


def test_a_jump_against_what_was_known_is_held_back():
    before = prices_of([meter("gpt-4.1 FT Training global Tokens", 0.025)], SAID).prices
    (key,) = before
    jumped = prices_of([meter("gpt-4.1 FT Training global Tokens", 0.125)], SAID, before)
    assert jumped.refused[key] == "$125.00 per 1M tokens is 5 times what it was ($25.00 per 1M tokens)"
    risen = prices_of([meter("gpt-4.1 FT Training global Tokens", 0.1)], SAID, before)
    assert risen.prices[key][0].usd == 100.0


def test_cached_input_that_costs_more_than_input_is_refused():
    dear = [
        meter("gpt-4.1-ft cached input global Tokens", 0.005),
        meter("gpt-4.1-ft input global Tokens", 0.002),
    ]
    assert len(prices_of(dear, SAID).refused) == 2


def test_the_shipped_list_has_what_it_says_and_refuses_what_cannot_be():
    read = azure_prices(None)
    assert (len(read.prices), read.unread) == (180, ())
    assert {(key.model, key.training_type) for key in read.refused} == {
        ("gpt-4o", "developerTier"),
        ("gpt-4o-mini", "developerTier"),
    }
    assert len(read.refused) == 6


# The API: recorded pages, served here


def item(name: str, usd: float, region: str = "eastus2", **more: object) -> dict[str, object]:
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": usd,
        "unitPrice": usd,
        "armRegionName": region,
        "location": "US East 2",
        "effectiveStartDate": "2026-10-01T00:00:00Z",
        "meterName": name,
        "productName": "Azure OpenAI",
        "serviceName": "Foundry Models",
        "unitOfMeasure": "1K",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        **more,
    }


PAGES = [
    [
        item("gpt-4.1 FT Training global Tokens", 0.03),
        item("gpt-4.1 FT Training global Tokens", 0.03, "swedencentral"),
        item("gpt-4.1 FT Training regional Tokens", 0.033, "eastus2"),
        item("gpt-4.1 FT Training regional Tokens", 0.036, "swedencentral"),
    ],
    [
        item("gpt-4.1-mini FT Training global Tokens", 5.0),
        item("gpt-4.1-nano FT Training global Tokens", float("nan")),
        item("gpt-4.1 FT Training global Tokens", 0.04, "usgovvirginia"),
        item("gpt-4.1 FT Training global Tokens", 0.01, type="Reservation"),
        item("gpt-4.1 Inp glbl Tokens", 0.002),
    ],
]


class Api(HTTPServer):
    """As much of the Retail Prices API as is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pages: list[list[dict[str, object]]] = PAGES
        self.asked: list[str] = []
        self.broken: bytes | None = None
        self.elsewhere = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api/retail/prices"


class _Answer(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        api, query = self.server, parse_qs(urlsplit(self.path).query)
        product = query["$filter"][0]
        api.asked.append(product)
        page = int(query.get("$skip", ["0"])[0])
        pages = api.pages if product == "productName eq 'Azure OpenAI'" else [[]]
        more = f"{api.address}?$filter={product.replace(' ', '%20')}&$skip={page + 1}"
        body = {
            "BillingCurrency": "USD",
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": pages[page],
            "NextPageLink": api.elsewhere or (more if page + 1 < len(pages) else None),
            "Count": len(pages[page]),
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(api.broken if api.broken is not None else json.dumps(body).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api(home: Path) -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def price(type: str = "globalStandard", name: str = "gpt-4.1") -> float:
    return model(name).price("training", service="azure", training_type=type).usd


def test_all_pages_of_all_products_are_read_and_kept(api):
    found = refresh_prices(api.address)
    assert api.asked.count("productName eq 'Azure OpenAI'") == 2
    assert len(set(api.asked)) == 6
    assert (price(), price("standard")) == (30.0, 33.0)
    assert (
        "gpt-4.1, training (globalStandard)",
        "$25.00 per 1M tokens",
        "$30.00 per 1M tokens",
    ) in found.changed
    assert str(found.source).startswith("Azure Retail Prices API (")
    assert found.source.url == api.address
    again = refresh_prices(api.address)
    assert again.changed == ()
    assert "nothing changed" in repr(again)


def test_what_cannot_be_is_refused_by_name_and_the_older_price_stays(api):
    found = refresh_prices(api.address)
    refused, odd = found.refused
    assert odd == (
        "gpt-4.1-nano, training (globalStandard)",
        "$nan per 1M tokens is outside 0.1 to 500 dollars",
    )
    assert refused[0] == "gpt-4.1-mini, training (globalStandard)"
    assert refused[1] == "$5,000.00 per 1M tokens is outside 0.1 to 500 dollars"
    assert price(name="gpt-4.1-mini") == 5.0
    assert "refused: gpt-4.1-mini, training (globalStandard): $5,000.00 per 1M tokens is outside" in repr(
        found
    )


def test_government_clouds_and_reservations_are_no_prices_of_ours():
    read = prices_of(meters_in(item for page in PAGES for item in page), SAID)
    assert [each.usd for each in read.prices[Key("gpt-4.1", "training", "globalStandard")]] == [30.0]


def test_offline_the_old_prices_stay(api, home):
    refresh_prices(api.address)
    kept = kept_path().read_text(encoding="utf-8")
    with pytest.raises(
        SetupError, match=r"^http://127\.0\.0\.1:9/x did not answer .*; the prices of .* stay in use"
    ):
        refresh_prices("http://127.0.0.1:9/x")
    assert kept_path().read_text(encoding="utf-8") == kept
    assert price() == 30.0


def test_before_anything_was_kept_the_shipped_prices_stay(home):
    with pytest.raises(SetupError, match="the prices of 2026-08-11 stay in use"):
        refresh_prices("http://127.0.0.1:9/x")
    assert not kept_path().exists()
    assert price() == 25.0


@pytest.mark.parametrize("answer", [b"<html>proxy</html>", b"[]", b'{"Items": [{}]}', b'{"Items": [3]}'])
def test_another_answer_than_prices_changes_nothing(api, answer):
    api.broken = answer
    with pytest.raises(SetupError, match=r"answered something else than prices .* stay in use"):
        refresh_prices(api.address)
    assert price() == 25.0


def test_a_list_without_prices_of_tuning_changes_nothing(api):
    api.pages = [[item("gpt-4.1 Inp glbl Tokens", 0.002)]]
    with pytest.raises(
        SetupError, match="lists no prices of fine-tuning; the prices of 2026-08-11 stay in use"
    ):
        refresh_prices(api.address)


def test_a_next_page_elsewhere_is_not_followed(api):
    api.elsewhere = "http://example.invalid/prices"
    with pytest.raises(SetupError, match="the next page is 'http://example"):
        refresh_prices(api.address)


def test_a_damaged_file_is_named_with_the_way_out(home):
    kept_path().parent.mkdir(parents=True)
    kept_path().write_text("product,meter\n", encoding="utf-8")
    with pytest.raises(SetupError, match=r"azure_meters\.csv is damaged .* delete it and refresh the prices"):
        model("gpt-4.1")
