// The review's window: draws the one row that Python sends, and sends back what a key asked for.

const STYLE = `
.wb-review { max-width: 62rem; }
.wb-review .wb-keys { display: flex; flex-wrap: wrap; gap: .35rem; align-items: center; }
.wb-review .wb-gap { width: .5rem; }
.wb-rate button { min-width: 30px; padding: .18rem .3rem; }
.wb-rate { display: flex; gap: .2rem; align-items: center; }
.wb-name { margin-right: .3rem; font-size: 13px; }
.wb-status { display: flex; justify-content: space-between; gap: 1rem; min-height: 1.5em; margin: .55rem 0 .35rem;
  color: var(--quiet); }
.wb-review .wb-hint { flex: none; }
.wb-place { display: flex; flex-wrap: wrap; gap: .2rem .9rem; align-items: baseline; padding-top: .7rem;
  border-top: 1px solid var(--line); }
.wb-place code { font: 13px var(--code); background: none; color: inherit; padding: 0; overflow-wrap: anywhere;
  word-break: normal; }
.wb-verdict { font-weight: 600; }
.wb-findings { margin: .5rem 0 0; padding: 0; list-style: none; }
.wb-findings li { margin: 0 0 .2rem; padding-left: 5.4rem; text-indent: -5.4rem; overflow-wrap: anywhere; }
.wb-findings b { display: inline-block; width: 5.4rem; text-indent: 0; }
.wb-findings .wb-error b { color: var(--bad); }
.wb-findings .wb-info b { font-weight: normal; }
.wb-review .wb-seen { margin: .9rem 0 0; font-weight: normal; }
.wb-talk { margin-top: .4rem; max-height: 62vh; overflow: auto; }
.wb-block { margin: 0 0 .7rem; padding: .1rem 0 .1rem .8rem; border-left: 3px solid var(--line); }
.wb-block.wb-marked { border-left: 5px solid var(--accent); padding-left: calc(.8rem - 2px); }
.wb-block:last-child { margin-bottom: 0; }
.wb-review .wb-block h4 { margin: 0 0 .1rem; font-weight: normal; }
.wb-block h4 em { font-style: normal; font-weight: 600; color: var(--accent); }
.wb-block pre { max-width: 46rem; }
.wb-review .wb-rendered pre { font: 13px/1.55 var(--code); }
.wb-token { color: var(--quiet); background: var(--soft); border-radius: 3px; }
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

// The template's own marks are set back, so that the words stand out.
function words(text, isRendered) {
  const parts = isRendered ? text.split(/(<\|[^|<>]{1,40}\|>)/) : [text];
  return parts.map((part, number) => (number % 2 ? make("span", { class: "wb-token" }, part) : part));
}

function render({ model, el }) {
  const progress = make("strong");
  const counts = make("span", { class: "wb-quiet" });
  const bar = make("div");
  const hint = make("div", { class: "wb-hint" }, "Click here, then use the keys; ? shows them.");
  const seen = make("h4", { class: "wb-seen" });
  const place = make("div", { class: "wb-place" });
  const findings = make("ul", { class: "wb-findings", "aria-label": "Findings about this row" });
  const talk = make("div", { class: "wb-talk", role: "region", "aria-label": "What the model sees" });

  const send = (action, value) => { if (review.row().of) review.send(action, value); };
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
  };
  for (const n of [1, 2, 3, 4, 5]) actions[n] = () => send("rate", n);
  const review = card({ model, el }, {
    name: "wb-review",
    label: "Review of training rows",
    style: STYLE,
    keys: actions,
    repeats: ["n", "p", "ArrowRight", "ArrowLeft"], // a held d must not drop ten rows
    help: HELP,
    scroll: [talk],
    draw,
  });
  const keep = button("Keep", "k", actions.k, "Keep this row");
  const drop = button("Drop", "d", actions.d, "Drop this row");
  const edit = button("Edit", "e", actions.e, "Edit this row");
  const comment = button("Comment", "c", actions.c, "Comment on this row");
  const stars = [1, 2, 3, 4, 5].map((n) => button(`${n}`, `${n}`, actions[n], `Rate ${n} of 5`));
  const gap = () => make("span", { class: "wb-gap" });
  const buttons = make(
    "div",
    { class: "wb-keys", role: "toolbar", "aria-label": "Decide about this row" },
    keep, drop, edit, comment, gap(),
    make("span", { class: "wb-rate", role: "group", "aria-label": "Rating" }, make("span", { class: "wb-name" }, "Rate"), ...stars), gap(),
    button("Undo", "u", actions.u, "Undo the last decision"),
    review.keysButton,
  );
  const steps = make(
    "div",
    { class: "wb-keys wb-last" },
    button("Previous", "p", actions.p, "Previous row", true),
    button("Next", "n", actions.n, "Next row", true),
  );

  function openEditor(action) {
    const shown = review.row();
    if (!shown.of) return;
    const isEdit = action === "edit";
    if (isEdit && shown.text === null) {
      review.tell("This row is too long to edit here; edit it in its file.", true);
      return;
    }
    const isCode = isEdit && shown.edits === "line";
    const lines = isEdit ? shown.text.split("\n").length + shown.text.length / 90 : 1;
    review.write({
      name: isCode ? "The line, as JSON" : isEdit ? "The answer" : "Comment",
      text: isEdit ? shown.text : shown.comment,
      rows: Math.min(Math.max(Math.ceil(lines) + 1, 3), 16),
      isCode,
      save: (text) => send(action, text),
    });
  }

  function draw(shown) {
    counts.textContent = `${shown.counts} · order: ${shown.order}`;
    for (const each of review.root.querySelectorAll("button")) each.disabled = !shown.of;
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

  return review.show(
    make("div", { class: "wb-line" }, progress, counts, steps),
    make("div", { class: "wb-bar", "aria-hidden": "true" }, bar),
    buttons, review.help, make("div", { class: "wb-status" }, review.status, hint),
    place, findings, review.editor, seen, talk,
  );
}

export default { render };
