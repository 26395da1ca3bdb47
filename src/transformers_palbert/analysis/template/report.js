"use strict";
(() => {
  const PAGE = 20;
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const form = byId("filters");
  const integers = new Intl.NumberFormat("en");
  const FIELDS = ["q", "only", "min", "max", "sort", ...data.breakdowns.map((part) => part.key)];
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

  /* A small model's scores may all be small. */
  const shown = (score) => (score < 0.1 ? score.toPrecision(2) : score.toFixed(2));

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

  function answerText(question, rank) {
    const [, start, end] = question.answers[rank];
    return characters(question).slice(start, end).join("");
  }

  function haystack(question) {
    if (question.haystack === undefined) {
      const gold = question.gold.map(([, text]) => text);
      question.haystack = [question.id, question.text, answerText(question, 0), ...gold].join("\n").toLowerCase();
    }
    return question.haystack;
  }

  function contextMatches(wanted) {
    return data.contexts.map(({ title, text }) => `${title}\n${text}`.toLowerCase().includes(wanted));
  }

  /* --- filter, order, page --------------------------------------------------------------------------------------- */

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state = { page: Math.max(parseInt(given.get("page"), 10) || 1, 1), theme: given.get("theme") || "" };
    for (const name of FIELDS) state[name] = given.get(name) || "";
  }

  function writeAddress() {
    const kept = new URLSearchParams();
    for (const name of [...FIELDS, "theme"]) if (state[name]) kept.set(name, state[name]);
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
    state.page = Math.min(state.page, pages);
    const begin = (state.page - 1) * PAGE;
    const list = byId("list");
    list.replaceChildren(...found.slice(begin, begin + PAGE).map(card));
    if (!found.length) list.append(element("p", { class: "card muted" }, "No question fits the filter."));
    if (found.length === 1) list.firstElementChild.open = true;
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
      if (field.value !== state[name]) field.value = state[name];
    }
    if (address) writeAddress();
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
    state.page = 1;
    update();
  }

  function turn(pages) {
    state.page = Math.max(state.page + pages, 1);
    update();
    byId("questions-title").scrollIntoView();
  }

  /* --- one question ---------------------------------------------------------------------------------------------- */

  function card(question) {
    const result = outcome(question);
    const words = { right: "right", partial: `F1 ${points(question.f1)}`, missed: "wrong" }[result];
    const said = element("span", { class: "said" }, element("b", {}, answerText(question, 0) || "no answer"));
    if (result !== "right") {
      const gold = question.gold.map(([, text]) => text).join(" / ") || "no answer";
      said.append(" instead of ", element("b", {}, gold));
    }
    const head = element(
      "summary",
      {},
      element("span", { class: "asked" }, question.text),
      element("span", { class: "result" }, words),
      said,
    );
    const whole = element("details", { class: `question ${result}` }, head);
    whole.addEventListener("toggle", () => {
      if (whole.open && whole.childElementCount === 1) whole.append(body(question));
    });
    return whole;
  }

  function body(question) {
    const { title } = data.contexts[question.context];
    const type = data.breakdowns[0].groups[question.groups[0]].label;
    const absent = question.gold.filter(([start]) => start < 0).map(([, text]) => text);
    const facts = [title, type, question.id].filter(Boolean).join(" · ");
    const made = element("div", { class: "body" }, element("p", { class: "facts" }, facts));
    if (absent.length) {
      const note = `Not in the context word for word: ${absent.join(" / ")}`;
      made.append(element("p", { class: "facts" }, note));
    }
    const context = element("p", { class: "context" });
    const buttons = question.answers.map((_, rank) => candidate(question, rank, () => show(rank)));
    const show = (rank) => {
      context.replaceChildren(...marked(question, rank));
      buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === rank)));
    };
    show(0);
    const rows = buttons.map((button) => element("li", {}, button));
    made.append(context, element("ol", { class: "candidates", "aria-label": "Candidates, best first" }, ...rows));
    return made;
  }

  function candidate(question, rank, choose) {
    const [score, , , f1] = question.answers[rank];
    const longest = question.answers[0][0];
    const track = element("span", { class: "track", "aria-hidden": "true" }, placed(0, longest ? (100 * score) / longest : 0, ""));
    const button = element(
      "button",
      { type: "button", title: "Mark this candidate in the context" },
      element("span", { class: "number rank" }, String(rank + 1)),
      track,
      element("span", { class: "number" }, shown(score)),
      element("span", { class: "text" }, answerText(question, rank) || "no answer"),
      element("span", { class: "number" }, `F1 ${points(f1)}`),
    );
    button.addEventListener("click", choose);
    return button;
  }

  /* The context, cut wherever a reference answer or the candidate begins or ends. */
  function marked(question, rank) {
    const text = characters(question);
    const [, start, end] = question.answers[rank];
    const gold = question.gold.filter(([at]) => at >= 0).map(([at, answer]) => [at, at + Array.from(answer).length]);
    const cuts = [...new Set([0, text.length, start, end, ...gold.flat()])].sort((a, b) => a - b);
    return cuts.slice(1).map((stop, index) => {
      const begin = cuts[index];
      const piece = text.slice(begin, stop).join("");
      const names = [];
      if (gold.some(([from, to]) => from <= begin && stop <= to)) names.push("gold");
      if (start <= begin && stop <= end) names.push("found");
      return names.length ? element("mark", { class: names.join(" ") }, piece) : piece;
    });
  }

  /* --- the fixed parts ------------------------------------------------------------------------------------------- */

  function header() {
    const { facts, scores, best } = data;
    byId("model").textContent = data.model;
    byId("about").textContent = `${data.facts.architecture} on ${count(data.questions.length)} questions of ${data.source}, scored as ${data.metric}`;
    const interval = ([, low, high]) => `95 %: ${points(low)} – ${points(high)}`;
    const removed = `${count(facts.nonzero)} non-zero; encoder ${percent(facts.encoder_density)} dense`;
    const tiles = [
      ["F1", points(scores.f1[0]), interval(scores.f1)],
      ["Exact match", points(scores.em[0]), interval(scores.em)],
      ["Parameters", millions(facts.parameters), removed],
      ["File", facts.file_bytes === null ? "?" : bytes(facts.file_bytes), "weights on disk"],
    ];
    if (data.topK > 1) {
      tiles.splice(2, 0, [`F1, best of ${data.topK} answers`, points(best.f1), `exact match ${points(best.em)}`]);
    }
    byId("tiles").append(
      ...tiles.map(([name, value, note]) =>
        element(
          "div",
          {},
          element("dt", {}, name),
          element("dd", { class: "value" }, value),
          element("dd", { class: "note" }, note),
        ),
      ),
    );
    const shape = Object.entries(facts.sizes).map(([name, value]) => `${name} ${value}`);
    byId("method").textContent =
      `${facts.architecture}: ${shape.join(", ")}. Intervals are 95 % percentile bootstrap over questions. A length of` +
      " an answer is that of the shortest reference. The score of an answer is the probability of its start times" +
      " that of its end; equal texts add up. The page holds all it needs and loads nothing.";
  }

  const millions = (number) => (number >= 1e6 ? `${(number / 1e6).toFixed(2)} M` : count(number));

  function outcomes() {
    const names = {
      right: "right",
      partial: "in part right",
      missed: "nothing right",
    };
    const numbers = { right: 0, partial: 0, missed: 0 };
    for (const question of data.questions) numbers[outcome(question)] += 1;
    for (const [name, label] of Object.entries(names)) {
      const share = percent(numbers[name] / data.questions.length);
      const button = filterButton("only", name, name);
      button.append(element("span", {}, element("strong", {}, count(numbers[name])), ` ${label} (${share})`));
      button.style.flexGrow = String(numbers[name]);
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
      const head = ["", "count", "", "F1", "EM"].map((name) => element("span", {}, name));
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
      form.insertBefore(
        element("label", {}, name[0].toUpperCase() + name.slice(1), select),
        form.querySelector("[name=min]").parentElement,
      );
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
    const spoken = `${group.label}: ${group.count} questions, F1 ${points(f1)}, exact match ${points(group.em[0])}`;
    button.setAttribute("aria-label", spoken);
    button.title = `F1 ${points(f1)}, 95 %: ${points(low)} – ${points(high)}. Show these questions`;
    button.append(
      element("span", {}, group.label),
      element("span", { class: "number count" }, count(group.count)),
      element(
        "span",
        { class: "track" },
        placed(0, f1, "f1"),
        placed(0, group.em[0], "em"),
        placed(low, high, "whisker"),
      ),
      element("span", { class: "number" }, points(f1)),
      element("span", { class: "number" }, points(group.em[0])),
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
    update({ address: false });
  }

  header();
  outcomes();
  breakdowns();
  matrices();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    for (const name of FIELDS) state[name] = form.elements[name].value;
    state.page = 1;
    update();
  });
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    for (const name of FIELDS) state[name] = "";
    state.page = 1;
    update();
  });
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  byId("theme").addEventListener("click", nextTheme);
  byId("skip").addEventListener("click", () => byId("questions-title").focus());
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", fromAddress);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  fromAddress();
})();
