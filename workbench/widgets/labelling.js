// The labelling window: one wrong answer beside the right one, and the keys that say what is wrong with it.

const STYLE = `
.wb-label { max-width: none; }
.wb-label .wb-question { max-height: 30vh; overflow: auto; margin: .5rem 0 .8rem; }
.wb-label .wb-texts { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin-bottom: .8rem; }
.wb-label .wb-texts section { min-width: 0; max-height: 50vh; overflow: auto; padding: .5rem .75rem .7rem;
  border: 1px solid var(--line); border-radius: 5px; background: var(--soft); }
.wb-label .wb-kinds { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .45rem;
  margin-bottom: .7rem; }
@container (max-width: 560px) { .wb-label .wb-texts { grid-template-columns: 1fr; } }
.wb-label .wb-kinds { align-items: start; }
.wb-label .wb-kinds button { text-align: left; padding: .35rem .6rem; height: 100%; }
.wb-label .wb-kinds button span { display: block; color: var(--quiet); font-weight: normal; }
.wb-label [hidden] { display: none; } /* a grid would stay */
`;

function render({ model, el }) {
  const progress = make("strong");
  const standing = make("span", { class: "wb-quiet" });
  const origin = make("span", { class: "wb-quiet" });
  const done = make("div");
  const question = make("pre");
  const [right, said] = [make("pre"), make("pre")];
  const sections = [["The right answer", right], ["The model's answer", said]].map(([name, text]) =>
    make("section", { role: "region", "aria-label": name }, make("h4", {}, name), text),
  );
  const end = make("p", { hidden: "" }, "That was the last one. Back leads to those before; else run the next cell.");
  const kinds = model.get("row").kinds;
  const skipped = () => window.send("skip");
  const before = () => window.send("back");
  const actions = {
    0: skipped, n: skipped, ArrowRight: skipped, p: before, ArrowLeft: before, Backspace: before,
    u: () => window.send("undo"),
  };
  for (const [key] of kinds) actions[key] = () => window.send("label", key);
  const window = card({ model, el }, {
    name: "wb-label",
    label: "Labelling of failures",
    style: STYLE,
    keys: actions,
    help: [
      [`1 – ${kinds.length}`, "say what is wrong, and go on"],
      ["0 n →", "leave it open, and go on"],
      ["p ← ⌫", "back to the one before, to label it again"],
      ["u", "take back the last label"],
      ["↑ ↓", "scroll both answers"],
    ],
    scroll: sections,
    draw,
  });
  const buttons = kinds.map(([key, name, meaning]) => {
    const made = button(name, key, () => clicked(actions[key]), `${name}: ${meaning}`);
    made.append(make("span", {}, meaning));
    return made;
  });
  const back = button("Back", "p", () => clicked(before), "Back", true);
  const skip = button("Leave it open", "0", () => clicked(skipped));

  // After a click the keys go on: the window has the focus, not the button.
  function clicked(act) {
    act();
    window.root.focus({ preventScroll: true });
  }
  function draw(shown) {
    const isEnd = shown.at === shown.of;
    progress.textContent = isEnd ? "The end" : `${(shown.at + 1).toLocaleString("en")} of ${shown.of.toLocaleString("en")}`;
    standing.textContent = shown.standing;
    done.style.width = `${(100 * shown.at) / shown.of}%`;
    end.hidden = !isEnd;
    for (const part of [question.parentElement, sections[0].parentElement, buttons[0].parentElement])
      part.hidden = isEnd;
    back.disabled = shown.at === 0;
    skip.disabled = isEnd;
    origin.textContent = isEnd ? "" : `${shown.origin}${shown.judged ? ` · the judge says: ${shown.judged}` : ""}`;
    if (isEnd) return;
    question.textContent = shown.question;
    right.textContent = shown.reference || "(there is none)";
    said.textContent = shown.answer || "(an empty answer)";
    for (const section of sections) section.scrollTop = 0;
    kinds.forEach(([key], n) => buttons[n].setAttribute("aria-pressed", shown.picked === key));
  }

  window.status.classList.add("wb-quiet");
  return window.show(
    make("div", { class: "wb-line" }, progress, standing, window.status, make("span", { class: "wb-last wb-quiet wb-hint" }, "Click here, then use the keys")),
    make("div", { class: "wb-bar", "aria-hidden": "true" }, done),
    origin,
    make("div", { class: "wb-question" }, make("h4", {}, "Question"), question),
    make("div", { class: "wb-texts" }, ...sections),
    make("div", { class: "wb-kinds", role: "toolbar", "aria-label": "What is wrong" }, ...buttons),
    end,
    make("div", { class: "wb-line" }, skip, back, button("Undo", "u", () => clicked(actions.u)), window.keysButton),
    window.help,
  );
}

export default { render };
