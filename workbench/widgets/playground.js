// The playground's window: a field for the question, and the models' answers as they are written.

const STYLE = `
.wb-play .wb-ask { display: grid; gap: .4rem; margin: .6rem 0 .8rem; }
.wb-play .wb-ask textarea { max-width: none; }
.wb-play label { font-size: 13px; }
.wb-play .wb-answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; }
.wb-play .wb-answers section { min-width: 0; padding: .5rem .75rem .6rem; border: 1px solid var(--line);
  border-radius: 5px; background: var(--soft); display: flex; flex-direction: column; gap: .4rem; }
.wb-play .wb-answers pre { max-height: 50vh; overflow: auto; min-height: 3em; }
.wb-play .wb-answers h4 { overflow-wrap: anywhere; }
.wb-play .wb-answers h4 strong { font-size: 14px; color: var(--jp-ui-font-color1, var(--vscode-foreground, inherit)); }
.wb-play .wb-answers h4 span { font-weight: normal; display: block; }
.wb-play .wb-answers .wb-line { margin-top: auto; font-size: 13px; }
.wb-play .wb-asked { margin: 0 0 .7rem; padding-left: .7rem; border-left: 3px solid var(--accent); }
.wb-play .wb-asked pre { max-height: 20vh; overflow: auto; }
.wb-play .wb-asked pre + h4 { margin-top: .4rem; }
.wb-play [hidden] { display: none; } /* a grid would stay */
`;

const HELP = [
  ["Enter", "in the field: ask; Shift+Enter begins a new line"],
  ["Esc", "stop the answers that are being written"],
  ["a", "write a question"],
  ["t", "take a question of the test"],
  ["1 – 3", "keep the question with this answer, corrected, for the test or for training"],
  ["u", "undo what was kept last"],
  ["↑ ↓", "scroll the answers"],
];
const STATES = {
  waiting: "waiting for the first word …",
  writing: "writing …",
  done: "",
  stopped: "stopped",
  failed: "not answered",
};

function render({ model, el }) {
  const field = make("textarea", {
    rows: "2",
    "aria-label": "Your question",
    placeholder: "Your question; Enter asks, Shift+Enter begins a new line",
  });
  const prompts = make("select", { "aria-label": "Prompt" });
  const use = make("select", { "aria-label": "Keep it for" });
  use.append(make("option", { value: "test" }, "for the test"), make("option", { value: "training" }, "for training"));
  const asked = make("div", { class: "wb-asked" });
  const answers = make("div", { class: "wb-answers" });
  const kept = make("span", { class: "wb-quiet wb-last" });
  const columns = [];
  const scrolled = []; // the texts, which are there with the first row
  let offered = 0;

  const actions = {
    a: () => field.focus(),
    t: () => {
      const questions = model.get("offered");
      if (!questions.length) return play.tell("The project states no test.", true);
      field.value = questions[offered++ % questions.length];
      field.focus();
    },
    u: () => play.send("undo"),
    Escape: () => play.send("stop"),
  };
  for (const n of [1, 2, 3]) actions[n] = () => keep(n - 1);
  const play = card({ model, el }, {
    name: "wb-play",
    label: "Playground",
    style: STYLE,
    keys: actions,
    help: HELP,
    scroll: scrolled,
    draw,
  });
  const ask = () => play.send("ask", { question: field.value, prompt: prompts.value });
  play.typing(field, { Enter: ask, Escape: actions.Escape });
  const askButton = button("Ask", "Enter", ask, "Ask the models");
  const stopButton = button("Stop", "Esc", actions.Escape, "Stop the answers");
  const offer = button("A test question", "t", actions.t, "Take a question of the test");

  function keep(place) {
    const shown = play.row();
    const column = shown.columns[place];
    if (!column) return;
    play.write({
      name: "The right answer; correct it where it is wrong",
      text: shown.reference || column.text,
      save: (answer) => play.send("keep", { place, use: use.value, answer }),
      leave: "Keep nothing",
      beside: use,
    });
  }

  function drawColumns(models) {
    for (const [place, { name, model: id }] of models.entries()) {
      const text = make("pre");
      const state = make("span", { class: "wb-quiet" });
      const keeps = button("Keep", `${place + 1}`, () => keep(place), `Keep the question with the answer of ${name}`);
      keeps.classList.add("wb-last");
      const heading = make("h4", {}, make("strong", {}, name), make("span", {}, id));
      const box = make("section", { role: "region", "aria-label": `Answer of ${name}` }, heading, text);
      box.append(make("div", { class: "wb-line" }, state, keeps));
      answers.append(box);
      scrolled.push(text);
      columns.push({ text, state, keeps, box });
    }
  }

  let round = -1;
  function draw(shown) {
    if (!columns.length) {
      drawColumns(shown.models);
      prompts.append(...shown.prompts.map((name) => make("option", { value: name }, name)));
      prompts.value = shown.prompt;
    }
    if (round >= 0 && shown.at !== round) field.value = "";
    const isNew = shown.at !== round;
    round = shown.at;
    stopButton.disabled = !shown.open;
    offer.disabled = !model.get("offered").length;
    asked.hidden = !shown.question;
    answers.hidden = !shown.question;
    if (isNew) {
      asked.replaceChildren(make("h4", {}, "Question"), make("pre", {}, shown.question));
      if (shown.reference) asked.append(make("h4", {}, "Right answer"), make("pre", {}, shown.reference));
    }
    shown.columns.forEach((column, place) => {
      const { text, state, keeps, box } = columns[place];
      if (text.textContent !== column.text) text.textContent = column.text;
      if (column.state === "writing") text.scrollTop = text.scrollHeight;
      state.textContent = [STATES[column.state], column.cost, column.problem].filter(Boolean).join(" ");
      state.classList.toggle("wb-trouble", Boolean(column.problem));
      box.setAttribute("aria-busy", ["waiting", "writing"].includes(column.state));
      keeps.disabled = ["waiting", "writing"].includes(column.state);
    });
    kept.textContent = `Kept: ${shown.kept.test} for the test, ${shown.kept.training} for training`;
  }

  return play.show(
    make("div", { class: "wb-line" }, make("strong", {}, "Ask the models"), play.status, kept),
    make("div", { class: "wb-ask" }, field,
      make("div", { class: "wb-line", role: "toolbar", "aria-label": "Ask" },
        askButton, stopButton, offer, make("label", {}, "Prompt ", prompts),
        button("Undo", "u", actions.u, "Undo what was kept last"), play.keysButton)),
    play.help,
    asked,
    answers,
    play.editor,
  );
}

export default { render };
