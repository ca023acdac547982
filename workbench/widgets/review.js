// The review's window: draws the one row that Python sends, and sends back what a key asked for.
// All of the row is set as text, never as HTML: training data contains HTML.

const STYLE = `
.wb-review { --line: color-mix(in srgb, currentColor 18%, transparent);
  --soft: color-mix(in srgb, currentColor 6%, transparent);
  --quiet: color-mix(in srgb, currentColor 72%, transparent);
  --accent: color-mix(in srgb, #1a86c8 70%, currentColor); --bad: color-mix(in srgb, #d9480f 75%, currentColor);
  box-sizing: border-box; max-width: 62rem; padding: .9rem 1.1rem 1rem; border: 1px solid var(--line);
  border-radius: 6px; color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit));
  font: 14px/1.5 var(--jp-ui-font-family, system-ui, sans-serif); }
.wb-review *, .wb-review *::before { box-sizing: border-box; }
.wb-review:focus-within { border-color: var(--accent); }
.wb-review:focus { outline: 2px solid var(--accent); outline-offset: -2px; }
.wb-review button:focus-visible, .wb-review textarea:focus { outline: 2px solid var(--accent); outline-offset: 1px; }
.wb-top { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem 1rem; }
.wb-top strong { font-size: 15px; font-variant-numeric: tabular-nums; }
.wb-top span { color: var(--quiet); font-variant-numeric: tabular-nums; }
.wb-top .wb-keys { margin-left: auto; }
.wb-bar { height: 3px; margin: .45rem 0 .8rem; background: var(--line); border-radius: 2px; overflow: hidden; }
.wb-bar div { height: 100%; background: var(--accent); }
.wb-keys { display: flex; flex-wrap: wrap; gap: .35rem; align-items: center; }
.wb-keys .wb-gap { width: .5rem; }
.wb-review button { font: inherit; font-size: 13px; color: inherit; background: transparent; cursor: pointer;
  border: 1px solid var(--line); border-radius: 4px; padding: .18rem .55rem; min-height: 28px; }
.wb-review button:hover { background: var(--soft); }
.wb-review button[aria-pressed="true"] { border-color: var(--accent); background: var(--soft);
  box-shadow: inset 0 -2px 0 var(--accent); font-weight: 600; }
.wb-review button:disabled { opacity: .5; cursor: default; }
.wb-review kbd { font: 11px/1 var(--jp-code-font-family, ui-monospace, monospace); color: var(--quiet);
  border: 1px solid var(--line); border-radius: 3px; padding: .1rem .28rem; margin-left: .4rem;
  background: none; box-shadow: none; }
.wb-rate button { min-width: 30px; padding: .18rem .3rem; }
.wb-rate { display: flex; gap: .2rem; align-items: center; }
.wb-name { margin-right: .3rem; font-size: 13px; }
.wb-status { display: flex; justify-content: space-between; gap: 1rem; min-height: 1.5em; margin: .55rem 0 .35rem;
  color: var(--quiet); }
.wb-review:focus-within .wb-hint { visibility: hidden; }
.wb-hint { flex: none; }
.wb-said.wb-trouble { color: var(--bad); font-weight: 600; }
.wb-place { display: flex; flex-wrap: wrap; gap: .2rem .9rem; align-items: baseline; padding-top: .7rem;
  border-top: 1px solid var(--line); }
.wb-place code { font: 13px var(--jp-code-font-family, ui-monospace, monospace); background: none; color: inherit;
  padding: 0; overflow-wrap: anywhere; }
.wb-verdict { font-weight: 600; }
.wb-quiet { color: var(--quiet); }
.wb-findings { margin: .5rem 0 0; padding: 0; list-style: none; }
.wb-findings li { margin: 0 0 .2rem; padding-left: 5.4rem; text-indent: -5.4rem; overflow-wrap: anywhere; }
.wb-findings b { display: inline-block; width: 5.4rem; text-indent: 0; }
.wb-findings .wb-error b { color: var(--bad); }
.wb-findings .wb-info b { font-weight: normal; }
.wb-review .wb-seen { margin: .9rem 0 0; font: 12px/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--quiet); }
.wb-talk { margin-top: .4rem; max-height: 62vh; overflow: auto; }
.wb-block { margin: 0 0 .7rem; padding: .1rem 0 .1rem .8rem; border-left: 3px solid var(--line); }
.wb-block.wb-marked { border-left: 5px solid var(--accent); padding-left: calc(.8rem - 2px); }
.wb-block:last-child { margin-bottom: 0; }
.wb-block h4 { margin: 0 0 .1rem; font: 12px/1.5 var(--jp-ui-font-family, system-ui, sans-serif);
  color: var(--quiet); }
.wb-block h4 em { font-style: normal; font-weight: 600; color: var(--accent); }
.wb-block pre { margin: 0; padding: 0; border: 0; background: none; color: inherit; white-space: pre-wrap;
  overflow-wrap: anywhere; font: 14px/1.55 var(--jp-content-font-family, system-ui, sans-serif); max-width: 46rem; }
.wb-rendered pre { font: 13px/1.55 var(--jp-code-font-family, ui-monospace, monospace); }
.wb-token { color: var(--quiet); background: var(--soft); border-radius: 3px; }
.wb-edit { margin-top: .8rem; }
.wb-edit label { display: block; font-weight: 600; margin-bottom: .3rem; }
.wb-edit textarea { width: 100%; max-width: 48rem; padding: .5rem .6rem; resize: vertical;
  font: 14px/1.55 var(--jp-content-font-family, system-ui, sans-serif); color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 4px; }
.wb-edit textarea.wb-code { font: 13px/1.55 var(--jp-code-font-family, ui-monospace, monospace); }
.wb-review .wb-help { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .9rem; margin: .8rem 0 0;
  padding: .7rem .9rem; background: var(--soft); border-radius: 4px; max-width: 46rem; }
.wb-review .wb-help dt, .wb-review .wb-help dd { margin: 0; font-weight: normal; }
.wb-review .wb-help dt { float: none; width: auto; white-space: nowrap; }
.wb-review .wb-help kbd { margin-left: 0; }
.wb-review [hidden], .wb-review .wb-help[hidden] { display: none; }
`;

