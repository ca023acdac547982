// The blind review's window: one question, two answers side by side, and the keys that choose.
// It never gets a model's name.

const STYLE = `
.wb-blind .wb-question { max-height: 30vh; overflow: auto; margin-bottom: .8rem; }
.wb-blind .wb-question pre { font-size: 15px; max-width: 58rem; }
.wb-blind .wb-texts { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; }
.wb-blind .wb-texts section { min-width: 0; max-height: 56vh; overflow: auto; padding: .5rem .75rem .7rem;
  border: 1px solid var(--line); border-radius: 5px; background: var(--soft); }
.wb-blind .wb-texts .wb-picked { border: 2px solid var(--accent); padding: calc(.5rem - 1px) calc(.75rem - 1px); }
.wb-blind .wb-choices { display: grid; grid-template-columns: 2fr 1fr 1fr 2fr; gap: .5rem; margin: .8rem 0 .6rem; }
@container (max-width: 560px) {
  .wb-blind .wb-texts { grid-template-columns: 1fr; }
  .wb-blind .wb-choices { grid-template-columns: 1fr 1fr; }
  .wb-blind .wb-choices [data-place="second"] { order: -1; }
  .wb-blind .wb-choices [data-place="first"] { order: -2; }
}
.wb-blind .wb-choices button { min-height: 36px; font-weight: 600; }
.wb-blind .wb-extra { margin: .2rem 0 .8rem; padding: .5rem .75rem; border-left: 3px solid var(--accent);
  background: var(--soft); max-height: 30vh; overflow: auto; }
.wb-blind [hidden] { display: none; } /* a grid would stay */
.wb-blind .wb-end { padding: 1.5rem 0; font-size: 15px; }
`;

const CHOICES = [
  ["first", "Answer 1 is better", "←"],
  ["tie", "Tie", "t"],
  ["both bad", "Both bad", "b"],
  ["second", "Answer 2 is better", "→"],
];
const KEYS = {
  ArrowLeft: "first", 1: "first", ArrowRight: "second", 2: "second", t: "tie", "=": "tie", b: "both bad", s: "skip",
};
const HELP = [
  ["← 1", "answer 1 is better"],
  ["→ 2", "answer 2 is better"],
  ["t", "a tie: neither is better"],
  ["b", "both are bad"],
  ["s", "skip it: I cannot say"],
  ["p ⌫", "back to the question before, to choose again"],
  ["n", "on to the next one, without choosing"],
  ["c", "a note; Ctrl+Enter saves it, Esc leaves it"],
  ["r", "show or hide the reference answer"],
  ["↑ ↓", "scroll both answers"],
];

function render({ model, el }) {
  let reads = false; // the reference
  const progress = make("strong");
  const standing = make("span", { class: "wb-quiet" });
  const done = make("div");
  const question = make("pre");
  const texts = [1, 2].map((n) => make("section", { role: "region", "aria-label": `Answer ${n}`, tabindex: "-1" }));
  const extra = make("div", { class: "wb-extra", hidden: "" });
  const end = make("p", { class: "wb-end", hidden: "" });
  const actions = {
    p: () => blind.send("back"),
    Backspace: () => blind.send("back"),
    n: () => blind.send("next"),
    c: write,
    r: () => reference.click(),
  };
  for (const [key, choice] of Object.entries(KEYS)) actions[key] = () => blind.send("choose", choice);
  const blind = card({ model, el }, {
    name: "wb-blind",
    label: "Blind review of two answers",
    style: STYLE,
    keys: actions,
    help: HELP,
    scroll: texts,
    draw,
  });
  const buttons = CHOICES.map(([choice, name, key]) => {
    const made = button(name, key, () => blind.send("choose", choice));
    made.setAttribute("data-place", choice);
    return made;
  });
  const back = button("Back", "p", actions.p, "Back", true);
  const skip = button("Skip", "s", actions.s);
  const note = button("Note", "c", write);
  const reference = button("Reference", "r", () => { reads = !reads; draw(blind.row()); });

  function write() {
    const shown = blind.row();
    if (shown.at === shown.of) return;
    blind.write({ name: "Note", text: shown.note, save: (text) => blind.send("note", text), leave: "Leave it" });
  }

  let drawn = -1;
  function draw(shown) {
    const isEnd = shown.at === shown.of;
    const isNew = shown.at !== drawn;
    progress.textContent = isEnd ? "The end" : `${(shown.at + 1).toLocaleString("en")} of ${shown.of.toLocaleString("en")}`;
    standing.textContent = shown.standing;
    done.style.width = `${shown.of ? (100 * shown.at) / shown.of : 100}%`;
    end.hidden = !isEnd;
    end.textContent = shown.of
      ? "That was the last one. Back leads to the questions before; the next cell says what is preferred."
      : "Both models gave the same answers; there is nothing to choose.";
    for (const part of [question.parentElement, texts[0].parentElement, buttons[0].parentElement])
      part.hidden = isEnd;
    for (const each of [skip, note, reference]) each.disabled = isEnd;
    back.disabled = shown.at === 0;
    if (isNew) {
      drawn = shown.at;
      reads = false;
    }
    const wanted = reads && !isEnd ? shown.reference || "There is no reference answer." : "";
    const parts = wanted ? [make("h4", {}, "Reference"), make("pre", {}, wanted)] : [];
    if (!isEnd && shown.note) parts.push(make("div", { class: "wb-quiet" }, `Note: ${shown.note}`));
    extra.replaceChildren(...parts);
    extra.hidden = !parts.length;
    reference.setAttribute("aria-pressed", Boolean(wanted));
    if (isEnd) return;
    question.textContent = shown.question;
    texts.forEach((section, n) => {
      const isPicked = shown.picked === ["first", "second"][n];
      const name = `Answer ${n + 1}${isPicked ? ", your choice" : ""}`;
      section.replaceChildren(make("h4", {}, name), make("pre", {}, shown.texts[n] || "(an empty answer)"));
      section.classList.toggle("wb-picked", isPicked);
      if (isNew) section.scrollTop = 0;
    });
    CHOICES.forEach(([choice], n) => buttons[n].setAttribute("aria-pressed", shown.picked === choice));
    skip.setAttribute("aria-pressed", shown.picked === "skip");
  }

  blind.status.classList.add("wb-quiet");
  return blind.show(
    make("div", { class: "wb-line" }, progress, standing, blind.status, make("span", { class: "wb-last wb-quiet wb-hint" }, "Click here, then use the keys")),
    make("div", { class: "wb-bar", "aria-hidden": "true" }, done),
    make("div", { class: "wb-question" }, make("h4", {}, "Question"), question),
    make("div", { class: "wb-texts" }, ...texts),
    make("div", { class: "wb-choices", role: "toolbar", "aria-label": "Which answer is better" }, ...buttons),
    end,
    blind.editor,
    extra,
    make("div", { class: "wb-line" }, back, skip, note, reference, blind.keysButton),
    blind.help,
  );
}

export default { render };
