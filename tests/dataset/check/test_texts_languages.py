import pytest

from workbench.dataset.check.methods import CheckTask
from workbench.dataset.check.privacy import Privacy
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import Phase, completed
from workbench.dataset.check.sources import DatasetSource
from workbench.dataset.check.texts import Languages, language_of
from workbench.dataset.dataset import Dataset
from workbench.dataset.read import read
from workbench.settings import ROOT

ENGLISH = "What is the price of the blue one, and how would you send it?"
GERMAN = "Was kostet der blaue, und wie würden Sie ihn mit der Post schicken?"
SAMPLES = ROOT / "data" / "gql"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("English", ENGLISH),
        ("German", GERMAN),
        ("French", "Quel est le prix de la voiture bleue, et comment vous la livrez ?"),
        ("Spanish", "El precio del coche azul es alto, pero está en una oferta para los socios."),
        ("Italian", "Il prezzo della macchina è alto, ma non è più caro di questo."),
        ("Portuguese", "O preço do carro é alto, mas você não paga mais com uma conta."),
        ("Dutch", "De prijs van het huis is niet hoog, maar ik wil dat je het ook ziet."),
        ("Swedish", "Priset är inte högt och jag har en bil som är till salu för dig."),
        ("Danish or Norwegian", "Prisen er ikke høj og jeg har en bil som er til salg."),
        ("Polish", "Cena nie jest wysoka, ale to się zmieni dla tego klienta."),
        ("Czech", "Cena není vysoká, ale to se změní, protože jsem také zákazník."),
        ("Turkish", "Bu ürün için fiyat çok yüksek değil ve daha ucuz bir model var."),
        ("Hungarian", "Az ár nem magas, és ez csak egy ajánlat volt, hogy vegye meg."),
        ("Finnish", "Hinta ei ole korkea, mutta se on myös tarjous ja hän tietää sen."),
        ("Indonesian", "Harga ini tidak tinggi dan barang yang ada di toko adalah untuk anda."),
        ("Vietnamese", "Giá của một chiếc xe này không cao và được bán cho những người trong."),
        ("Russian or another in Cyrillic", "Сколько стоит синяя машина сегодня?"),
        ("Greek", "Πόσο κοστίζει το μπλε αυτοκίνητο σήμερα;"),
        ("Japanese", "青い車の値段はいくらですか。教えてください。よろしく。"),
        ("Chinese", "请问这辆蓝色的汽车今天多少钱？可以打折吗？谢谢您。"),
        ("Korean", "파란색 자동차는 오늘 얼마입니까? 할인되나요?"),
        ("Arabic or Persian", "كم سعر السيارة الزرقاء اليوم؟ وهل هناك خصم؟"),
        ("Thai", "รถสีน้ำเงินราคาเท่าไหร่วันนี้ มีส่วนลดไหม"),
    ],
)
def test_a_sentence_tells_its_language(language, text):
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "the of and to",  # shorter than twenty characters
        "customers ~ vip = yes ~ id has X7 -> name, year up spend take 1",
        "SELECT name FROM orders WHERE id IN (1, 2) AND NOT paid AS x",
        "for x in y:\n    if not x and y is None:\n        return self.value",
        '{"intent": "refund", "order_id": 1234567}',
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "12345678901234567890 1234567890",
    ],
)
def test_code_queries_and_short_texts_have_no_language(text):
    assert language_of(text) == ""


def found(*said: tuple[str, str]) -> list[tuple[str, str, list[int]]]:
    languages = Languages()
    for number, (question, answer) in enumerate(said):
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        languages.add([Row(number, {"messages": messages})])
    source = DatasetSource(Dataset("faq", ()))
    return [(completed(found).level, found.message, list(rows)) for found, rows in languages.found(source)]


def test_an_answer_in_another_language_than_its_question_is_a_warning():
    assert found(*[(ENGLISH, ENGLISH)] * 99, (GERMAN, GERMAN), (ENGLISH, GERMAN))[-1] == (
        "warning",
        "the question seems to be English, the answer German (estimated)",
        [100],
    )


def test_a_file_of_translations_is_meant():
    levels = [level for level, *_ in found(*[(ENGLISH, GERMAN)] * 60, *[(GERMAN, ENGLISH)] * 60)]
    assert levels == ["info"]


def test_a_mix_is_worth_knowing_with_its_shares():
    message = "the answers are in several languages (estimated): English 75 %, German 25 %"
    assert found(*[(ENGLISH, ENGLISH)] * 75, *[(GERMAN, GERMAN)] * 25) == [("info", message, [])]


def test_the_one_row_in_another_language_is_listed():
    message = "the answer seems to be German, 99 % are English (estimated)"
    assert found(*[(ENGLISH, ENGLISH)] * 149, (GERMAN, GERMAN)) == [("info", message, [149])]


def test_one_language_and_a_query_are_nothing_to_talk_about():
    assert found(*[(ENGLISH, "orders ~ paid = yes -> count per customer")] * 50) == []


@pytest.mark.parametrize("name", ["pairs.csv", "test.csv"])
def test_the_sample_data_have_no_findings(name):
    dataset = read(SAMPLES / name, question="question", answer="query", system="Always return GQL.")
    rows = [Row(number, example.wire) for number, example in enumerate(dataset)]
    for collector in (Phase("texts", CheckTask("sft")), Privacy()):
        collector.add(rows)
        assert list(collector.found(DatasetSource(dataset))) == []
