"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const ONE_COLUMN = "(max-width: 52rem)"; // as in the style sheet
  const NO_ANSWER = "The text does not say.";
  let running = null; // the request under way
  let shown = { characters: [], answers: [] };

  /* Text only ever becomes text nodes: nothing of it is parsed as markup. */
  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  /* A small model's scores may all be small. */
  const points = (score) => (score < 0.01 ? score.toPrecision(2) : score.toFixed(3));

  function say(problem) {
    byId("problem").textContent = problem;
    byId("problem").hidden = problem === "";
    if (problem) byId("hint").hidden = true;
  }

  function busy(now) {
    byId("send").textContent = now ? "Asking …" : "Ask";
    byId("found").setAttribute("aria-busy", String(now));
    if (now) byId("status").textContent = "Asking";
  }

  function cutShort(detail, status, retryAfter) {
    if (status === 429 || status === 503) return `The server is busy. Try again in ${retryAfter || 1} s.`;
    return detail || `The server answered with the status ${status}.`;
  }

  async function post(body, signal) {
    const response = await fetch("answer", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
    });
    const said = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(cutShort(said.detail, response.status, response.headers.get("Retry-After")));
    return said.results[0].answers;
  }

  async function ask() {
    if (running) running.abort(); // frees its place in the server's queue
    const mine = new AbortController();
    running = mine;
    say("");
    busy(true);
    const context = byId("context").value;
    const question = byId("question").value;
    const top = Number(byId("top").value);
    try {
      const impossible = byId("impossible").checked;
      const options = { top_k: top, handle_impossible_answer: impossible, normalize_over: "document" };
      const body = { question, context, ...options };
      show(question, context, await post(body, mine.signal));
    } catch (error) {
      if (running !== mine) return; // a newer question is under way
      byId("found").hidden = true;
      byId("status").textContent = "";
      say(error instanceof TypeError ? "The server cannot be reached." : error.message);
    } finally {
      if (running === mine) {
        running = null;
        busy(false);
      }
    }
  }

  function show(question, context, answers) {
    shown = { characters: Array.from(context), answers }; // offsets count code points
    const best = answers[0];
    byId("hint").hidden = true;
    byId("found").hidden = false;
    byId("asked").textContent = question;
    byId("best").textContent = best.answer || NO_ANSWER;
    byId("best").classList.toggle("none", !best.answer);
    byId("candidates").replaceChildren(...answers.map(candidate));
    mark(0);
    if (matchMedia(ONE_COLUMN).matches) byId("result").scrollIntoView();
    byId("status").textContent = `Answer: ${best.answer || NO_ANSWER} Score ${points(best.score)}, ${answers.length} candidates.`;
  }

  function candidate({ answer, score }, number) {
    const bar = element("i", {});
    bar.style.width = `${Math.min(100 * score, 100)}%`;
    const button = element(
      "button", { type: "button" },
      element("span", { class: "rank" }, String(number + 1)),
      element("span", { class: answer ? "text" : "text none" }, answer || NO_ANSWER),
      element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("span", { class: "score" }, element("span", { class: "visually-hidden" }, "score "), points(score)),
    );
    for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => mark(number));
    return element("li", {}, button);
  }

  function mark(number) {
    const { characters, answers } = shown;
    const { start, end } = answers[number];
    const slice = (from, to) => characters.slice(from, to).join("");
    const text = end > start
      ? [slice(0, start), element("mark", {}, slice(start, end)), slice(end)]
      : [slice(0)];
    byId("marked").replaceChildren(...text);
    byId("candidates").querySelectorAll("button").forEach((button, at) => {
      if (at === number) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    const found = byId("marked").querySelector("mark");
    const pane = byId("marked");
    pane.scrollTop = found ? found.offsetTop - pane.clientHeight / 3 : 0;
  }

  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("context").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
  });
  byId("context").addEventListener("input", () => {
    const size = Array.from(byId("context").value).length;
    byId("size").textContent = `${size.toLocaleString("en")} character${size === 1 ? "" : "s"}`;
  });
  byId("candidates").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...byId("candidates").querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) next.focus();
    event.preventDefault();
  });
  fetch("health").then((response) => response.json()).then(({ model }) => {
    byId("model").textContent = model;
    document.title = `Ask a text: ${model}`;
  }).catch(() => {}); // the page works without the name
})();
