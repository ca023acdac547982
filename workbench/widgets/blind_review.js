// The blind review's window: one question, two answers side by side, and the keys that choose.
// Everything is set as text, never as HTML: models write HTML. It never gets a model's name.

const STYLE = `
.wb-blind { --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent);
  --quiet: color-mix(in srgb, currentColor 72%, transparent);
  --accent: color-mix(in srgb, #1a86c8 70%, currentColor); --bad: color-mix(in srgb, #d9480f 75%, currentColor);
  container-type: inline-size; max-width: 74rem; padding: .9rem 1.1rem 1rem; border: 1px solid var(--line);
  border-radius: 6px; color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit));
  font: 14px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }
.wb-blind, .wb-blind * { box-sizing: border-box; }
.wb-blind:focus-within { border-color: var(--accent); }
.wb-blind:focus, .wb-blind textarea:focus, .wb-blind button:focus-visible { outline: 2px solid var(--accent);
  outline-offset: -2px; }
.wb-blind .wb-line { display: flex; flex-wrap: wrap; gap: .35rem .6rem; align-items: baseline; }
.wb-blind .wb-line > strong { font-size: 15px; font-variant-numeric: tabular-nums; }
.wb-blind .wb-quiet { color: var(--quiet); font-variant-numeric: tabular-nums; }
.wb-blind .wb-last { margin-left: auto; }
.wb-blind:focus-within .wb-hint { visibility: hidden; }
.wb-blind .wb-done { height: 3px; margin: .45rem 0 .7rem; background: var(--line); border-radius: 2px; }
.wb-blind .wb-done div { height: 100%; background: var(--accent); border-radius: 2px; }
.wb-blind h4 { margin: 0 0 .15rem; font: 600 12px/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--quiet); }
.wb-blind pre { margin: 0; padding: 0; border: 0; background: none; color: inherit; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 14px/1.55 var(--jp-content-font-family, system-ui, sans-serif); }
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
.wb-blind button { font: inherit; font-size: 13px; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid var(--line); border-radius: 4px; padding: .18rem .55rem; min-height: 28px; }
.wb-blind .wb-choices button { min-height: 36px; font-weight: 600; }
.wb-blind button:hover { background: var(--soft); }
.wb-blind button[aria-pressed="true"] { border-color: var(--accent); background: var(--soft);
  box-shadow: inset 0 -3px 0 var(--accent); }
.wb-blind button:disabled { opacity: .45; cursor: default; }
.wb-blind kbd { font: 11px/1 var(--jp-code-font-family, ui-monospace, monospace); color: var(--quiet);
  border: 1px solid var(--line); border-radius: 3px; padding: .1rem .28rem; margin: 0 .15rem 0 .4rem;
  background: none; box-shadow: none; }
.wb-blind .wb-trouble { color: var(--bad); font-weight: 600; }
.wb-blind .wb-extra { margin: .2rem 0 .8rem; padding: .5rem .75rem; border-left: 3px solid var(--accent);
  background: var(--soft); max-height: 30vh; overflow: auto; }
.wb-blind textarea { display: block; width: 100%; max-width: 48rem; margin: .2rem 0 .4rem; padding: .4rem .5rem;
  font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: 4px; }
.wb-blind .wb-help { columns: 20rem 2; margin: .6rem 0 0; padding: .6rem .8rem; list-style: none;
  background: var(--soft); border-radius: 4px; }
.wb-blind .wb-help kbd { margin-left: 0; }
.wb-blind [hidden] { display: none; }
.wb-blind .wb-end { padding: 1.5rem 0; font-size: 15px; }
`;

