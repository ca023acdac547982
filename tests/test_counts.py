"""The rules of numbers: examples, images, bytes."""

import pickle
from dataclasses import dataclass

import pytest

from workbench.dataset.check.check import Counts, no_validation, sizes
from workbench.dataset.check.row import Row

MB = 1024**2
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/c.png"}}
PLAIN = {"messages": [{"role": "user", "content": "q"}]}
SEEN = {"messages": [{"role": "user", "content": [IMAGE]}]}


@dataclass
class Faq:
    """A source of no rows, because numbers need none."""

    name: str = "faq.jsonl"

    def origin(self, number: int) -> str:
        return f"{self.name}:{number}"

    def row(self, number: int) -> Row:
        raise LookupError(number)


def counted(number: int, method: str = "sft", role: str = "training", value: object = PLAIN) -> Counts:
    counts = Counts(method, role)
    counts.add([Row(n, value) for n in range(number)])
    return counts


def found(counts: Counts) -> list[tuple[str, str]]:
    return [(finding.level, finding.rule) for finding, _ in counts.found(Faq())]


TOO_FEW, FEW, START = ("error", "too_few"), ("warning", "few"), ("info", "few")


@pytest.mark.parametrize(
    ("number", "findings"),
    [(0, [TOO_FEW]), (9, [TOO_FEW]), (10, [FEW]), (49, [FEW]), (50, [START]), (499, [START]), (500, [])],
)
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_there_must_be_enough_examples(method, number, findings):
    assert found(counted(number, method)) == findings


@pytest.mark.parametrize(
    ("number", "findings"),
    [(9, [TOO_FEW]), (10, [FEW]), (50, [START]), (199, [START]), (200, []), (2_000, []), (2_001, [START])],
)
def test_prompts_for_reinforcement_are_some_hundreds(number, findings):
    assert found(counted(number, "rft")) == findings


def test_a_finding_names_the_number():
    ((finding, numbers),) = counted(9).found(Faq())
    assert (finding.path, list(numbers)) == ("", [])
    assert finding.message == "9 examples, and a job needs at least 10"
    ((finding, _),) = counted(1, "dpo").found(Faq())
    assert (finding.message, finding.fix) == ("1 pair, and a job needs at least 10", "add pairs")


def test_only_reinforcement_needs_so_many_for_validation():
    assert found(counted(9, "rft", "validation")) == [("error", "too_few")]
    assert found(counted(10, "rft", "validation")) == []
    assert found(counted(1, "sft", "validation")) == []
    assert found(counted(1, "rft", "test")) == []


def test_reinforcement_needs_validation_data():
    assert [finding[:2] for finding in no_validation("rft")] == [("error", "no_validation")]
    assert no_validation("sft") == []
    assert no_validation("dpo") == []


def test_images_are_counted_and_what_the_service_drops_is_told():
    counts = counted(500, value=SEEN)
    ((finding, _),) = counts.found(Faq())
    assert (finding.level, finding.rule) == ("info", "images")
    assert finding.message.startswith("500 examples with images, of which the service leaves out")


def test_at_most_50_000_examples_have_images():
    most = Counts("sft")
    for _ in range(50):
        most.merge(counted(1_000, value=SEEN))
    assert found(most) == [("info", "images")]
    most.merge(counted(1, value=SEEN))
    assert found(most) == [("error", "images")]


def test_what_is_no_message_has_no_image():
    counts = Counts("sft")
    counts.add([Row(1, {}), Row(2, {"messages": 5}), Row(3, {"messages": [5, {"content": [5]}]})])
    assert (counts.examples, counts.with_images) == (3, 0)


def test_pieces_make_the_same_numbers_as_the_whole():
    rows = [Row(n, SEEN if n % 3 else PLAIN) for n in range(60)]
    whole, pieces = Counts("sft"), Counts("sft")
    whole.add(rows)
    for start in range(0, 60, 7):
        piece = Counts("sft")
        piece.add(rows[start : start + 7])
        pieces.merge(pickle.loads(pickle.dumps(piece)))
    assert list(pieces.found(Faq())) == list(whole.found(Faq()))
    assert (pieces.examples, pieces.with_images) == (60, 40)


@pytest.mark.parametrize(
    ("size", "level"),
    [
        (150 * MB, None),
        (150 * MB + 1, "warning"),
        (512 * MB - 1, "warning"),
        (512 * MB, "error"),
        (1024 * MB + 1, "error"),
        (8 * 1024 * MB + 1, "error"),
    ],
)
def test_a_file_can_be_too_large(size, level):
    assert [finding.level for finding in sizes(size)] == ([level] if level else [])


def test_each_size_has_its_own_way_out():
    warned, portal, refused, resource, parts = (sizes(mb * MB)[0] for mb in (151, 200, 512, 1_025, 8_193))
    assert (
        warned.message
        == "the file has 151 MB, and jobs on more than 150 MB in one upload were seen to fail late"
    )
    assert portal.message.endswith("; the portal takes less than 200 MB")
    assert refused.message == "the file has 512 MB, and one upload takes less than 512 MB"
    assert refused.fix == warned.fix == "upload it in parts of 64 MB through /uploads"
    assert resource.message == (
        "the file has 1,025 MB, and all fine-tuning files of a resource together may have 1 GB"
    )
    assert parts.message == "the file has 8,193 MB, and 8 GB is the most in parts"