const HELP = [
  ["k", "keep the row and go on"],
  ["d", "drop it and go on"],
  ["e", "edit the answer; Ctrl+Enter saves, Esc leaves it as it was"],
  ["1 – 5", "rate it, 5 is best; the same number again takes the rating back"],
  ["c", "write a comment about it"],
  ["n →", "next row, without deciding"],
  ["p ←", "previous row"],
  ["u", "undo the last decision made here"],
  ["↑ ↓", "scroll the row; so do Page Up, Page Down and the space bar"],
  ["?", "show or hide these keys"],
];
const VERDICTS = { keep: "✓ kept", drop: "✕ dropped", edit: "✎ edited", open: "open" };
const PATIENCE = 1500; // milliseconds until we say that the kernel does not answer
const SCROLL = { ArrowDown: 60, ArrowUp: -60, PageDown: 400, PageUp: -400, " ": 400 }; // pixels

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The template's own marks are set back, so that the words stand out.
function words(text, isRendered) {
  const parts = isRendered ? text.split(/(<\|[^|<>]{1,40}\|>)/) : [text];
  return parts.map((part, number) => (number % 2 ? make("span", { class: "wb-token" }, part) : part));
}

function render({ model, el }) {
  const root = make("div", {
    class: "wb-review",
    tabindex: "0",
    role: "group",
    "aria-label": "Review of training rows; press ? for the keys",
    "data-lm-suppress-shortcuts": "true", // else d d deletes the notebook's cell, and x cuts it
  });
  const style = make("style", {}, STYLE);
  const progress = make("strong");
  const counts = make("span");
  const bar = make("div");
  const said = make("div", { class: "wb-said", role: "status", "aria-live": "polite" });
  const hint = make("div", { class: "wb-hint" }, "Click here, then use the keys; ? shows them.");
  const seen = make("h4", { class: "wb-seen" });
  const place = make("div", { class: "wb-place" });
  const findings = make("ul", { class: "wb-findings", "aria-label": "Findings about this row" });
  const talk = make("div", { class: "wb-talk", role: "region", "aria-label": "What the model sees" });
  const editor = make("div", { class: "wb-edit", hidden: "" });
  const help = make("dl", { class: "wb-help", hidden: "" });
  for (const [keys, meaning] of HELP) {
    const caps = keys.split(" ").map((key) => (key === "–" ? " – " : make("kbd", {}, key)));
    help.append(make("dt", {}, ...caps.flatMap((cap) => [cap, " "])), make("dd", {}, meaning));
  }

  let waiting;
  let editing = null; // what Ctrl+Enter would send: "edit" or "comment"

  const row = () => model.get("row");
  function send(action, value = null) {
    if (!row().of) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      say("The kernel does not answer: it is busy or gone. Nothing is saved until it does.", true);
    }, PATIENCE);
    model.send({ do: action, row: row().at, value });
  }
  function say(text, isTrouble) {
    said.textContent = text;
    said.classList.toggle("wb-trouble", isTrouble);
  }

  function button(name, key, act, label = name) {
    const made = make("button", { type: "button", "aria-label": label, "aria-keyshortcuts": key }, name);
    if (name !== key) made.append(make("kbd", { "aria-hidden": "true" }, key));
    made.addEventListener("click", act);
    return made;
  }
  const keep = button("Keep", "k", () => send("keep"), "Keep this row");
  const drop = button("Drop", "d", () => send("drop"), "Drop this row");
  const edit = button("Edit", "e", () => openEditor("edit"), "Edit this row");
  const comment = button("Comment", "c", () => openEditor("comment"), "Comment on this row");
  const stars = [1, 2, 3, 4, 5].map((n) => button(`${n}`, `${n}`, () => send("rate", n), `Rate ${n} of 5`));
  const actions = {
    k: () => send("keep"),
    d: () => send("drop"),
    e: () => openEditor("edit"),
    c: () => openEditor("comment"),
    n: () => send("go", 1),
    ArrowRight: () => send("go", 1),
    p: () => send("go", -1),
    ArrowLeft: () => send("go", -1),
    u: () => send("undo"),
    "?": () => (help.hidden = !help.hidden),
  };
  const mayRepeat = new Set(["n", "p", "ArrowRight", "ArrowLeft"]); // a held d must not drop ten rows
  const gap = () => make("span", { class: "wb-gap" });
  const buttons = make(
    "div",
    { class: "wb-keys", role: "toolbar", "aria-label": "Decide about this row" },
    keep, drop, edit, comment, gap(),
    make("span", { class: "wb-rate", role: "group", "aria-label": "Rating" }, make("span", { class: "wb-name" }, "Rate"), ...stars), gap(),
    button("Undo", "u", actions.u, "Undo the last decision"),
    button("Keys", "?", actions["?"], "Show the keys"),
  );
  const steps = make(
    "div",
    { class: "wb-keys" },
    button("Previous", "p", actions.p, "Previous row"),
    button("Next", "n", actions.n, "Next row"),
  );

  function openEditor(action) {
    const shown = row();
    if (!shown.of) return;
    const isEdit = action === "edit";
    if (isEdit && shown.text === null) return say("This row is too long to edit here; edit it in its file.", true);
    const isCode = isEdit && shown.edits === "line";
    const name = isCode ? "The line, as JSON" : isEdit ? "The answer" : "Comment";
    const lines = isEdit ? shown.text.split("\n").length + shown.text.length / 90 : 1;
    const text = make("textarea", { rows: Math.min(Math.max(Math.ceil(lines) + 1, 3), 16), spellcheck: !isCode, "aria-label": name });
    if (isCode) text.className = "wb-code";
    text.value = isEdit ? shown.text : shown.comment;
    const save = button("Save", "Ctrl+Enter", () => send(action, text.value));
    const leave = button("Leave as it was", "Esc", closeEditor);
    editor.replaceChildren(
      make("label", {}, name),
      text,
      make("div", { class: "wb-keys", style: "margin-top:.4rem" }, save, leave),
    );
    editing = { action, text, at: shown.at };
    editor.hidden = false;
    text.focus();
  }
  function closeEditor() {
    const wasInside = editor.contains(document.activeElement);
    editing = null;
    editor.hidden = true;
    editor.replaceChildren();
    if (wasInside || document.activeElement === document.body) root.focus();
  }

  function draw() {
    clearTimeout(waiting);
    const shown = row();
    if (editing && !shown.trouble) closeEditor();
    say(shown.trouble || shown.said, Boolean(shown.trouble));
    counts.textContent = `${shown.counts} · order: ${shown.order}`;
    for (const each of root.querySelectorAll("button")) each.disabled = !shown.of;
    if (!shown.of) {
      progress.textContent = "There are no rows to review.";
      return;
    }
    progress.textContent = `${(shown.at + 1).toLocaleString("en")} of ${shown.of.toLocaleString("en")}`;
    bar.style.width = `${(100 * (shown.at + 1)) / shown.of}%`;
    for (const [pressed, verdict] of [[keep, "keep"], [drop, "drop"], [edit, "edit"]])
      pressed.setAttribute("aria-pressed", shown.verdict === verdict);
    stars.forEach((star, n) => star.setAttribute("aria-pressed", shown.rating === n + 1));
    place.replaceChildren(
      make("code", {}, shown.origin),
      make("span", { class: "wb-verdict" }, VERDICTS[shown.verdict]),
    );
    if (shown.rating) place.append(make("span", { class: "wb-quiet" }, `rated ${shown.rating} of 5`));
    if (shown.copies > 1)
      place.append(make("span", { class: "wb-quiet" }, `${shown.copies} identical rows, decided together`));
    if (shown.comment) place.append(make("span", { class: "wb-quiet" }, `“${shown.comment}”`));
    findings.hidden = !shown.findings.length;
    findings.replaceChildren(
      ...shown.findings.map(({ level, path, message, fix }) =>
        make(
          "li",
          { class: `wb-${level}` },
          make("b", {}, level),
          `${message}; ${fix}.`,
          make("span", { class: "wb-quiet" }, path ? ` (${path})` : ""),
        ),
      ),
    );
    seen.textContent = shown.seen;
    talk.replaceChildren(
      ...shown.blocks.map(({ name, mark, text }) => {
        const heading = [name, name && mark ? " · " : "", mark ? make("em", {}, mark) : ""];
        const marked = mark.startsWith("trained") && mark !== "trained against" ? " wb-marked" : "";
        const block = make("section", { class: `wb-block${marked}${name ? "" : " wb-rendered"}` });
        if (name || mark) block.append(make("h4", {}, ...heading));
        block.append(make("pre", {}, ...words(text, !name)));
        return block;
      }),
    );
    talk.scrollTop = 0;
  }

  root.addEventListener("keydown", (event) => {
    if (editing && event.target === editing.text) {
      event.stopPropagation(); // Ctrl+Enter would run the cell
      if (event.key === "Escape") closeEditor();
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(editing.action, editing.text.value);
      else return;
      event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopPropagation();
    if (event.target.closest("button") && [" ", "Enter"].includes(event.key)) return; // press the button
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (editing && key === "Escape") closeEditor();
    else if (key in SCROLL) talk.scrollBy({ top: SCROLL[key] });
    else if (/^[1-5]$/.test(key)) { if (!event.repeat) send("rate", Number(key)); }
    else if (key in actions) { if (!event.repeat || mayRepeat.has(key)) actions[key](); }
    else return; // Tab leads on
    event.preventDefault();
  });
  root.addEventListener("mousedown", (event) => {
    event.stopPropagation(); // the notebook would take the focus for its cell
    if (!event.target.closest("button, textarea")) root.focus({ preventScroll: true });
  });

  root.append(
    style,
    make("div", { class: "wb-top" }, progress, counts, steps),
    make("div", { class: "wb-bar", "aria-hidden": "true" }, bar),
    buttons, help, make("div", { class: "wb-status" }, said, hint), place, findings, editor, seen, talk,
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
