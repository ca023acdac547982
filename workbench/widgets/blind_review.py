"""Choose between two answers without knowing which model gave which: one key, and the next question comes.

The browser never learns a model's name, and each key that decides is on disk before
the next question comes. What has been preferred is in ``preferences``, at any moment
and for any cell. Headless, and wherever no browser answers, it is a table.
"""

from collections.abc import Mapping

from workbench.dataset.dataset import ROWS_SHOWN, counted
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.preferences import Preferences, preferences
from workbench.evaluation.ratings import SIDES, AnswerPair, Choice, Rating, Ratings, Side, matches
from workbench.widgets.card import Queue
from workbench.widgets.row_review import LONGEST, shown

_PLACES = ("first", "second")
_PICKED: dict[str, str] = {"first": "answer 1", "second": "answer 2", "skip": "skipped"}


def blind_review(
    base: Evaluation,
    tuned: Evaluation,
    *,
    ratings: Ratings,
    rater: str = "",
    seed: int = 0,
    sample: int | None = None,
) -> "BlindReview":
    """Let me say which answers are better; it opens at the first question that I have not rated.

    Questions come in random order, and so do the two answers; both are the same again for the same
    ``rater`` and ``seed``. ``sample`` draws so many questions. Several people rate one after the other, or
    at once, into the same ``ratings``, each by a name of their own.
    """
    return BlindReview(base, tuned, ratings, rater, seed, sample)


class BlindReview(Queue):
    """The window: one question, two answers, and the keys that choose; it shows no model's name."""

    script = "blind_review.js"
    item = "question"
    _asked: tuple[AnswerPair, ...]

    def __init__(
        self,
        base: Evaluation,
        tuned: Evaluation,
        ratings: Ratings,
        rater: str,
        seed: int,
        sample: int | None,
    ) -> None:
        """Open at the first question that is still open."""
        self._base, self._tuned, self._ratings = base, tuned, ratings
        self._rater, self._seed = rater, seed
        self._asked = matches(base, tuned, seed=seed, sample=sample).asked
        self._notes: dict[str, str] = {}  # of questions that are not rated yet
        rated = self._rated()
        self._at = next((n for n, m in enumerate(self._asked) if m.key not in rated), len(self._asked))
        super().__init__()

    @property
    def preferences(self) -> Preferences:
        """What all people prefer by now; it names the models, so ask for it when you have finished."""
        return preferences(self._base, self._tuned, self._ratings)

    def __repr__(self) -> str:
        """How far it is; nothing of who leads, which would sway the next choice."""
        return f"Blind review of {counted(len(self._asked), 'question')}: {self._standing()}"

    def _repr_html_(self) -> str:
        rated, rows = self._rated(), []
        for match in self._asked[:ROWS_SHOWN]:
            answers = match.in_order(self._first(match, rated))
            rows.append((match.question, *answers, _PICKED.get(picked := self._picked(match, rated), picked)))
        return self._table(("question", "answer 1", "answer 2", "better"), rows)

    def _decide(self, place: int, content: Mapping[str, object]) -> str:
        match content.get("do"), content.get("value"):
            case "next", _:
                self._at = place + 1
            case "choose", ("first" | "second" | "tie" | "both bad" | "skip") as said:
                self._choose(self._asked[place], said)
                self._at = place + 1
                return "Skipped." if said == "skip" else "Saved."
            case "note", str(text):
                return self._note(self._asked[place], text.strip())
        return ""

    def _choose(self, match: AnswerPair, said: str) -> None:
        rated = self._rated()
        first = self._first(match, rated)
        second = SIDES[1 - SIDES.index(first)]
        choices: dict[str, Choice] = {"first": first, "second": second, "tie": "tie", "both bad": "both bad"}
        self._rate(match, Rating(choices.get(said, "skip"), first, note=self._noted(match, rated)))

    def _note(self, match: AnswerPair, text: str) -> str:
        rating = self._rated().get(match.key)
        if rating is None:
            self._notes[match.key] = text
            return "The note is saved with your choice."
        self._rate(match, Rating(rating.choice, rating.first, note=text))
        return "Note saved."

    def _rate(self, match: AnswerPair, rating: Rating) -> None:
        self._ratings.rate(match, rating.choice, first=rating.first, rater=self._rater, note=rating.note)

    def _rated(self) -> dict[str, Rating]:
        """What this person has rated, by the question's key."""
        latest = self._ratings.latest.items()
        return {key: rating for (key, rater), rating in latest if rater == self._rater}

    def _first(self, match: AnswerPair, rated: Mapping[str, Rating]) -> Side:
        """Whose answer comes first: as it was when it was rated, else as the lot falls."""
        rating = rated.get(match.key)
        return (rating and rating.first) or match.first_for(self._rater, self._seed)

    def _picked(self, match: AnswerPair, rated: Mapping[str, Rating]) -> str:
        rating = rated.get(match.key)
        if rating is None or rating.choice not in SIDES:
            return rating.choice if rating else ""
        return _PLACES[rating.choice != rating.first]

    def _noted(self, match: AnswerPair, rated: Mapping[str, Rating]) -> str:
        rating = rated.get(match.key)
        return rating.note if rating else self._notes.get(match.key, "")

    def _standing(self) -> str:
        rated = self._rated()
        mine = [rated[match.key].choice for match in self._asked if match.key in rated]
        skipped = mine.count("skip")
        by = f" by {self._rater}" if self._rater else ""
        still = len(self._asked) - len(mine)
        return f"{len(mine) - skipped:,} rated{by}, {skipped:,} skipped, {still:,} open"

    def _in_view(self) -> dict[str, object]:
        view = super()._in_view() | {"standing": self._standing()}
        if self._at == len(self._asked):
            return view
        match, rated = self._asked[self._at], self._rated()
        texts = (match.question, match.reference, *match.in_order(self._first(match, rated)))
        question, reference, one, other = (shown(text[:LONGEST]) for text in texts)
        return view | {
            "question": question,
            "reference": reference,
            "texts": [one, other],
            "picked": self._picked(match, rated),
            "note": shown(self._noted(match, rated)),
        }
