// What all cards share, put before each card's own script: the look, the keys, the field to write in, and
// what is shown while the kernel is busy. All text is set as text, never as HTML: training data and answers
// contain HTML.

const CARD_STYLE = `
.wb-card { --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent);
  --quiet: color-mix(in srgb, currentColor 72%, transparent);
  --accent: color-mix(in srgb, #1a86c8 70%, currentColor);
  --good: color-mix(in srgb, #2b8a3e 70%, currentColor); --bad: color-mix(in srgb, #d9480f 75%, currentColor);
  --ui: var(--jp-ui-font-family, system-ui, sans-serif);
  --code: var(--jp-code-font-family, ui-monospace, monospace);
  container-type: inline-size; max-width: 74rem; padding: .9rem 1.1rem 1rem; border: 1px solid var(--line);
  border-radius: 6px; color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit));
  font: 14px/1.5 var(--ui); }
.wb-card, .wb-card *, .wb-card *::before { box-sizing: border-box; }
.wb-card:focus-within { border-color: var(--accent); }
.wb-card:focus { outline: 2px solid var(--accent); outline-offset: -2px; }
.wb-card :is(button, textarea, input, select, summary, a):focus-visible { outline: 2px solid var(--accent);
  outline-offset: 1px; }
.wb-card .wb-line { display: flex; flex-wrap: wrap; gap: .35rem .6rem; align-items: baseline; }
.wb-card .wb-line > strong { font-size: 15px; font-variant-numeric: tabular-nums; }
.wb-card .wb-quiet { color: var(--quiet); font-variant-numeric: tabular-nums; }
.wb-card .wb-last { margin-left: auto; }
.wb-card:focus-within .wb-hint { visibility: hidden; }
.wb-card .wb-bar { height: 3px; margin: .45rem 0 .7rem; background: var(--line); border-radius: 2px; }
.wb-card .wb-bar div { height: 100%; background: var(--accent); border-radius: 2px; }
.wb-card h4 { margin: 0 0 .15rem; font: 600 12px/1.5 var(--ui); color: var(--quiet); }
.wb-card pre { margin: 0; padding: 0; border: 0; background: none; color: inherit; white-space: pre-wrap;
  overflow-wrap: anywhere; word-break: normal; unicode-bidi: plaintext;
  font: 14px/1.55 var(--jp-content-font-family, system-ui, sans-serif); }
.wb-card button, .wb-card select { font: inherit; font-size: 13px; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 4px; padding: .18rem .55rem; min-height: 28px; }
.wb-card select option { color: FieldText; background: Field; }
.wb-card button { cursor: pointer; }
.wb-card button:hover { background: var(--soft); }
.wb-card button[aria-pressed="true"] { border-color: var(--accent); background: var(--soft);
  box-shadow: inset 0 -3px 0 var(--accent); font-weight: 600; }
.wb-card :is(button, select, textarea):disabled { opacity: .5; cursor: default; }
.wb-card kbd { font: 11px/1 var(--code); color: var(--quiet); border: 1px solid var(--line); border-radius: 3px;
  padding: .1rem .28rem; margin-left: .4rem; background: none; box-shadow: none; }
.wb-card .wb-trouble, .wb-card .wb-quiet.wb-trouble { color: var(--bad); font-weight: 600; }
.wb-card .wb-editor { margin: .6rem 0; }
.wb-card .wb-editor label { display: block; font-weight: 600; margin-bottom: .3rem; }
.wb-card textarea { display: block; unicode-bidi: plaintext; width: 100%; max-width: 48rem; padding: .45rem .6rem; resize: vertical;
  font: 14px/1.55 var(--jp-content-font-family, system-ui, sans-serif); color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 4px; }
.wb-card textarea.wb-code { font: 13px/1.55 var(--code); }
.wb-card textarea::placeholder { color: var(--quiet); opacity: 1; }
.wb-card .wb-editor .wb-line { margin-top: .4rem; }
.wb-card .wb-help { display: grid; grid-template-columns: max-content 1fr; align-items: baseline;
  gap: .25rem .9rem; margin: .8rem 0 0;
  padding: .7rem .9rem; background: var(--soft); border-radius: 4px; max-width: 46rem; }
.wb-card .wb-help dt, .wb-card .wb-help dd { margin: 0; font-weight: normal; }
.wb-card .wb-help dt { float: none; width: auto; white-space: nowrap; }
.wb-card .wb-help kbd { margin-left: 0; }
.wb-card [hidden], .wb-card .wb-help[hidden] { display: none; }
`;

const PATIENCE = 1500; // milliseconds until we say that the kernel does not answer
const SCROLL = { ArrowDown: 60, ArrowUp: -60, PageDown: 400, PageUp: -400, " ": 400 }; // pixels
const FIELDS = "textarea, input, select";

// make("p", { class: "wb-quiet" }, "text", another) is an element with these attributes and children.
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// A button with the key that does the same; `key` "" shows none. A double click presses it once, as the row in
// view may be another one by the second click; only one that `steps` takes each click.
function button(name, key, act, label = name, steps = false) {
  const made = make("button", { type: "button", "aria-label": label }, name);
  if (key) made.setAttribute("aria-keyshortcuts", key);
  if (key && name !== key) made.append(make("kbd", { "aria-hidden": "true" }, key));
  made.addEventListener("click", (event) => { if (steps || event.detail < 2) act(); });
  return made;
}

