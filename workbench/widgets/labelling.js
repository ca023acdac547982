// The labelling window: one wrong answer beside the right one, and the keys that say what is wrong with it.
// Everything is set as text, never as HTML: models and training data write HTML.

const STYLE = `
.wb-label { --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent);
  --quiet: color-mix(in srgb, currentColor 72%, transparent);
  --accent: color-mix(in srgb, #1a86c8 70%, currentColor); --bad: color-mix(in srgb, #d9480f 75%, currentColor);
  container-type: inline-size; padding: .9rem 1.1rem 1rem; border: 1px solid var(--line);
  border-radius: 6px; color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit));
  font: 14px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }
.wb-label, .wb-label * { box-sizing: border-box; }
.wb-label:focus-within { border-color: var(--accent); }
.wb-label:focus, .wb-label button:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.wb-label .wb-line { display: flex; flex-wrap: wrap; gap: .35rem .8rem; align-items: baseline; }
.wb-label .wb-line > strong { font-size: 15px; font-variant-numeric: tabular-nums; }
.wb-label .wb-quiet { color: var(--quiet); font-variant-numeric: tabular-nums; }
.wb-label .wb-last { margin-left: auto; }
.wb-label:focus-within .wb-hint { visibility: hidden; }
.wb-label .wb-done { height: 3px; margin: .45rem 0 .7rem; background: var(--line); border-radius: 2px; }
.wb-label .wb-done div { height: 100%; background: var(--accent); border-radius: 2px; }
.wb-label h4 { margin: 0 0 .15rem; font: 600 12px/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--quiet); }
.wb-label pre { margin: 0; padding: 0; border: 0; background: none; color: inherit; white-space: pre-wrap;
  overflow-wrap: anywhere; word-break: normal; font: 14px/1.55 var(--jp-content-font-family, system-ui, sans-serif); }
.wb-label .wb-question { max-height: 30vh; overflow: auto; margin-bottom: .8rem; }
.wb-label .wb-texts { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin-bottom: .8rem; }
.wb-label .wb-texts section { min-width: 0; max-height: 50vh; overflow: auto; padding: .5rem .75rem .7rem;
  border: 1px solid var(--line); border-radius: 5px; background: var(--soft); }
.wb-label .wb-kinds { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: .45rem; }
@container (max-width: 560px) { .wb-label .wb-texts { grid-template-columns: 1fr; } }
.wb-label button { font: inherit; font-size: 13px; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid var(--line); border-radius: 4px; padding: .18rem .55rem; min-height: 28px; text-align: left; }
.wb-label .wb-kinds button { display: grid; grid-template-columns: auto 1fr; gap: 0 .5rem; padding: .35rem .55rem; }
.wb-label .wb-kinds button span { grid-column: 2; color: var(--quiet); }
.wb-label button:hover { background: var(--soft); }
.wb-label button[aria-pressed="true"] { border-color: var(--accent); background: var(--soft);
  box-shadow: inset 3px 0 0 var(--accent); }
.wb-label button:disabled { opacity: .45; cursor: default; }
.wb-label kbd { font: 11px/1.4 var(--jp-code-font-family, ui-monospace, monospace); color: var(--quiet);
  border: 1px solid var(--line); border-radius: 3px; padding: .1rem .28rem; background: none; box-shadow: none; }
.wb-label .wb-trouble { color: var(--bad); font-weight: 600; }
.wb-label .wb-foot { margin-top: .7rem; }
.wb-label [hidden] { display: none; }
`;

