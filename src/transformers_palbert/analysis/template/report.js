"use strict";
(() => {
  const PAGE = 20;
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const form = byId("filters");
  const integers = new Intl.NumberFormat("en");
  const FIELDS = ["q", "only", "change", "min", "max", "sort", ...data.breakdowns.map((part) => part.key)];
  const other = data.other; // the second model, or null
  let state = {};

  /* Text only ever becomes text nodes: nothing of the data is parsed as markup. */
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  const count = (number) => integers.format(number);
  const points = (value) => value.toFixed(1);

  /* With a no-break space; what is not quite all never reads as 100 %. */
  function percent(share) {
    const digits = share < 0.1 || (share > 0.99 && share < 1) ? 1 : 0;
    const value = share < 1 ? Math.min(100 * share, 99.9) : 100;
    return `${value.toFixed(digits)}\u00a0%`;
  }

  /* A small model's scores may all be small; 0.0 % would say that there is no chance at all. */
  const shown = (score) => (score < 0.001 ? "<\u00a00.1\u00a0%" : percent(score));

  function bytes(size) {
    for (const [unit, factor] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
      if (size >= factor) return `${(size / factor).toFixed(1)} ${unit}`;
    }
    return `${size} B`;
  }

  function placed(left, right, name) {
    const bar = element("i", { class: name });
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.max(right - left, 0)}%`;
    return bar;
  }

  /* --- what the questions say ------------------------------------------------------------------------------------ */

  function outcome(question) {
    if (question.em === 100) return "right";
    return question.f1 > 0 ? "partial" : "missed";
  }

  const characters = (question) => Array.from(data.contexts[question.context].text); // offsets count code points

  /* What each model said to a question: its name, its scores and its candidates. */
  const said = (question) =>
    other
      ? [{ name: data.model, ...question }, { name: other.model, ...question.other }]
      : [{ name: data.model, ...question }];

  function answerText(question, answers, rank) {
    const [, start, end] = answers[rank];
    return characters(question).slice(start, end).join("") || "no answer";
  }

  function haystack(question) {
    if (question.haystack === undefined) {
      const texts = [...question.gold.map(([, text]) => text), ...said(question).map((by) => answerText(question, by.answers, 0))];
      question.haystack = [question.id, question.text, ...texts].join("\n").toLowerCase();
    }
    return question.haystack;
  }

  function contextMatches(wanted) {
    return data.contexts.map(({ title, text }) => `${title}\n${text}`.toLowerCase().includes(wanted));
  }

  /* --- filter, order, page --------------------------------------------------------------------------------------- */

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state = {
      page: Math.max(parseInt(given.get("page"), 10) || 1, 1),
      theme: given.get("theme") || "",
      question: given.get("question") || "",
    };
    for (const name of FIELDS) state[name] = given.get(name) || "";
  }

  function writeAddress() {
    const kept = new URLSearchParams();
    for (const name of [...FIELDS, "theme", "question"]) if (state[name]) kept.set(name, state[name]);
    if (state.page > 1) kept.set("page", state.page);
    try {
      history.replaceState(null, "", `#${kept}`);
    } catch {
      /* a page inside a sandboxed frame has no address of its own */
    }
  }

  function chosen() {
    const wanted = state.q.trim().toLowerCase();
    const inContext = wanted ? contextMatches(wanted) : [];
    const low = state.min === "" ? -Infinity : Number(state.min);
    const high = state.max === "" ? Infinity : Number(state.max);
    const groups = data.breakdowns.map((part) => {
      if (!state[part.key]) return -1;
      return part.groups.findIndex((group) => group.label === state[part.key]);
    });
    const named = data.breakdowns.map((part) => Boolean(state[part.key]));
    const found = data.questions.filter((question) => {
      const result = outcome(question);
      if (state.only === "wrong" ? result === "right" : state.only && result !== state.only) return false;
      if (state.change && change(question) !== state.change) return false;
      if (question.f1 < low || question.f1 > high) return false;
      if (groups.some((group, part) => named[part] && question.groups[part] !== group)) return false;
      return !wanted || inContext[question.context] || haystack(question).includes(wanted);
    });
    const orders = {
      worst: (a, b) => a.f1 - b.f1,
      sure: (a, b) => b.answers[0][0] - a.answers[0][0],
      unsure: (a, b) => a.answers[0][0] - b.answers[0][0],
    };
    return orders[state.sort] ? found.sort(orders[state.sort]) : found;
  }

  function update({ address = true } = {}) {
    const found = chosen();
    const pages = Math.max(Math.ceil(found.length / PAGE), 1);
    const linked = found.findIndex((question) => question.id === state.question);
    state.page = linked < 0 ? Math.min(state.page, pages) : Math.floor(linked / PAGE) + 1;
    const begin = (state.page - 1) * PAGE;
    const list = byId("list");
    list.replaceChildren(...found.slice(begin, begin + PAGE).map(card));
    if (!found.length) list.append(element("p", { class: "card muted" }, "No question fits the filter."));
    else list.children[Math.max(linked - begin, 0)].open = true;
    byId("page").textContent = `Page ${count(state.page)} of ${count(pages)}`;
    byId("previous").disabled = state.page === 1;
    byId("next").disabled = state.page === pages;
    byId("count").textContent = summary(found);
    for (const button of document.querySelectorAll("[data-filter]")) {
      const pressed = state[button.dataset.filter] === button.dataset.value;
      button.setAttribute("aria-pressed", String(pressed));
    }
    for (const name of FIELDS) {
      const field = form.elements[name];
      if (field && field.value !== state[name]) field.value = state[name];
    }
    if (MORE.some((name) => state[name])) byId("more").open = true;
    if (address) writeAddress();
    return linked < 0 ? null : list.children[linked - begin];
  }

  /* Behind "More filters". */
  const MORE = ["min", "max", ...data.breakdowns.map((part) => part.key)];

  /* What the second model makes of a question, compared with the first. */
  function change(question) {
    const gain = question.other.f1 - question.f1;
    return gain > 0 ? "gained" : gain < 0 ? "lost" : "same";
  }

  function summary(found) {
    const all = data.questions.length;
    if (found.length === all) return `all ${count(all)}`;
    const mean = (key) => points(found.reduce((sum, question) => sum + question[key], 0) / found.length);
    const scores = found.length ? `: F1 ${mean("f1")}, EM ${mean("em")}` : "";
    return `${count(found.length)} of ${count(all)}${scores}`;
  }

  function setFilter(name, value) {
    state[name] = state[name] === value ? "" : value;
    first();
  }

  /* The first page of what the filter leaves; a link to one question is forgotten. */
  function first() {
    state.page = 1;
    state.question = "";
    update();
  }

  function turn(pages) {
    state.page = Math.max(state.page + pages, 1);
    state.question = "";
    update();
    byId("questions-title").scrollIntoView();
  }

  /* --- one question ---------------------------------------------------------------------------------------------- */

  const WORDS = { right: "right", missed: "wrong" };
  const verdict = (by) => WORDS[outcome(by)] || `F1 ${points(by.f1)}`;

  function card(question) {
    const all = said(question);
    const head = element("summary", {}, element("span", { class: "asked" }, question.text));
    if (!other) head.append(element("span", { class: `result ${outcome(question)}` }, verdict(question)));
    for (const by of all) {
      const line = element("span", { class: "said" });
      if (other) line.append(element("span", { class: `result ${outcome(by)}` }, verdict(by)), ` ${by.name}: `);
      line.append(element("b", {}, answerText(question, by.answers, 0)));
      head.append(line);
    }
    if (all.some((by) => outcome(by) !== "right")) {
      const gold = question.gold.map(([, text]) => text).join(" / ") || "no answer";
      const line = other ? element("span", { class: "said" }, "reference: ") : head.lastElementChild;
      if (other) head.append(line);
      else line.append(" instead of ");
      line.append(element("b", {}, gold));
    }
    const whole = element("details", { class: `question ${outcome(question)}` }, head);
    whole.addEventListener("toggle", () => {
      if (whole.open && whole.childElementCount === 1) whole.append(body(question));
    });
    return whole;
  }

  function body(question) {
    const { title } = data.contexts[question.context];
    const type = data.breakdowns[0].groups[question.groups[0]].label;
    const absent = question.gold.filter(([start]) => start < 0).map(([, text]) => text);
    const facts = element("p", { class: "facts" }, [title, type, question.id].filter(Boolean).join(" · "), " · ");
    const link = new URLSearchParams({ question: question.id, ...(state.theme && { theme: state.theme }) });
    facts.append(element("a", { href: `#${link}`, title: "A link that opens this page at this question" }, "link"));
    const made = element("div", { class: "body" }, facts);
    if (absent.length) {
      const note = `Not in the context word for word: ${absent.join(" / ")}`;
      made.append(element("p", { class: "facts" }, note));
    }
    const context = element("p", { class: "context" });
    const all = said(question);
    const ranks = all.map(() => 0);
    const draw = () => context.replaceChildren(...marked(question, all.map((by, model) => by.answers[ranks[model]])));
    const lists = all.map((by, model) => candidates(question, by, (rank) => ((ranks[model] = rank), draw())));
    draw();
    made.append(context, element("div", { class: "answers" }, ...lists));
    return made;
  }

  /* The candidates of one model; the one that is chosen is marked in the context. */
  function candidates(question, by, choose) {
    const buttons = by.answers.map((_, rank) => candidate(question, by.answers, rank, () => show(rank)));
    const press = (rank) => buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === rank)));
    const show = (rank) => (press(rank), choose(rank));
    press(0);
    const label = `Candidates of ${by.name}, best first`;
    const list = element("ol", { class: "candidates", "aria-label": label }, ...buttons.map((button) => element("li", {}, button)));
    return other ? element("div", {}, element("h3", { class: "by" }, by.name), list) : list;
  }

  function candidate(question, answers, rank, choose) {
    const [score, , , f1] = answers[rank];
    const longest = answers[0][0];
    const track = element("span", { class: "track", "aria-hidden": "true" }, placed(0, longest ? (100 * score) / longest : 0, ""));
    const button = element(
      "button",
      { type: "button", title: "Mark this candidate in the context" },
      element("span", { class: "number rank" }, String(rank + 1)),
      track,
      element("span", { class: "number" }, shown(score)),
      element("span", { class: "text" }, answerText(question, answers, rank)),
      element("span", { class: "number" }, `F1 ${points(f1)}`),
    );
    button.addEventListener("click", choose);
    return button;
  }

  /* The context, cut wherever a reference answer or the candidate begins or ends. */
  function marked(question, answers) {
    const text = characters(question);
    const gold = question.gold.filter(([at]) => at >= 0).map(([at, answer]) => [at, at + Array.from(answer).length]);
    const found = answers.map(([, start, end]) => [start, end]);
    const cuts = [...new Set([0, text.length, ...found.flat(), ...gold.flat()])].sort((a, b) => a - b);
    return cuts.slice(1).map((stop, index) => {
      const begin = cuts[index];
      const piece = text.slice(begin, stop).join("");
      const holds = ([from, to]) => from <= begin && stop <= to;
      const names = [gold.some(holds) && "gold", holds(found[0]) && "found", found[1] && holds(found[1]) && "second"];
      return names.some(Boolean) ? element("mark", { class: names.filter(Boolean).join(" ") }, piece) : piece;
    });
  }

  /* --- the fixed parts ------------------------------------------------------------------------------------------- */

  function header() {
    const { facts, scores, best } = data;
    byId("model").textContent = other ? `${data.model} and ${other.model}` : data.model;
    byId("about").textContent = `${facts.architecture} on ${count(data.questions.length)} questions of ${data.source}, scored as ${data.metric}`;
    const interval = ([, low, high]) => `95 %: ${points(low)} – ${points(high)}`;
    const size = ({ file_bytes }) => (file_bytes === null ? "?" : bytes(file_bytes));
    const removed = `${count(facts.nonzero)} non-zero; encoder ${percent(facts.encoder_density)} dense`;
    const tiles = [
      ["F1", points(scores.f1[0]), interval(scores.f1), other && points(other.scores.f1[0])],
      ["Exact match", points(scores.em[0]), interval(scores.em), other && points(other.scores.em[0])],
      ["Parameters", millions(facts.parameters), removed, other && millions(other.facts.parameters)],
      ["File", size(facts), "weights on disk", other && size(other.facts)],
    ];
    if (data.topK > 1) {
      const note = `exact match ${points(best.em)}`;
      tiles.splice(2, 0, [`F1, best of ${data.topK} answers`, points(best.f1), note, other && points(other.best.f1)]);
    }
    byId("tiles").append(...tiles.map(tile));
    const shape = Object.entries(facts.sizes).map(([name, value]) => `${name} ${value}`);
    byId("method").textContent =
      `${facts.architecture}: ${shape.join(", ")}. Intervals are 95 % percentile bootstrap over questions. A length of` +
      " an answer is that of the shortest reference. The score of an answer is the probability of its start times" +
      " that of its end; equal texts add up. The page holds all it needs and loads nothing.";
  }

  function tile([name, value, note, second]) {
    const made = element("div", {}, element("dt", {}, name), element("dd", { class: "value" }, value));
    made.append(element("dd", { class: "note" }, other ? `${other.model}: ${second}` : note));
    return made;
  }

  const millions = (number) => (number >= 1e6 ? `${(number / 1e6).toFixed(2)} M` : count(number));

  /* A bar of exact shares for each model, and what the colours mean, to press. */
  function outcomes() {
    const names = { right: "right", partial: "in part right", missed: "nothing right" };
    const models = other ? [data.model, other.model] : [data.model];
    const all = models.map((_, model) => {
      const numbers = { right: 0, partial: 0, missed: 0 };
      for (const question of data.questions) numbers[outcome(said(question)[model])] += 1;
      return numbers;
    });
    const share = (number) => percent(number / data.questions.length);
    if (other) byId("shares").className += " pair";
    all.forEach((numbers, model) => {
      const label = Object.entries(names).map(([name, words]) => `${words} ${share(numbers[name])}`).join(", ");
      const bar = element("div", { class: "shares", role: "img", "aria-label": `${models[model]}: ${label}` });
      for (const name of Object.keys(names)) {
        const part = element("i", { class: name });
        part.style.flexGrow = String(numbers[name]);
        if (numbers[name]) bar.append(part);
      }
      byId("shares").append(...(other ? [element("span", { class: "muted" }, models[model])] : []), bar);
    });
    for (const [name, label] of Object.entries(names)) {
      const button = filterButton("only", name, name);
      const second = other ? `, ${other.model} ${count(all[1][name])}` : "";
      button.append(element("i", { class: name }));
      button.append(element("span", {}, element("strong", {}, count(all[0][name])), ` ${label} (${share(all[0][name])}${second})`));
      byId("outcome").append(button);
    }
  }

  function filterButton(name, value, style) {
    const attributes = { type: "button", class: style, "data-filter": name, "data-value": value, "aria-pressed": "false" };
    const button = element("button", attributes);
    button.addEventListener("click", () => setFilter(name, value));
    return button;
  }

  function breakdowns() {
    for (const part of data.breakdowns) {
      const columns = other ? ["", "count", "", "F1", "F1 of 2nd"] : ["", "count", "", "F1", "EM"];
      const head = columns.map((name) => element("span", {}, name));
      const made = element(
        "div",
        { class: "card" },
        element("h3", {}, `By ${part.title}`),
        element("div", { class: "head", "aria-hidden": "true" }, ...head),
      );
      for (const group of part.groups) made.append(groupRow(part, group));
      byId("breakdowns").append(made);
      const select = element("select", { name: part.key }, element("option", { value: "" }, "all"));
      select.append(...part.groups.map(({ label }) => element("option", { value: label }, label)));
      const name = part.title.split(",")[0].replace(/^the model's own/, "model's");
      byId("groups").append(element("label", {}, name[0].toUpperCase() + name.slice(1), select));
    }
    byId("rules").append(
      ...data.rules.map(([kind, ...words]) =>
        element("tr", {}, element("th", { scope: "row" }, kind), ...words.map((word) => element("td", {}, word))),
      ),
    );
  }

  function groupRow(part, group) {
    const [f1, low, high] = group.f1;
    const button = filterButton(part.key, group.label, "group");
    button.title = `F1 ${points(f1)}, 95 %: ${points(low)} – ${points(high)}. Show these questions`;
    button.append(
      element("span", {}, group.label),
      element("span", { class: "number count" }, count(group.count)),
      element("span", { class: "heard" }, " questions, F1 "),
      element(
        "span",
        { class: "track" },
        placed(0, f1, "f1"),
        other ? placed(group.other, group.other, "second") : placed(0, group.em[0], "em"),
        placed(low, high, "whisker"),
      ),
      element("span", { class: "number" }, points(f1)),
      element("span", { class: "heard" }, other ? `, F1 of ${other.model} ` : ", exact match "),
      element("span", { class: "number" }, points(other ? group.other : group.em[0])),
    );
    return button;
  }

  /* --- density --------------------------------------------------------------------------------------------------- */

  function matrices() {
    const sparse = data.matrices.filter((matrix) => matrix.blocks);
    const dense = data.matrices.filter((matrix) => !matrix.blocks);
    const modules = new Map();
    for (const matrix of sparse) {
      const split = /^(.*\.\d+)\.(.+)$/.exec(matrix.name);
      const [module, leaf] = split ? [split[1], split[2]] : ["", matrix.name];
      if (!modules.has(module)) modules.set(module, []);
      modules.get(module).push(picture(matrix, leaf));
    }
    for (const [module, pictures] of modules) {
      const made = element("div", { class: "module card" });
      if (module) made.append(element("h3", {}, module));
      made.append(element("div", { class: "pictures" }, ...pictures));
      byId("matrices").append(made);
    }
    if (dense.length) byId("matrices").append(denseList(dense, sparse.length));
    paint();
  }

  function denseList(dense, others) {
    const words = dense.length === 1 ? "1 matrix is" : `${count(dense.length)} matrices are`;
    const head = `${others ? "" : "Nothing was pruned: "}${words} full, or 99.9\u00a0% of it`;
    const rows = dense.map((matrix) => element("li", {}, `${matrix.name}, ${matrix.shape.map(count).join(" × ")}`));
    return element("details", { class: "card rules" }, element("summary", {}, head), element("ul", {}, ...rows));
  }

  function picture(matrix, leaf) {
    const [rows, columns] = matrix.grid;
    const label = `${matrix.name}: ${percent(matrix.density)} of the weights are not zero`;
    const canvas = element("canvas", { role: "img", "aria-label": label, width: columns, height: rows });
    const longest = Math.max(rows, columns);
    canvas.style.width = `${Math.round((160 * columns) / longest)}px`;
    canvas.style.height = `${Math.round((160 * rows) / longest)}px`;
    canvas.levels = Uint8Array.from(atob(matrix.blocks), (character) => character.charCodeAt(0));
    const lines = [
      `${matrix.shape.map(count).join(" × ")}, ${percent(matrix.density)} dense`,
      `densest block ${percent(matrix.peak)}`,
    ];
    if (matrix.emptyRows) lines.push(`empty rows: ${count(matrix.emptyRows)}`);
    if (matrix.emptyColumns) lines.push(`empty columns: ${count(matrix.emptyColumns)}`);
    const notes = lines.map((line) => element("span", {}, line));
    return element("figure", {}, canvas, element("figcaption", {}, leaf, ...notes));
  }

  /* One pixel per block; the style sheet enlarges it. Again whenever the colours change. */
  function paint() {
    const style = getComputedStyle(document.documentElement);
    const [low, high] = ["--low", "--high"].map((name) => style.getPropertyValue(name).trim().split(/\s+/).map(Number));
    for (const canvas of document.querySelectorAll("canvas")) {
      const image = new ImageData(canvas.width, canvas.height);
      canvas.levels.forEach((level, index) => {
        for (let c = 0; c < 3; c += 1) image.data[4 * index + c] = low[c] + ((high[c] - low[c]) * level) / 255;
        image.data[4 * index + 3] = 255;
      });
      canvas.getContext("2d").putImageData(image, 0, 0);
    }
  }

  /* --- colours, keys, start -------------------------------------------------------------------------------------- */

  const THEMES = { "": "Auto", light: "Light", dark: "Dark" };

  function applyTheme() {
    if (!(state.theme in THEMES)) state.theme = "";
    if (state.theme) document.documentElement.dataset.theme = state.theme;
    else delete document.documentElement.dataset.theme;
    byId("theme").textContent = THEMES[state.theme];
    byId("theme").setAttribute("aria-label", `Colours: ${THEMES[state.theme].toLowerCase()}`);
    paint();
  }

  function nextTheme() {
    const names = Object.keys(THEMES);
    state.theme = names[(names.indexOf(state.theme) + 1) % names.length];
    applyTheme();
    writeAddress();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "/") {
      event.preventDefault();
      form.elements.q.focus();
    } else if (event.key === "n" && !byId("next").disabled) turn(1);
    else if (event.key === "p" && !byId("previous").disabled) turn(-1);
  }

  function fromAddress() {
    readAddress();
    applyTheme();
    const linked = update({ address: false });
    if (linked) {
      linked.scrollIntoView();
      linked.querySelector("summary").focus();
    }
  }

  for (const only of document.querySelectorAll(other ? ".one" : ".two")) only.remove();
  header();
  outcomes();
  breakdowns();
  matrices();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    for (const name of FIELDS) state[name] = form.elements[name] ? form.elements[name].value : "";
    first();
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const name of FIELDS) state[name] = "";
    first();
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("theme").addEventListener("click", nextTheme);
  byId("skip").addEventListener("click", () => byId("questions-title").focus());
  for (const name of document.querySelectorAll(".name")) name.textContent = name.dataset.of === "2" ? other.model : data.model;
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", fromAddress);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  fromAddress();
})();
