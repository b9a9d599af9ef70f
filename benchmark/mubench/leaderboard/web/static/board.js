"use strict";
// The leaderboard's table, charts and comparison. The whole view is kept in the address.
(() => {
  const { el, load, track } = mubench;
  const $ = (selector) => document.querySelector(selector);
  const MODALITIES = { image_text: "image+text", text: "text-only" };
  const GROUPS = {
    efficacy: "Efficacy",
    generalizability: "Generalizability",
    utility: "Utility",
    leakage: "Leakage",
    privacy: "Privacy",
    other: "Other",
    cost: "Cost",
  };
  const FILTERS = { model: "Model", family: "Family", kind: "Kind", retain: "Retain data", ratio: "Forgets", scope: "What of them" };
  const SHOWN_AT_ONCE = 40;
  const MOST_COMPARED = 6;
  let data = null;
  let table = null;
  let everything = false; // rows beyond the first ones, too

  // --- numbers -------------------------------------------------------------------------------
  const digits = (x) => (Math.abs(x) / 1000).toFixed(2);
  const minus = (x) => (x < 0 && digits(x) !== "0.00" ? "\u2212" : "");
  const plain = (x) => minus(x) + digits(x);
  const signed = (x) => (x > 0 && digits(x) !== "0.00" ? "+" : minus(x)) + digits(x);
  const range = ([, low, high], form = plain) =>
    low === null || high === null ? "no interval" : `95 % interval ${form(low)} to ${form(high)}`;
  const percent = (x) => `${Math.round(100 * x)} %`;
  const duration = (s) =>
    s === 0 ? "0" : s < 100 ? `${Math.round(s)} s` : s < 6000 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
  const UNITS = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"]];
  const flops = (x) => {
    const [factor, prefix] = UNITS.find(([least]) => x >= least) ?? UNITS.at(-1);
    return `${Number((x / factor).toPrecision(3))} ${prefix}FLOP`;
  };
  const forgets = (one) => `forgets ${percent(one.ratio)}${one.scope === "association" ? ", names alone" : ""}`;

  // --- state and its address -------------------------------------------------------------------
  const fresh = () => ({ b: document.body.dataset.first, q: "", m: "gap", sort: [], cols: null, filters: {}, gated: true, sel: [], open: false });
  let state = fresh();

  function toAddress() {
    const parts = new URLSearchParams();
    const start = fresh();
    if (state.b !== start.b) parts.set("b", state.b);
    if (state.q) parts.set("q", state.q);
    if (state.m !== start.m) parts.set("m", state.m);
    if (state.sort.length) parts.set("sort", state.sort.map(({ id, desc }) => (desc ? "-" : "") + id).join(","));
    if (state.cols) parts.set("cols", state.cols.join(","));
    for (const [key, values] of Object.entries(state.filters)) if (values.length) parts.set(`f.${key}`, values.join(","));
    if (!state.gated) parts.set("gated", "0");
    if (state.sel.length) parts.set("sel", state.sel.join(","));
    if (state.open) parts.set("compare", "1");
    const hash = parts.toString();
    const address = hash ? `#${hash}` : location.pathname + location.search;
    if (hash !== location.hash.slice(1)) history.replaceState(null, "", address);
  }

  function fromAddress() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const list = (key) => (parts.get(key) ? parts.get(key).split(",") : []);
    const made = fresh();
    if ([...document.querySelectorAll("#boards button")].some((b) => b.value === parts.get("b"))) made.b = parts.get("b");
    made.q = parts.get("q") ?? "";
    if (parts.get("m") === "score") made.m = "score";
    made.sort = list("sort").map((id) => ({ id: id.replace(/^-/, ""), desc: id.startsWith("-") }));
    if (parts.has("cols")) made.cols = list("cols");
    for (const key of Object.keys(FILTERS)) if (parts.has(`f.${key}`)) made.filters[key] = list(`f.${key}`);
    made.gated = parts.get("gated") !== "0";
    made.sel = list("sel").slice(0, MOST_COMPARED);
    made.open = parts.get("compare") === "1";
    return made;
  }

  // --- columns ---------------------------------------------------------------------------------
  /** The columns of the table: those of the data, and cost. */
  function allColumns() {
    const metrics = data.columns.map((column, at) => ({ ...column, at }));
    const cost = [
      { id: "seconds", group: "cost", title: "Time to unlearn", label: "time", form: duration },
      { id: "flops", group: "cost", title: "Compute to unlearn", label: "compute", form: flops },
      { id: "mb", group: "cost", title: "Peak memory", label: "memory", form: (x) => `${(x / 1024).toFixed(1)} GB` },
      { id: "state", group: "cost", title: "What has to be kept to have the unlearned model", label: "kept", form: String },
      { id: "overhead", group: "cost", title: "Time of an answer relative to the target's", label: "answer time", form: (x) => `\u00d7${x.toFixed(1)}` },
    ];
    return [...metrics, ...cost];
  }

  /** Shown unless others are asked for: the first headline metric of forget, test and retain, and time. */
  function usualColumns() {
    const first = new Map();
    for (const c of data.columns) {
      const key = `${c.set}/${c.modality}`;
      if (c.headline && ["forget", "test", "retain"].includes(c.set) && !first.has(key)) first.set(key, c.id);
    }
    return [...first.values(), "seconds"];
  }

  const shownColumns = () => {
    const wanted = new Set(state.cols ?? usualColumns());
    return allColumns().filter((column) => wanted.has(column.id));
  };
  const modality = (c) => MODALITIES[c.modality] ?? c.modality.replaceAll("_", " ");
  const label = (c) => c.label ?? (c.metric === "accuracy" ? c.task : c.metric).replaceAll("_", " ");
  const fullName = (c) => (c.set ? `${c.set}, ${modality(c)}, ${c.task}: ${c.title}` : c.title);

  /** What a row shows in a metric column: [value, low, high] and how to read it. */
  function shown(row, column) {
    if (state.m === "score") return [row.score?.[column.at] ?? null, "score"];
    const gap = row.gap?.[column.at];
    if (gap) return [gap, "gap"];
    return [row.delta?.[column.at] ?? null, "delta"];
  }

  // --- the table -------------------------------------------------------------------------------
  function makeTable() {
    const text = (row) => [row.method, row.title, row.setting, row.model, row.kind, row.family, ...row.badges].join(" ").toLowerCase();
    const columns = [
      { id: "rank", accessorFn: (row, at) => at },
      { id: "method", accessorFn: (row) => row.method },
      { id: "model", accessorFn: (row) => row.model },
      { id: "distance", accessorFn: (row) => row.distance?.[0], sortUndefined: "last" },
      { id: "kept", accessorFn: (row) => row.utility ?? undefined, sortUndefined: "last" },
      ...allColumns().map((column) => ({
        id: column.id,
        accessorFn: (row) => (column.at === undefined ? row[column.id] ?? undefined : shown(row, column)[0]?.[0]),
        sortUndefined: "last",
      })),
    ].map((column) => ({ sortingFn: "basic", enableGlobalFilter: column.id === "method", ...column }));
    columns[1].sortingFn = columns[2].sortingFn = "text";
    const words = () => state.q.toLowerCase().split(/\s+/).filter(Boolean);
    table = vendor.createTable({
      data: data.rows,
      columns,
      getRowId: (row) => row.id,
      state: { sorting: state.sort, globalFilter: wantedRows(), columnPinning: {} },
      onStateChange: () => {},
      renderFallbackValue: null,
      globalFilterFn: (row) => {
        const one = row.original;
        if (!state.gated && one.gated) return false;
        if (!Object.entries(state.filters).every(([key, values]) => !values.length || values.includes(String(one[key])))) return false;
        const asked = words();
        const found = asked.length ? text(one) : "";
        return asked.every((word) => found.includes(word));
      },
      getCoreRowModel: vendor.getCoreRowModel(),
      getFilteredRowModel: vendor.getFilteredRowModel(),
      getSortedRowModel: vendor.getSortedRowModel(),
    });
  }

  /** What rows are filtered by, as text: the filter runs again only where it is another. */
  const wantedRows = () => JSON.stringify([state.b, state.q, state.gated, state.filters]);

  function found() {
    const known = new Set(table.getAllColumns().map((column) => column.id));
    state.sort = state.sort.filter(({ id }) => known.has(id));
    table.setOptions((before) => ({ ...before, state: { sorting: state.sort, globalFilter: wantedRows(), columnPinning: {} } }));
    return table.getSortedRowModel().rows.map((row) => row.original);
  }

  function sortBy(id, more) {
    const before = state.sort.find((one) => one.id === id);
    const next = !before ? { id, desc: false } : !before.desc ? { id, desc: true } : null;
    const others = more ? state.sort.filter((one) => one.id !== id) : [];
    state.sort = next ? [...others, next] : others;
    update();
    $(`[data-sort="${CSS.escape(id)}"]`)?.focus(); // the heading was drawn anew
  }

  function header(columns) {
    const head = (id, text, attributes = {}) => {
      const at = state.sort.findIndex((one) => one.id === id);
      const way = at < 0 ? null : state.sort[at].desc ? "descending" : "ascending";
      const mark = way ? el("span", { class: "way", "aria-hidden": "true" }, way === "ascending" ? "\u2191" : "\u2193", state.sort.length > 1 ? String(at + 1) : "") : null;
      const button = el("button", { type: "button", "data-sort": id, title: attributes.title ?? null, onclick: (event) => sortBy(id, event.shiftKey) }, text, mark);
      return el("th", { scope: "col", "aria-sort": way, class: attributes.class ?? null, rowspan: attributes.rowspan ?? null }, button);
    };
    const top = el("tr", {}, el("th", { scope: "col", rowspan: 3, class: "pick" }, el("span", { class: "hidden" }, "Compare")),
      head("rank", "Rank", { rowspan: 3, class: "rank", title: "Rank interval: nearest to gold first" }),
      head("method", "Method", { rowspan: 3, class: "who" }),
      head("model", "Model", { rowspan: 3, class: "model" }),
      head("distance", "Distance to gold", { rowspan: 3, class: "number", title: "Mean distance to gold over the headline metrics of the forget set" }),
      head("kept", "Utility kept", { rowspan: 3, class: "number", title: "Mean over headline utility metrics of what is left of the target's" }));
    const middle = el("tr", {});
    const bottom = el("tr", {});
    const runs = (key) => columns.reduce((made, column) => {
      const name = key(column);
      if (made.length && made.at(-1).name === name) made.at(-1).columns.push(column);
      else made.push({ name, columns: [column] });
      return made;
    }, []);
    for (const { columns: of } of runs((c) => c.group)) top.append(el("th", { scope: "colgroup", colspan: of.length, class: `group ${of[0].group}` }, GROUPS[of[0].group]));
    for (const { columns: of } of runs((c) => `${c.group}/${c.set}/${c.modality}`)) {
      const name = of[0].set ? `${of[0].set} \u00b7 ${modality(of[0])}` : "";
      middle.append(el("th", { scope: "colgroup", colspan: of.length, class: "sub" }, name));
    }
    for (const column of columns) bottom.append(head(column.id, label(column), { class: "number", title: fullName(column) }));
    return [top, middle, bottom];
  }

  /** How far from gold: at it, on the way, at the target, beyond gold, or too wide to tell. */
  function level([value, low, high], kind) {
    if (kind !== "gap") return "plain";
    if ((high ?? value) < 0) return "beyond";
    if ((low ?? value) <= 0 && (high ?? value) >= 1000) return "plain";
    if ((low ?? value) <= 0) return "near";
    return (high ?? value) >= 1000 ? "far" : "some";
  }

  function numberCell(value, kind) {
    if (!value) return notApplicable();
    const form = kind === "score" ? plain : signed;
    const words = kind === "delta" ? "method \u2212 gold" : kind === "gap" ? "gap to gold" : "score";
    const from = kind === "score" ? 0 : kind === "gap" ? -250 : -500;
    const to = kind === "score" ? 1000 : kind === "gap" ? 1250 : 500;
    return el("td", { class: `number ${kind}`, title: `${words} ${form(value[0])}, ${range(value, form)}` },
      kind === "delta" ? el("span", { class: "minus" }, "\u0394") : null,
      form(value[0]), track(value, from, to, `${kind} ${level(value, kind)}`));
  }

  const notApplicable = () => el("td", { class: "number none" }, el("span", { title: "not applicable" }, "n/a"));
  const costCell = (value, form) => (value === null ? notApplicable() : el("td", { class: "number" }, form(value)));

  function distanceCell(row) {
    if (!row.distance) return el("td", { class: "number none" }, "n/a");
    return el("td", { class: "number strong", title: `mean distance to gold ${plain(row.distance[0])}, ${range(row.distance)}` },
      plain(row.distance[0]), track(row.distance, 0, 1250, "distance"));
  }

  const BADGES = {
    rescored: "every number was computed again from the predictions",
    "single-seed": "one seed only: chance of training is not in its interval",
    stale: "an older content of the benchmark",
    reported: "taken from a paper, not measured here",
  };
  const badge = (name) => el("span", { class: `badge ${name.replace(/[^a-z]/g, "")}`, title: BADGES[name] ?? name }, name === "rescored" ? "re-scored" : name);

  function rowElement(row, columns) {
    const picked = state.sel.includes(row.id);
    const box = el("input", { type: "checkbox", "aria-label": `Compare ${row.method} on ${row.model}`, onchange: () => pick(row.id) });
    box.checked = picked;
    const rank = row.rank ? (row.rank[0] === row.rank[1] ? String(row.rank[0]) : `${row.rank[0]}\u2013${row.rank[1]}`) : "\u2013";
    const name = el("th", { scope: "row", class: "who" },
      el("a", { href: `runs/${row.id}.html` }, row.method),
      row.setting ? el("span", { class: "setting" }, row.setting) : null,
      el("span", { class: "badges" }, ...row.badges.map(badge), row.label ? el("span", { class: "badge label" }, row.label) : null),
      row.gated ? el("span", { class: "gated" }, `not ranked: ${row.gated}`) : null);
    const made = el("tr", { class: [row.gated ? "is-gated" : "", picked ? "is-picked" : ""].join(" ").trim() || null, "data-id": row.id },
      el("td", { class: "pick" }, box),
      el("td", { class: "rank" }, rank),
      name,
      el("td", { class: "model" }, row.model, el("span", { class: "setting" }, `${row.seeds} seed${row.seeds > 1 ? "s" : ""} \u00b7 ${forgets(row)}`)),
      distanceCell(row),
      el("td", { class: "number" }, row.utility === null ? "n/a" : percent(row.utility / 1000)));
    for (const column of columns) {
      if (column.at === undefined) made.append(costCell(row[column.id], column.form));
      else made.append(numberCell(...shown(row, column)));
    }
    return made;
  }

  const REFERENCES = { target: "knows everything: where unlearning starts", gold: "never saw the forget set: where it should end", guess: "the commonest answer about others" };

  function references(columns) {
    const models = new Set(state.filters.model?.length ? state.filters.model : data.rows.map((row) => row.model));
    const wanted = data.references.filter((one) => models.has(one.model) && (state.m === "score" || one.name !== "guess"));
    return wanted.map((one) => {
      const made = el("tr", { class: `reference ${one.name}` }, el("td", { class: "pick" }), el("td", { class: "rank" }),
        el("th", { scope: "row", class: "who" }, one.id ? el("a", { href: `runs/${one.id}.html` }, one.name) : one.name, el("span", { class: "setting" }, REFERENCES[one.name])),
        el("td", { class: "model" }, one.model, el("span", { class: "setting" }, forgets(one))),
        el("td", { class: "number" }, one.name === "gold" ? "0.00" : one.name === "target" ? "1.00" : ""), el("td", {}));
      for (const column of columns) {
        if (column.at === undefined) made.append(el("td", {}));
        else if (state.m === "gap") {
          const any = data.rows.some((row) => row.model === one.model && row.gap[column.at]);
          made.append(any ? el("td", { class: "number" }, one.name === "gold" ? "0.00" : "1.00") : el("td", { class: "number none" }, "\u2013"));
        } else made.append(numberCell(one.score[column.at], "score"));
      }
      return made;
    });
  }

  /** Numbers from papers: their own names, their own setting, no rank. */
  function reported(columns) {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = data.reported.filter((row) => words.every((word) => `${row.method} ${row.model} reported`.toLowerCase().includes(word)));
    if (!rows.length) return [];
    const width = 6 + columns.length;
    const title = el("tr", { class: "section" }, el("th", { scope: "rowgroup", colspan: width }, "Reported elsewhere: other prompts, other models, no intervals, no rank"));
    return [title, ...rows.map((row) => el("tr", { class: "reported" }, el("td", { class: "pick" }), el("td", { class: "rank" }, "\u2013"),
      el("th", { scope: "row", class: "who" }, row.method, el("span", { class: "badges" }, badge("reported"))),
      el("td", { class: "model" }, row.model, el("span", { class: "setting" }, `forgets ${percent(row.ratio)}`)),
      el("td", { colspan: width - 4, class: "says" },
        Object.entries(row.values).map(([name, value]) => `${name} ${percent(value)}`.replace(/ %$/, "\u00a0%")).join(" \u00b7 "),
        el("span", { class: "setting" }, el("a", { href: row.source.url, rel: "noopener noreferrer" }, row.source.title), `, ${row.source.where}`, row.note ? `; ${row.note}` : ""))))];
  }

  function drawTable() {
    const columns = shownColumns();
    const rows = found();
    const first = everything ? rows : rows.slice(0, SHOWN_AT_ONCE);
    $("#rows thead").replaceChildren(...header(columns));
    const groups = [references(columns), first.map((row) => rowElement(row, columns)), reported(columns)];
    $("#rows").replaceChildren($("#rows caption"), $("#rows thead"), ...groups.filter((of) => of.length).map((of) => el("tbody", {}, ...of)));
    const more = rows.length - first.length;
    $("#more").hidden = more <= 0;
    $("#more").textContent = `Show ${more} more rows`;
    $("#count").textContent = `${rows.length} of ${data.rows.length} rows` + (data.reported.length ? `, ${data.reported.length} reported` : "");
    $("#empty").hidden = rows.length > 0 || !data.rows.length;
    return rows;
  }

  // --- controls --------------------------------------------------------------------------------
  function checks(title, values, chosen, change) {
    const boxes = values.map(([value, text]) => {
      const box = el("input", { type: "checkbox", value, onchange: () => change(boxes.filter((b) => b.input.checked).map((b) => b.input.value)) });
      box.checked = chosen.includes(value);
      return { input: box, label: el("label", {}, box, " ", text) };
    });
    return el("fieldset", {}, el("legend", {}, title), ...boxes.map((box) => box.label));
  }

  function drawControls() {
    const filters = Object.entries(FILTERS).map(([key, title]) => {
      const values = [...new Set(data.rows.map((row) => String(row[key])))].sort();
      if (values.length < 2) return null;
      const NAMES = { true: "needed", false: "not needed", identity: "all", association: "names alone" };
      const text = (value) => (key === "ratio" ? percent(Number(value)) : NAMES[value] ?? value);
      return checks(title, values.map((value) => [value, text(value)]), state.filters[key] ?? [], (chosen) => {
        state.filters[key] = chosen;
        update();
      });
    });
    $("#filters").replaceChildren(...filters.filter(Boolean));
    const wanted = new Set(state.cols ?? usualColumns());
    const byGroup = Object.keys(GROUPS).map((group) => [group, allColumns().filter((column) => column.group === group)]).filter(([, of]) => of.length);
    const choose = () => {
      state.cols = [...document.querySelectorAll("#columns input.column:checked")].map((box) => box.value);
      const at = document.activeElement?.value;
      update();
      drawControls();
      [...document.querySelectorAll("#columns input.column")].find((box) => box.value === at)?.focus();
    };
    $("#columns").replaceChildren(...byGroup.map(([group, of]) => {
      const all = el("input", { type: "checkbox", onchange: (event) => {
        event.target.closest("fieldset").querySelectorAll("input.column").forEach((box) => {
          box.checked = event.target.checked && (box.dataset.headline === "true" || group === "cost");
        });
        choose();
      } });
      const on = of.filter((column) => wanted.has(column.id)).length;
      all.checked = on > 0;
      all.indeterminate = on > 0 && on < of.length;
      return el("fieldset", {}, el("legend", {}, el("label", {}, all, " ", GROUPS[group])), ...of.map((column) => {
        const box = el("input", { type: "checkbox", class: "column", value: column.id, "data-headline": String(column.headline ?? false), onchange: choose });
        box.checked = wanted.has(column.id);
        return el("label", {}, box, " ", column.set ? `${column.set} \u00b7 ${modality(column)} \u00b7 ${label(column)}` : label(column));
      }));
    }));
    document.querySelectorAll("#boards button").forEach((button) => button.setAttribute("aria-pressed", String(button.value === state.b)));
    document.querySelectorAll('input[name="measure"]').forEach((radio) => (radio.checked = radio.value === state.m));
    $("#search").value = state.q;
    $("#gated").checked = state.gated;
    const active = Object.values(state.filters).filter((values) => values.length).length;
    $("#filter-count").textContent = active ? ` (${active})` : "";
    for (const [suffix, id] of [["json", "#get-json"]]) $(id).href = `data/${encodeURIComponent(state.b)}.${suffix}`;
  }

  function pick(id) {
    state.sel = state.sel.includes(id) ? state.sel.filter((one) => one !== id) : [...state.sel, id].slice(-MOST_COMPARED);
    if (state.sel.length < 2) state.open = false;
    toAddress();
    document.querySelectorAll("#rows tr[data-id]").forEach((row) => {
      const on = state.sel.includes(row.dataset.id);
      row.classList.toggle("is-picked", on);
      row.querySelector("input").checked = on;
    });
    drawTray();
    drawCharts(found());
    drawCompare();
  }

  function drawTray() {
    const names = state.sel.map((id) => data.rows.find((row) => row.id === id)?.method ?? id);
    $("#tray").hidden = !names.length;
    $("#picked").textContent = names.join(", ");
    $("#compare-button").disabled = names.length < 2;
  }

  // --- charts ----------------------------------------------------------------------------------
  const KINDS = ["gradient", "gradient-mask", "two-stage", "pruning", "editing", "inference", "reference"];
  const COLOURS = ["#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#767676"];
  const SYMBOLS = ["circle", "square", "triangle", "diamond", "star", "wye", "times"];

  function drawCharts(rows) {
    drawPareto(rows.filter((row) => row.distance && row.utility !== null));
    drawHeat(rows);
  }

  /** One picture with one name: its parts are no elements of the page. */
  function picture(made, name) {
    made.querySelectorAll("[aria-label], [aria-description]").forEach((part) => {
      part.removeAttribute("aria-label");
      part.removeAttribute("aria-description");
    });
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", name);
  }

  function drawPareto(rows) {
    const place = $("#pareto");
    if (!rows.length) return place.replaceChildren(el("p", { class: "note" }, "No row has both a distance to gold and utility."));
    const kinds = KINDS.filter((kind) => rows.some((row) => row.kind === kind));
    const width = Math.max(280, Math.min(place.clientWidth || 640, 760));
    const points = rows.map((row) => ({ ...row, x: row.distance[0] / 1000, low: row.distance[1] / 1000, high: row.distance[2] / 1000, y: row.utility / 1000, r: Math.sqrt(row.seconds + 1) }));
    const few = points.length <= 24;
    const far = Math.max(1.05, ...points.map((point) => point.x + 0.05));
    const made = vendor.plot({
      width, height: Math.round(width * 0.62), marginLeft: 52, marginBottom: 42, marginTop: 24, grid: true,
      style: { background: "transparent", fontSize: "12px", overflow: "visible" },
      x: { label: "distance to gold (0: like gold, 1: nothing forgotten)", labelAnchor: "center", labelArrow: "none", domain: [0, far] },
      y: { label: "share of the target's utility that is kept", labelArrow: "none", domain: [Math.min(0.8, ...points.map((p) => p.y - 0.03)), Math.max(1.02, ...points.map((p) => p.y + 0.02))], ticks: 6, tickFormat: (y) => `${Math.round(100 * y)}%` },
      r: { range: [4, 14] },
      color: { domain: kinds, range: kinds.map((kind) => COLOURS[KINDS.indexOf(kind)]) },
      symbol: { domain: kinds, range: kinds.map((kind) => SYMBOLS[KINDS.indexOf(kind)]) },
      marks: [
        vendor.ruleY([0.9], { stroke: "currentColor", strokeDasharray: "3,3", strokeOpacity: 0.5 }),
        vendor.link(points, { x1: "low", x2: "high", y1: "y", y2: "y", stroke: "kind", strokeOpacity: 0.55 }),
        vendor.dot(points, { x: "x", y: "y", r: "r", fill: "kind", symbol: "kind", fillOpacity: (point) => (point.gated ? 0.25 : 0.85), stroke: "kind", strokeWidth: (point) => (state.sel.includes(point.id) ? 4 : 1.5), title: (point) => `${point.method}: distance ${plain(point.distance[0])}, keeps ${percent(point.y)}, ${duration(point.seconds)}` }),
        few ? vendor.text(points, { x: "x", y: "y", text: "method", dy: -20, fill: "currentColor", fontWeight: 600 }) : null,
      ],
    });
    picture(made, "Distance to gold against utility kept, one mark a row; the same numbers stand in the table.");
    const keys = el("ul", { class: "keys" }, ...kinds.map((kind) => {
      const mark = el("span", { class: "key", "aria-hidden": "true" }, "\u25cf");
      mark.style.color = COLOURS[KINDS.indexOf(kind)];
      return el("li", {}, mark, ` ${kind}`);
    }));
    place.replaceChildren(made, keys);
  }

  /** Recovery above gold by path and form of the question, for chosen rows or the first. */
  async function drawHeat(rows) {
    const place = $("#heat");
    const having = rows.filter((row) => row.probed);
    const chosen = having.filter((row) => state.sel.includes(row.id));
    const wanted = (chosen.length ? chosen : having).slice(0, 3);
    if (!wanted.length) return place.replaceChildren(el("p", { class: "note" }, "No run of this benchmark was probed for leakage yet."));
    const board = state.b;
    const found = await Promise.all(wanted.map((row) => load(`data/${board}/leakage/${row.id}.js`, `leakage/${row.id}`).catch(() => [])));
    if (board !== state.b) return;
    place.replaceChildren(...wanted.map((row, at) => {
      const cells = found[at].map(([y, x, value, leaks]) => ({ y, x: x.replaceAll("_", " "), value: value[0] / 1000, leaks }));
      const order = (axis) => [...new Set(cells.map((cell) => cell[axis]))];
      const made = vendor.plot({
        width: Math.max(280, Math.min(place.clientWidth || 640, 560)), marginLeft: 190, marginBottom: 64, padding: 0.06,
        style: { background: "transparent", fontSize: "12px" },
        x: { label: null, tickRotate: -35, domain: order("x") }, y: { label: null, domain: order("y") },
        color: { type: "diverging", domain: [-1, 1], pivot: 0, range: ["#0072b2", "#f3f3f0", "#d55e00"], interpolate: "rgb" },
        marks: [
          vendor.cell(cells, { x: "x", y: "y", fill: "value" }),
          vendor.text(cells, { x: "x", y: "y", text: (c) => signed(1000 * c.value), fill: (c) => (Math.abs(c.value) > 0.6 ? "white" : "black"), fontWeight: (c) => (c.leaks ? 700 : 400) }),
        ],
      });
      picture(made, `${row.method}: recovery above gold by access path`);
      return el("figure", {}, made, el("figcaption", {}, `${row.method} on ${row.model}; bold: above gold for certain, in every seed`));
    }));
  }

  // --- comparison ------------------------------------------------------------------------------
  /** Mean difference of two rows over the same questions with its t interval over persons.
   *  A ratio of sums: its variance is that of the persons' residuals (Taylor linearisation). */
  function paired(one, other, quantiles) {
    const [counts, sums] = one;
    const people = counts.length;
    if (other[0].length !== people || people < 5) return null;
    const items = counts.reduce((a, b) => a + b, 0);
    const differences = sums.map((sum, at) => sum - other[1][at]);
    const mean = differences.reduce((a, b) => a + b, 0) / items;
    const squares = differences.reduce((total, d, at) => total + (d - mean * counts[at]) ** 2, 0);
    const half = (quantiles[Math.min(people - 2, quantiles.length - 1)] * Math.sqrt((squares * people) / (people - 1))) / items;
    return [1000 * mean, 1000 * (mean - half), 1000 * (mean + half)];
  }

  async function drawCompare() {
    const section = $("#compare");
    const rows = state.sel.map((id) => data.rows.find((row) => row.id === id)).filter(Boolean);
    section.hidden = !(state.open && rows.length > 1);
    if (section.hidden) return;
    const board = state.b;
    const sums = await Promise.all(rows.map((row) => row.persons ? load(`data/${board}/persons/${row.id}.js`, `persons/${row.id}`).catch(() => null) : null));
    if (board !== state.b) return;
    const quantiles = JSON.parse(document.body.dataset.t);
    const [base, ...others] = rows;
    const columns = shownColumns().filter((column) => column.at !== undefined);
    const head = el("tr", {}, el("th", { scope: "col" }, "Metric"), ...rows.map((row) => el("th", { scope: "col", class: "number" }, row.method, el("span", { class: "setting" }, row.setting || row.model))),
      ...others.map((row) => el("th", { scope: "col", class: "number" }, `${row.method} \u2212 ${base.method}`)));
    const body = columns.map((column) => el("tr", {}, el("th", { scope: "row", title: fullName(column) }, column.set, el("span", { class: "setting" }, `${modality(column)} \u00b7 ${label(column)}`)),
      ...rows.map((row) => numberCell(row.score[column.at], "score")),
      ...others.map((row, at) => {
        const [mine, theirs] = [sums[at + 1]?.[column.id], sums[0]?.[column.id]];
        const value = mine && theirs && row.ratio === base.ratio && row.scope === base.scope ? paired(mine, theirs, quantiles) : null;
        const made = numberCell(value, "delta");
        made.querySelector(".minus")?.remove();
        if (value && (value[1] > 0 || value[2] < 0)) made.classList.add("differs");
        return made;
      })));
    $("#compare table").replaceChildren($("#compare caption"), el("thead", {}, head), el("tbody", {}, ...body));
  }

  // --- all together ----------------------------------------------------------------------------
  let timer = 0;
  function update() {
    toAddress();
    const rows = drawTable();
    drawTray();
    const active = Object.values(state.filters).filter((values) => values.length).length;
    $("#filter-count").textContent = active ? ` (${active})` : "";
    clearTimeout(timer); // charts follow when typing and clicking pause
    timer = setTimeout(() => {
      drawCharts(rows);
      drawCompare();
    }, 120);
  }

  async function open(wanted) {
    state = wanted;
    try {
      data = await load(`data/${state.b}.js`, state.b);
    } catch (error) {
      $("#status").textContent = String(error.message);
      return;
    }
    // Rows come as lists of values; a board that was open before has its rows already.
    const { fields } = data;
    data.rows = data.rows.map((row) => (Array.isArray(row) ? Object.fromEntries(row.map((value, at) => [fields[at], value])) : row));
    $("#status").hidden = true;
    $("#title").textContent = data.title;
    everything = false;
    makeTable();
    drawControls();
    update();
    document.body.dataset.ready = "true";
  }

  addEventListener("DOMContentLoaded", () => {
    if (!document.body.dataset.first) return;
    const keep = (change) => (event) => {
      change(event);
      update();
    };
    $("#search").addEventListener("input", keep((event) => (state.q = event.target.value.trim())));
    $("#gated").addEventListener("change", keep((event) => (state.gated = event.target.checked)));
    document.querySelectorAll('input[name="measure"]').forEach((radio) => radio.addEventListener("change", keep(() => (state.m = radio.value))));
    document.querySelectorAll("#boards button").forEach((button) => button.addEventListener("click", () => open({ ...fresh(), b: button.value })));
    $("#more").addEventListener("click", () => {
      everything = true;
      drawTable();
    });
    addEventListener("beforeprint", () => {
      everything = true;
      drawTable();
    });
    $("#reset").addEventListener("click", () => open({ ...fresh(), b: state.b }));
    $("#compare-button").addEventListener("click", () => {
      state.open = true;
      toAddress();
      drawCompare().then(() => $("#compare").focus());
    });
    $("#compare-close").addEventListener("click", () => {
      state.open = false;
      toAddress();
      drawCompare();
      $("#compare-button").focus();
    });
    $("#clear").addEventListener("click", keep(() => {
      state.sel = [];
      state.open = false;
    }));
    $("#link").addEventListener("click", async () => {
      toAddress();
      try {
        await navigator.clipboard.writeText(location.href);
        $("#said").textContent = "The link to this view is copied.";
      } catch {
        $("#said").textContent = "The link to this view is the address of this page.";
      }
    });
    document.addEventListener("themechange", () => data && drawCharts(found()));
    addEventListener("hashchange", () => /^#?$|=/.test(location.hash) && open(fromAddress()));
    open(fromAddress());
  });
})();
