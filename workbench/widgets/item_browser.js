// The item browser's window: which items, the one in view, and the keys that lead to the next.
// The page of an item comes from Python as HTML in which every text is escaped already.

const STYLE = `
.wb-browse { --line: color-mix(in srgb, currentColor 22%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent); --accent: color-mix(in srgb, #1a86c8 70%, currentColor);
  padding: .7rem .9rem; border: 1px solid var(--line); border-radius: 6px;
  color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit));
  font: 14px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }
.wb-browse:focus-within { border-color: var(--accent); }
.wb-browse:focus, .wb-browse :is(button, input, select):focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
.wb-browse .wb-controls { display: flex; flex-wrap: wrap; gap: .4rem .9rem; align-items: center; }
.wb-browse label { display: flex; gap: .4rem; align-items: center; }
.wb-browse :is(button, input, select) { font: inherit; font-size: 13px; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 4px; padding: .18rem .5rem; min-height: 28px; }
.wb-browse option { color: initial; background: initial; }
.wb-browse input[type="number"] { width: 6.5em; }
.wb-browse button { cursor: pointer; }
.wb-browse button:hover { background: var(--soft); }
.wb-browse button:disabled { opacity: .45; cursor: default; }
.wb-browse .wb-hint { margin-left: auto; font-size: 13px; opacity: .8; }
.wb-browse:focus-within .wb-hint { visibility: hidden; }
.wb-browse .wb-trouble { color: color-mix(in srgb, #d9480f 75%, currentColor); font-weight: 600; }
`;

const PATIENCE = 1500; // milliseconds until we say that the kernel does not answer
const TYPED = 300; // milliseconds after the last letter until the words are looked for

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function render({ model, el }) {
  let waiting;
  let typing;
  let goal = 0; // where the keys have led to, which Python may not have drawn yet
  const row = () => model.get("row");
  const root = make("div", {
    class: "wb-browse",
    tabindex: "0",
    role: "group",
    "aria-label": "Items of the comparison; the left and right arrows lead through them",
    "data-lm-suppress-shortcuts": "true", // else letters are the notebook's commands
  });
  const which = make("select", { "aria-label": "Show" });
  const words = make("input", { type: "search", "aria-label": "with the words", placeholder: "in question or answers" });
  const number = make("input", { type: "number", min: "1", "aria-label": "Item" });
  const of = make("span");
  const view = make("div", { "aria-live": "polite" });
  const trouble = make("span", { class: "wb-trouble", role: "status" });
  const back = make("button", { type: "button" }, "← Previous");
  const on = make("button", { type: "button" }, "Next →");

  function send(action, value) {
    clearTimeout(waiting);
    waiting = setTimeout(() => (trouble.textContent = "The kernel does not answer: it is busy or gone."), PATIENCE);
    model.send({ do: action, value });
  }
  function go(place) {
    goal = Math.min(Math.max(place, 0), row().of - 1);
    if (row().of) send("go", goal);
  }
  function draw() {
    clearTimeout(waiting);
    const shown = row();
    trouble.textContent = shown.trouble;
    which.replaceChildren(...shown.filters.map(([name, text]) => make("option", { value: name }, text)));
    which.value = shown.which;
    goal = shown.at;
    number.max = shown.of;
    if (document.activeElement !== number || Number(number.value) !== shown.at + 1) number.value = shown.of ? shown.at + 1 : 0;
    of.textContent = `of ${shown.of.toLocaleString("en")}`;
    back.disabled = shown.at === 0;
    on.disabled = shown.at + 1 >= shown.of;
    view.innerHTML = shown.page;
  }

  which.addEventListener("change", () => send("show", which.value));
  words.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => send("find", words.value), TYPED);
  });
  number.addEventListener("input", () => number.value && go(Number(number.value) - 1));
  back.addEventListener("click", () => go(goal - 1));
  on.addEventListener("click", () => go(goal + 1));
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    if (event.target.closest("input, select")) return; // they have arrows of their own
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const end = { Home: 0, End: row().of - 1 }[event.key];
    if (step === undefined && end === undefined) return;
    event.preventDefault();
    go(step === undefined ? end : goal + step);
  });
  root.addEventListener("mousedown", (event) => {
    event.stopPropagation(); // the notebook would take the focus for its cell
    if (!event.target.closest("button, input, select, summary, pre, td, p")) root.focus({ preventScroll: true });
  });
  // After a click on a button or a text the arrows work: the window has the focus.
  root.addEventListener("click", (event) => {
    if (!event.target.closest("input, select")) root.focus({ preventScroll: true });
  });

  root.append(
    make("style", {}, STYLE),
    make(
      "div",
      { class: "wb-controls" },
      make("label", {}, "Show", which), make("label", {}, "with the words", words),
      make("label", {}, "Item", number), of, back, on, trouble,
      make("span", { class: "wb-hint" }, "Click here, then use ← and →"),
    ),
    view,
  );
  el.append(root);
  model.on("change:row", draw);
  draw();
  return () => {
    clearTimeout(waiting);
    clearTimeout(typing);
    model.off("change:row", draw);
  };
}

export default { render };
