"use strict";
// What the models said to each question of a run, with the pictures they saw.
(() => {
  const { el, load } = mubench;
  const $ = (selector) => document.querySelector(selector);
  const STEP = 20;
  const ROLES = ["target", "gold", "method"];
  const { board, split, answers } = document.body.dataset;
  const byRole = JSON.parse(answers);
  let items = [];
  let said = {};
  let shown = STEP;

  const [SET, MODALITY, TASK, PERSON, QUESTION, CHOICES, ANSWER, PICTURE] = [0, 1, 2, 3, 4, 5, 6, 7];
  const words = (item, [text]) => (item[CHOICES].length ? item[CHOICES][text] : text);

  function option(select, values) {
    $(select).replaceChildren(el("option", { value: "" }, "all"), ...[...new Set(values)].map((value) => el("option", { value }, value.replace("image_text", "image+text"))));
    $(select).addEventListener("change", draw);
  }

  function matches(item, at) {
    const is = (select, value) => !$(select).value || $(select).value === value;
    if (!is("#set", item[SET]) || !is("#modality", item[MODALITY]) || !is("#task", item[TASK])) return false;
    const [gold, method] = [said.gold[at][1], said.method[at][1]];
    const which = $("#which").value;
    if (which === "wrong" && method !== 0) return false;
    if (which === "right" && method !== 1) return false;
    if (which === "leak" && !(method === 1 && gold === 0)) return false;
    const wanted = $("#find").value.toLowerCase();
    return !wanted || [item[QUESTION], item[ANSWER], item[PERSON], ...ROLES.map((role) => String(words(item, said[role][at])))].join(" ").toLowerCase().includes(wanted);
  }

  function card(item, at) {
    const line = (role) => {
      const [, right] = said[role][at];
      const mark = right === null ? null : el("span", { class: right ? "right" : "wrong" }, right ? "\u2713 right" : "\u2717 wrong");
      return el("div", {}, el("dt", {}, role), el("dd", {}, words(item, said[role][at]), " ", mark));
    };
    return el("li", { class: "item" },
      item[PICTURE] === null ? null : el("img", { src: `../data/${encodeURIComponent(board)}/pictures/${split}/${item[PICTURE]}.webp`, alt: item[PERSON], width: 112, height: 112, loading: "lazy" }),
      el("div", {}, el("p", { class: "asked" }, item[QUESTION]),
        item[CHOICES].length ? el("p", { class: "options" }, item[CHOICES].join(" \u00b7 ")) : null,
        el("dl", {}, el("div", {}, el("dt", {}, "true"), el("dd", {}, item[ANSWER])), ...ROLES.map(line)),
        el("p", { class: "note" }, `${item[SET]} \u00b7 ${item[MODALITY].replace("image_text", "image+text")} \u00b7 ${item[TASK]} \u00b7 ${item[PERSON]}`)));
  }

  function draw() {
    const found = items.map((item, at) => at).filter((at) => matches(items[at], at));
    $("#items").replaceChildren(...found.slice(0, shown).map((at) => card(items[at], at)));
    $("#items-count").textContent = `${found.length} of ${items.length} questions`;
    $("#items-more").hidden = found.length <= shown;
  }

  async function open() {
    try {
      items = await load(`../data/${board}/items-${split}.js`, `items/${split}`);
      const files = byRole[$("#seed").value];
      const found = await Promise.all(ROLES.map((role) => load(`../data/${board}/answers/${files[role]}.js`, `answers/${files[role]}`)));
      said = Object.fromEntries(ROLES.map((role, at) => [role, found[at]]));
    } catch {
      return; // the benchmark was not at hand when the site was made
    }
    $("#answers").hidden = false;
    if (!$("#set").options.length) {
      option("#set", items.map((item) => item[SET]));
      option("#modality", items.map((item) => item[MODALITY]));
      option("#task", items.map((item) => item[TASK]));
    }
    draw();
    document.body.dataset.ready = "true";
  }

  addEventListener("DOMContentLoaded", () => {
    $("#seed").addEventListener("change", open);
    $("#which").addEventListener("change", draw);
    $("#find").addEventListener("input", draw);
    $("#items-more").addEventListener("click", () => {
      shown += STEP;
      draw();
    });
    open();
  });
})();
