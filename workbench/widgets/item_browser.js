// The item browser's window: which items, the one in view, and the keys that lead to the next.
// The page of an item comes from Python as HTML in which every text is escaped already.

const STYLE = `
.wb-browse { max-width: none; }
.wb-browse .wb-line { align-items: center; }
.wb-browse label { display: flex; gap: .4rem; align-items: center; }
.wb-browse input { font: inherit; font-size: 13px; color: inherit; background: transparent; min-height: 28px;
  border: 1px solid var(--line); border-radius: 4px; padding: .18rem .5rem; }
.wb-browse input[type="number"] { width: 6.5em; }
.wb-browse .wb-item h4 { margin: .7rem 0 .15rem; }
`;
const TYPED = 300; // milliseconds after the last letter until the words are looked for

function render({ model, el }) {
  let typing;
  let goal = 0; // where the keys have led to, which Python may not have drawn yet
  const which = make("select", { "aria-label": "Show" });
  const words = make("input", { type: "search", "aria-label": "with the words", placeholder: "in question or answers" });
  const number = make("input", { type: "number", min: "1", "aria-label": "Item" });
  const of = make("span");
  const view = make("div", { "aria-live": "polite" });
  const window = card({ model, el }, {
    name: "wb-browse",
    label: "Items of the comparison",
    style: STYLE,
    keys: {
      ArrowLeft: () => go(goal - 1),
      ArrowRight: () => go(goal + 1),
      Home: () => go(0),
      End: () => go(window.row().of - 1),
    },
    repeats: ["ArrowLeft", "ArrowRight"],
    help: [["← →", "the item before, the next one"], ["Home End", "the first, the last"]],
    draw,
  });
  const back = button("Previous", "←", () => clicked(goal - 1), "Previous", true);
  const on = button("Next", "→", () => clicked(goal + 1), "Next", true);

  function go(place) {
    const last = window.row().of - 1;
    goal = Math.min(Math.max(place, 0), last);
    if (last >= 0) window.send("go", goal);
  }
  // After a click the keys go on: the window has the focus, not the button.
  function clicked(place) {
    go(place);
    window.root.focus({ preventScroll: true });
  }
  function draw(shown) {
    which.replaceChildren(...shown.filters.map(([name, text]) => make("option", { value: name }, text)));
    which.value = shown.which;
    goal = shown.at;
    number.max = shown.of;
    number.value = shown.of ? shown.at + 1 : 0;
    of.textContent = `of ${shown.of.toLocaleString("en")}`;
    back.disabled = shown.at === 0;
    on.disabled = shown.at + 1 >= shown.of;
    view.innerHTML = shown.page;
  }

  which.addEventListener("change", () => window.send("show", which.value));
  words.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => window.send("find", words.value), TYPED);
  });
  number.addEventListener("change", () => go(Number(number.value) - 1));
  return window.show(
    make(
      "div",
      { class: "wb-line" },
      make("label", {}, "Show", which), make("label", {}, "with the words", words),
      make("label", {}, "Item", number), of, back, on, window.keysButton, window.status,
      make("span", { class: "wb-last wb-quiet wb-hint" }, "Click here, then use ← and →"),
    ),
    window.help,
    view,
  );
}

export default { render };