const PATIENCE = 1500; // milliseconds until we say that the kernel does not answer
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

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  let waiting;
  let reads = false; // the reference
  let writes = null; // the note's text area while it is open
  const row = () => model.get("row");
  const root = make("div", {
    class: "wb-blind",
    tabindex: "0",
    role: "group",
    "aria-label": "Blind review of two answers; press ? for the keys",
    "data-lm-suppress-shortcuts": "true", // else the letters are the notebook's commands
  });
  const progress = make("strong");
  const standing = make("span", { class: "wb-quiet" });
  const done = make("div");
  const said = make("span", { class: "wb-quiet", role: "status", "aria-live": "polite" });
  const question = make("pre");
  const texts = [1, 2].map((n) => make("section", { role: "region", "aria-label": `Answer ${n}`, tabindex: "-1" }));
  const extra = make("div", { class: "wb-extra", hidden: "" });
  const end = make("p", { class: "wb-end", hidden: "" });
  const help = make("ul", { class: "wb-help", hidden: "" });
  help.append(
    ...HELP.map(([keys, meaning]) =>
      make("li", {}, ...keys.split(" ").map((key) => make("kbd", {}, key)), ` ${meaning}`),
    ),
  );

  function tell(text, isTrouble = false) {
    said.textContent = text;
    said.classList.toggle("wb-trouble", isTrouble);
  }
  function send(action, value = null) {
    clearTimeout(waiting);
    waiting = setTimeout(
      () => tell("The kernel does not answer: it is busy or gone. Nothing is saved until it does.", true),
      PATIENCE,
    );
    model.send({ do: action, row: row().at, value });
  }
  function button(name, key, act) {
    const made = make("button", { type: "button", "aria-label": name }, name);
    made.append(make("kbd", { "aria-hidden": "true" }, key));
    made.addEventListener("click", act);
    return made;
  }
  const buttons = CHOICES.map(([choice, name, key]) => {
    const made = button(name, key, () => send("choose", choice));
    made.setAttribute("data-place", choice);
    return made;
  });
  const back = button("Back", "p", () => send("back"));
  const skip = button("Skip", "s", () => send("choose", "skip"));
  const note = button("Note", "c", write);
  const reference = button("Reference", "r", () => { reads = !reads; draw(); });
  const keys = button("Keys", "?", () => { help.hidden = !help.hidden; });

  function write() {
    if (row().at === row().of) return;
    writes = make("textarea", { rows: "3", "aria-label": "Note" });
    writes.value = row().note;
    const save = button("Save", "Ctrl+Enter", () => send("note", writes.value));
    const leave = button("Leave it", "Esc", close);
    extra.replaceChildren(make("h4", {}, "Note"), writes, make("div", { class: "wb-line" }, save, leave));
    extra.hidden = false;
    writes.focus();
  }
  function close() {
    writes = null;
    draw();
    root.focus({ preventScroll: true });
  }

  let drawn = -1;
  function draw() {
    const shown = row();
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
      writes = null;
    }
    const noted = !isEnd && shown.note ? `Note: ${shown.note}` : "";
    const wanted = reads && !isEnd ? shown.reference || "There is no reference answer." : "";
    if (!writes) {
      const parts = [];
      if (wanted) parts.push(make("h4", {}, "Reference"), make("pre", {}, wanted));
      if (noted) parts.push(make("div", { class: "wb-quiet" }, noted));
      extra.replaceChildren(...parts);
      extra.hidden = !parts.length;
    }
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
  function answered() {
    clearTimeout(waiting);
    const shown = row();
    if (writes && !shown.trouble) close();
    tell(shown.trouble || shown.said, Boolean(shown.trouble));
    draw();
  }

  root.addEventListener("keydown", (event) => {
    if (event.target === writes) {
      event.stopPropagation(); // Ctrl+Enter would run the cell
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send("note", writes.value);
      else return;
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    if (event.target.closest("button") && [" ", "Enter"].includes(event.key)) return; // press the button
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const scroll = { ArrowDown: 60, ArrowUp: -60 }[key];
    if (key === "Tab") return;
    event.preventDefault();
    if (scroll) return texts.forEach((section) => section.scrollBy({ top: scroll }));
    if (event.repeat) return; // a held key must not rate ten questions
    if (key in KEYS) send("choose", KEYS[key]);
    else if (key === "p" || key === "Backspace") send("back");
    else if (key === "n") send("next");
    else if (key === "c") write();
    else if (key === "r") reference.click();
    else if (key === "?") keys.click();
    else if (key === "Escape" && writes) close();
  });
  root.addEventListener("mousedown", (event) => {
    event.stopPropagation(); // the notebook would take the focus for its cell
    if (!event.target.closest("button, textarea")) root.focus({ preventScroll: true });
  });

  root.append(
    make("style", {}, STYLE),
    make("div", { class: "wb-line" }, progress, standing, said, make("span", { class: "wb-last wb-quiet wb-hint" }, "Click here, then use the keys")),
    make("div", { class: "wb-done", "aria-hidden": "true" }, done),
    make("div", { class: "wb-question" }, make("h4", {}, "Question"), question),
    make("div", { class: "wb-texts" }, ...texts),
    make("div", { class: "wb-choices", role: "toolbar", "aria-label": "Which answer is better" }, ...buttons),
    end,
    extra,
    make("div", { class: "wb-line" }, back, skip, note, reference, keys),
    help,
  );
  el.append(root);
  model.on("change:row", answered);
  answered();
  return () => {
    clearTimeout(waiting);
    model.off("change:row", answered);
  };
}

export default { render };
