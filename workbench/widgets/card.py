"""What all widgets worked by keys share: one row in view, what a key asks for, and undo.

``class Problems(Card)`` names its script, ``script = "problems.js"``, gives the row in view (``_in_view``)
and does what a key asks for (``_do``). The script begins behind ``card.js``, whose comment lists what is
there: ``make``, ``button`` and ``card``, which bring the look in light and dark, the keys, the help, the
field to write in and the message that the kernel is busy::

    function render({ model, el }) {
      const list = make("pre");
      const problems = card({ model, el }, {
        name: "wb-problems", label: "Problems of the data", keys: { d: () => problems.send("drop") },
        help: [["d", "drop the row"]], scroll: [list], draw: (row) => { list.textContent = row.text; },
      });
      return problems.show(make("div", { class: "wb-line" }, problems.status, problems.keysButton), list);
    }
    export default { render };
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import anywidget
import traitlets

from workbench.dataset.dataset import ROWS_SHOWN
from workbench.display import Window, table
from workbench.errors import WorkbenchError
from workbench.settings import setting

_FOLDER = Path(__file__).parent


class Card(Window, anywidget.AnyWidget):
    """A widget worked by keys: what a key asks for comes as a message, and what comes of it is shown.

    A subclass has ``script``, the name of its file beside this one, and ``_do``, ``_in_view``, ``__repr__``
    and ``_repr_html_``, which is what it is headless. It sets its own state before ``super().__init__()``.
    """

    script: ClassVar[str]

    row = traitlets.Dict().tag(sync=True)
    """What the browser shows: plain values, all of what is in view."""

    def __init_subclass__(cls) -> None:
        """Put the shared script before the class's own."""
        if "script" in cls.__dict__:
            texts = (_FOLDER / name for name in ("card.js", cls.script))
            cls._esm = "\n".join(path.read_text(encoding="utf-8") for path in texts)
        super().__init_subclass__()

    def __init__(self) -> None:
        """Show the row at which it opens."""
        self._answers = 0
        self._undos: list[Callable[[], object]] = []
        super().__init__(row=self._view())
        self.on_msg(self._hear)

    def open(self) -> None:
        """Tell the browser that there is a widget; headless there is none to tell."""
        if setting("WORKBENCH_HEADLESS") != "1":
            super().open()

    def _hear(self, _widget: object, content: Mapping[str, object], _buffers: object) -> None:
        """Do what a key asked for, and show what comes of it, also when it cannot be saved."""
        said = trouble = ""
        try:
            said = self._undo() if content.get("do") == "undo" else self._do(content)
        except WorkbenchError as error:
            trouble = f"Not saved. {error}"
        self.row = self._view(said, trouble)

    def _view(self, said: str = "", trouble: str = "") -> dict[str, object]:
        self._answers += 1  # so that a key that changes nothing is answered as well
        return {"answers": self._answers, "said": said, "trouble": trouble, **self._in_view()}

    def _do(self, content: Mapping[str, object]) -> str:
        """Do what a key asked for (``do``, ``row``, ``value``); what is given back is shown in ``status``."""
        raise NotImplementedError

    def _in_view(self) -> dict[str, object]:
        """All that the browser needs to know of the row in view; its place is ``at``."""
        raise NotImplementedError

    def _undone_by(self, undo: Callable[[], object]) -> None:
        """What takes back the change that was just made; the message ``undo`` calls the latest."""
        self._undos.append(undo)

    def _undo(self) -> str:
        if not self._undos:
            return "Nothing was changed here since this was opened."
        self._undos[-1]()  # one that fails is not forgotten
        self._undos.pop()
        return "Undone."


class Queue(Card):
    """A card that asks for one item after the other, with a page behind the last one.

    A subclass sets ``_asked`` and ``_at``, and has ``_decide`` in place of ``_do``.
    """

    item: ClassVar[str]
    """What one of them is called."""
    _asked: Sequence[object]
    _at: int

    def _do(self, content: Mapping[str, object]) -> str:
        place = content.get("row")
        if not isinstance(place, int) or not 0 <= place <= len(self._asked):
            return ""
        # The item that the person saw, which is another one if two keys came quickly.
        self._at = place
        if content.get("do") == "back":
            self._at = max(place - 1, 0)
            return "" if place else f"This is the first {self.item}."
        return "" if place == len(self._asked) else self._decide(place, content)

    def _decide(self, place: int, content: Mapping[str, object]) -> str:
        """Do what a key asked for about the item at ``place``."""
        raise NotImplementedError

    def _in_view(self) -> dict[str, object]:
        return {"at": self._at, "of": len(self._asked)}

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
        """The first items, for who has no browser."""
        more = f", the first {ROWS_SHOWN}" if len(self._asked) > ROWS_SHOWN else ""
        return table(f"{self!r}{more}", columns, rows)