const PATIENCE = 1500; // milliseconds until we say that the kernel does not answer

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  let waiting;
  const row = () => model.get("row");
  const root = make("div", {
    class: "wb-label",
    tabindex: "0",
    role: "group",
    "aria-label": "Labelling of failures; press a number for what is wrong",
    "data-lm-suppress-shortcuts": "true", // else the letters are the notebook's commands
  });
  const progress = make("strong");
  const standing = make("span", { class: "wb-quiet" });
  const origin = make("span", { class: "wb-quiet" });
  const done = make("div");
  const said = make("span", { class: "wb-quiet", role: "status", "aria-live": "polite" });
  const question = make("pre");
  const texts = ["The right answer", "The model's answer"].map((name) => {
    const text = make("pre");
    return { text, section: make("section", { role: "region", "aria-label": name }, make("h4", {}, name), text) };
  });
  const end = make("p", { hidden: "" });

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
  function button(key, name, act, meaning = "") {
    const made = make("button", { type: "button", "aria-label": meaning ? `${name}: ${meaning}` : name });
    made.append(make("kbd", { "aria-hidden": "true" }, key), meaning ? make("b", {}, name) : ` ${name}`);
    if (meaning) made.append(make("span", {}, meaning));
    made.addEventListener("click", act);
    return made;
  }
  const kinds = row().kinds.map(([key, name, meaning]) => button(key, name, () => send("label", key), meaning));
  const back = button("p", "Back", () => send("back"));
  const skip = button("0", "Leave it open", () => send("skip"));
  const undo = button("u", "Undo", () => send("undo"));

  function draw() {
    clearTimeout(waiting);
    const shown = row();
    tell(shown.trouble || shown.said, Boolean(shown.trouble));
    const isEnd = shown.at === shown.of;
    progress.textContent = isEnd ? "The end" : `${(shown.at + 1).toLocaleString("en")} of ${shown.of.toLocaleString("en")}`;
    standing.textContent = shown.standing;
    done.style.width = `${(100 * shown.at) / shown.of}%`;
    end.hidden = !isEnd;
    end.textContent = "That was the last one. Back leads to those before; else run the next cell.";
    for (const part of [question.parentElement, texts[0].section.parentElement, kinds[0].parentElement])
      part.hidden = isEnd;
    back.disabled = shown.at === 0;
    skip.disabled = isEnd;
    origin.textContent = isEnd ? "" : `${shown.origin}${shown.judged ? ` · the judge says: ${shown.judged}` : ""}`;
    if (isEnd) return;
    question.textContent = shown.question;
    texts[0].text.textContent = shown.reference || "(there is none)";
    texts[1].text.textContent = shown.answer || "(an empty answer)";
    for (const { section } of texts) section.scrollTop = 0;
    row().kinds.forEach(([key], n) => kinds[n].setAttribute("aria-pressed", shown.picked === key));
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    if (event.target.closest("button") && [" ", "Enter"].includes(event.key)) return; // press the button
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Tab") return;
    event.preventDefault();
    const scroll = { ArrowDown: 60, ArrowUp: -60 }[key];
    if (scroll) return texts.forEach(({ section }) => section.scrollBy({ top: scroll }));
    if (event.repeat) return; // a held key must not label ten failures
    if (row().kinds.some(([number]) => number === key)) send("label", key);
    else if (["0", "n", "ArrowRight"].includes(key)) send("skip");
    else if (["p", "ArrowLeft", "Backspace"].includes(key)) send("back");
    else if (key === "u") send("undo");
  });
  root.addEventListener("mousedown", (event) => {
    event.stopPropagation(); // the notebook would take the focus for its cell
    if (!event.target.closest("button")) root.focus({ preventScroll: true });
  });
  // A click on a button leaves the keys working: the window has the focus again.
  root.addEventListener("click", (event) => event.target.closest("button") && root.focus({ preventScroll: true }));

  root.append(
    make("style", {}, STYLE),
    make("div", { class: "wb-line" }, progress, standing, said, make("span", { class: "wb-last wb-quiet wb-hint" }, "Click here, then use the keys")),
    make("div", { class: "wb-done", "aria-hidden": "true" }, done),
    origin,
    make("div", { class: "wb-question" }, make("h4", {}, "Question"), question),
    make("div", { class: "wb-texts" }, ...texts.map(({ section }) => section)),
    make("div", { class: "wb-kinds", role: "toolbar", "aria-label": "What is wrong" }, ...kinds),
    end,
    make("div", { class: "wb-line wb-foot" }, skip, back, undo),
  );
  el.append(root);
  model.on("change:row", draw);
  draw();
  return () => {
    clearTimeout(waiting);
    model.off("change:row", draw);
  };
}

export default { render };