// Make one card in `el`. `options`:
//   name     its CSS class, beside wb-card
//   label    what a screen reader calls it
//   style    CSS of its own
//   keys     what each key does, { k: () => card.send("keep") }; letters in lower case; none works while
//            somebody writes in a field, nor together with Ctrl, Alt or Meta. Held down, a key works once ...
//   repeats  ... unless it is one of these
//   help     [["k", "keep the row"], ...], shown and hidden by ?
//   scroll   the elements that the arrows up and down, Page Up, Page Down and the space bar scroll
//   draw     draw(row): shows a new `row` of the model
// The card has: root; status, editor and help, elements to be placed by `show`; keysButton;
//   send(action, value)   ask Python to do something; `_do` of the class gets it
//   tell(text, isTrouble) say something in `status`, as Python's `said` and `trouble` do
//   write(...)            open the field to write in; close() leaves it
//   typing(field, keys)   what keys do in a field: { Enter: f, "Ctrl+Enter": f, Escape: f }
//   show(...children)     put it on the page; returns what anywidget calls at the end
function card({ model, el }, { name, label, style = "", keys = {}, repeats = [], help = [], scroll = [], draw }) {
  let waiting;
  let answers = -1;
  let writing = null;
  const inFields = new WeakMap();
  const row = () => model.get("row");
  const root = make("div", {
    class: `wb-card ${name}`,
    tabindex: "0",
    role: "group",
    "aria-label": help.length ? `${label}; press ? for the keys` : label,
    "data-lm-suppress-shortcuts": "true", // else d d deletes the notebook's cell, and x cuts it
  });
  const status = make("span", { role: "status", "aria-live": "polite" });
  const editor = make("div", { class: "wb-editor", hidden: "" });
  const listed = make("dl", { class: "wb-help", hidden: "" });
  for (const [caps, meaning] of help) {
    const shown = caps.split(" ").flatMap((cap) => [cap === "–" ? "–" : make("kbd", {}, cap), " "]);
    listed.append(make("dt", {}, ...shown), make("dd", {}, meaning));
  }
  const toggleHelp = () => { listed.hidden = !listed.hidden; };
  const keysButton = button("Keys", "?", toggleHelp, "Show the keys");
  const actions = help.length ? { ...keys, "?": toggleHelp } : keys;

  function tell(text, isTrouble = false) {
    status.textContent = text;
    status.classList.toggle("wb-trouble", isTrouble);
  }
  function send(action, value = null) {
    clearTimeout(waiting);
    waiting = setTimeout(
      () => tell("The kernel does not answer: it is busy or gone. Nothing is saved until it does.", true),
      PATIENCE,
    );
    model.send({ do: action, row: row().at, value });
  }
  function typing(field, does) {
    inFields.set(field, does);
  }
  // `save` is called with the text; the field closes when Python has answered without trouble. `beside` is a
  // control that stands before the two buttons.
  function write({ name: called, text, save, rows = 3, isCode = false, leave = "Leave as it was", beside = "" }) {
    writing = make("textarea", { rows, spellcheck: !isCode, "aria-label": called });
    writing.value = text;
    if (isCode) writing.className = "wb-code";
    const store = () => save(writing.value);
    typing(writing, { Escape: close, "Ctrl+Enter": store });
    const buttons = make("div", { class: "wb-line" }, beside, button("Save", "Ctrl+Enter", store), button(leave, "Esc", close));
    editor.replaceChildren(make("label", { "aria-hidden": "true" }, called), writing, buttons);
    editor.hidden = false;
    writing.focus();
  }
  function close() {
    if (!writing) return;
    const wasInside = editor.contains(document.activeElement);
    writing = null;
    editor.hidden = true;
    editor.replaceChildren();
    if (wasInside || document.activeElement === document.body) root.focus({ preventScroll: true });
  }
  function answered() {
    const shown = row();
    if (shown.answers !== answers) {
      // Python has done what was asked; other changes of `row` only show how something goes on.
      answers = shown.answers;
      clearTimeout(waiting);
      if (!shown.trouble) close();
      tell(shown.trouble || shown.said, Boolean(shown.trouble));
    }
    draw(shown);
  }
  function scrolled(key) {
    if (!scroll.length || !(key in SCROLL)) return false;
    for (const each of scroll) each.scrollBy({ top: SCROLL[key] });
    return true;
  }

  root.addEventListener("keydown", (event) => {
    const field = event.target.closest(FIELDS);
    const isHeld = event.ctrlKey || event.metaKey;
    if (field) {
      event.stopPropagation(); // Ctrl+Enter would run the cell
      const pressed = `${isHeld ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key}`;
      const act = event.isComposing ? undefined : inFields.get(field)?.[pressed];
      if (!act) return;
      event.preventDefault();
      act();
      return;
    }
    if (isHeld || event.altKey) return;
    event.stopPropagation();
    if (event.target.closest("button, a, summary") && [" ", "Enter"].includes(event.key)) return; // press it
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Escape" && writing) close();
    else if (key in actions) { if (!event.repeat || repeats.includes(key)) actions[key](); }
    else if (!scrolled(key)) return; // Tab leads on
    event.preventDefault();
  });
  root.addEventListener("mousedown", (event) => {
    event.stopPropagation(); // the notebook would take the focus for its cell
    if (!event.target.closest(`button, a, summary, label, ${FIELDS}`)) root.focus({ preventScroll: true });
  });

  function show(...children) {
    root.append(make("style", {}, CARD_STYLE + style), ...children);
    el.append(root);
    model.on("change:row", answered);
    answered();
    return () => {
      clearTimeout(waiting);
      model.off("change:row", answered);
    };
  }
  return { root, status, editor, help: listed, keysButton, row, send, tell, typing, write, close, show };
}
