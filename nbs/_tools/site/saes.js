// The table of published SAEs. SAES, above, is columns of JSON, compressed with gzip and written in base64.

// Return one object per SAE. nbs/_tools/sae_page.py `expanded` does the same in Python, to check what was written.
function expand(data) {
  const rows = [];
  for (const [release, model, repo, format, count] of data.releases) {
    for (let i = 0; i < count; i++) {
      const n = rows.length;
      const hook = data.hooks[data.hook[n]];
      rows.push({
        release, model, repo, format, hook, id: data.id[n], hookOut: data.hooks[data.hook_out[n]] || "",
        layer: data.layer[n], width: data.width[n], l0: data.l0[n], explained: data.explained[n],
        architecture: data.architectures[data.architecture[n]], neuronpedia: data.neuronpedia[n] || "",
        place: hook.replace(/^blocks\.\d+\./, ""),
      });
    }
  }
  return rows;
}

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const MENUS = ["model", "hook", "width", "release", "architecture", "format", "neuronpedia"];
const VALUE = {
  model: (row) => row.model, hook: (row) => row.place, width: (row) => String(row.width ?? "unknown"),
  release: (row) => row.release, architecture: (row) => row.architecture, format: (row) => row.format,
  neuronpedia: (row) => (row.neuronpedia ? "yes" : "no"),
};
const PER_PAGE = 40;

// Return the conditions that a row has to meet, by filter
function conditions(state) {
  const tests = {};
  for (const name of MENUS) if (state[name]) tests[name] = (row) => VALUE[name](row) === state[name];
  if (state.layer) tests.layer = (row) => row.layer === Number(state.layer);
  if (state.l0min) tests.l0min = (row) => row.l0 !== null && row.l0 >= Number(state.l0min);
  if (state.l0max) tests.l0max = (row) => row.l0 !== null && row.l0 <= Number(state.l0max);
  const words = (state.q || "").toLowerCase().replace(/\blayers?\s*[=:]?\s*(?=\d+(\s|$))/g, "layer=").split(/\s+/);
  const asked = words.filter(Boolean).map(wordTest);
  if (asked.length) tests.q = (row) => asked.every((test) => test(row));
  return tests;
}

// Return the test for a word, as `matching_words` in Python: "layer=8", "L8" and "blocks.8" ask for a layer, and numbers
// match as a whole
function wordTest(word) {
  const layer = word.match(/^(?:layers?[=:_.-]?|l(?!0)|(?:blocks|layers|h)\.)(\d+)$/);
  if (layer) return (row) => row.layer === Number(layer[1]);
  const plain = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const number = /^\d+(\.\d+)?$/.test(word);
  const before = number ? "(?<![a-z0-9])(?<!\\d\\.)" : /^\d/.test(word) ? "(?<!\\d)" : "";
  const after = number ? "(?![a-z0-9]|\\.\\d)" : /\d$/.test(word) ? "(?!\\d)" : "";
  const pattern = new RegExp(before + plain + after);
  return (row) => pattern.test(number ? [row.release, row.id, row.hook, row.hookOut, row.width].join(" ").toLowerCase()
    : searched(row));
}

function searched(row) {
  row.text ??= [row.release, row.id, row.model, row.hook, row.hookOut, row.repo, row.architecture, row.format,
    short(row.width), row.width, row.neuronpedia].join(" ").toLowerCase();
  return row.text;
}

function filtered(rows, state, except = "") {
  const tests = Object.entries(conditions(state)).filter(([name]) => name !== except).map(([, test]) => test);
  return rows.filter((row) => tests.every((test) => test(row)));
}

function sorted(rows, order) {
  if (!order) return rows;
  const key = order.replace("-", "");
  const sign = order.startsWith("-") ? -1 : 1;
  const rank = (row) => (row[key] === null ? Infinity : sign * row[key]); // Unknown values last
  return rows.map((row, i) => [rank(row), i, row]).sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : a[1] - b[1]))
    .map(([, , row]) => row);
}

function short(width) {
  if (!width) return "";
  return width >= 1 << 20 ? `${width / (1 << 20)}m` : width >= 10000 ? `${Math.floor(width / 1000)}k` : String(width);
}

const python = (text) => JSON.stringify(text);
const loading = (row) => `sae = SAE.from_pretrained(${python(row.release)}, ${python(row.id)})`;

if (typeof document !== "undefined") (async () => {
  const form = document.querySelector(".filters");
  const count = document.querySelector(".count");
  const list = document.querySelector(".saes");
  const pager = document.querySelector(".pager");
  const fields = Object.fromEntries([...form.elements].filter((field) => field.name).map((field) => [field.name, field]));
  if (innerWidth < 700) form.querySelector("details").open = false;
  let rows;
  try {
    rows = expand(await inflate(SAES));
  } catch (error) {
    count.textContent = `This browser cannot show the table (${error.message}). In Python, find_saes() has the same rows.`;
    return;
  }

  const make = (tag, attributes, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children.filter((child) => child !== ""));
    return element;
  };
  const NUMBERS = ["layer", "l0min", "l0max", "page"];
  const readHash = () => Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].filter(([name, value]) =>
    value !== "" && (NUMBERS.includes(name) ? Number.isFinite(Number(value)) : name in fields)));
  const heading = () => (location.hash && !location.hash.includes("=") ? document.getElementById(location.hash.slice(1)) : null);
  let state = readHash();

  function menu(name) {
    const counts = new Map();
    for (const row of filtered(rows, state, name)) counts.set(VALUE[name](row), (counts.get(VALUE[name](row)) || 0) + 1);
    if (state[name] && !counts.has(state[name])) counts.set(state[name], 0);
    const numeric = name === "width";
    const values = [...counts.keys()].sort((a, b) => (numeric ? (a - b || 0) : a.localeCompare(b, "en", { numeric: true })));
    const label = (value) => (numeric && Number(value) ? Number(value).toLocaleString("en") : value);
    fields[name].replaceChildren(make("option", { value: "" }, "any"),
      ...values.map((value) => make("option", { value }, `${label(value)} (${counts.get(value).toLocaleString("en")})`)));
    fields[name].value = state[name] || "";
  }

  function item(row) {
    const number = (label, value, digits) =>
      (value === null ? "" : make("span", {}, make("b", {}, value.toLocaleString("en", { maximumFractionDigits: digits })), ` ${label}`));
    const link = (href, text) => make("a", { href, rel: "noopener", target: "_blank" }, text);
    const copy = make("button", { type: "button", className: "load", title: "Copy" }, make("code", {}, loading(row)),
      make("span", { className: "copied" }, "copy"));
    return make("li", {},
      make("div", { className: "facts" },
        make("span", {}, make("b", {}, row.model)),
        make("span", {}, row.hook, row.hookOut ? ` → ${row.hookOut}` : ""),
        number("latents", row.width, 0), row.l0 === null ? "" : make("span", {}, "L0 ", make("b", {}, row.l0.toLocaleString("en", { maximumFractionDigits: 1 }))),
        row.explained === null ? "" : make("span", {}, "explained variance ", make("b", {}, String(row.explained))),
        row.architecture === "unknown" ? "" : make("span", {}, row.architecture),
        make("span", {}, row.neuronpedia ? link(`https://www.neuronpedia.org/${row.neuronpedia}`, "Neuronpedia") : "",
          row.neuronpedia ? " " : "", link(`https://huggingface.co/${row.repo}`, "files"))),
      copy);
  }

  function show() {
    const found = sorted(filtered(rows, state), state.sort);
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    const page = Math.min(Math.max(1, Math.floor(Number(state.page)) || 1), pages);
    if (state.page) state.page = String(page);
    MENUS.forEach(menu);
    for (const name of ["q", "layer", "l0min", "l0max", "sort"]) {
      if (document.activeElement !== fields[name] || fields[name].value !== (state[name] || "")) fields[name].value = state[name] || "";
    }
    list.replaceChildren(...found.slice((page - 1) * PER_PAGE, page * PER_PAGE).map(item));
    list.start = (page - 1) * PER_PAGE + 1;
    count.textContent = found.length ? `${found.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} SAEs`
      : `None of the ${rows.length.toLocaleString("en")} SAEs matches all filters.`;
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `page ${page} of ${pages.toLocaleString("en")}`;
    pager.querySelector("[data-step='-1']").disabled = page === 1;
    pager.querySelector("[data-step='1']").disabled = page === pages;
    document.body.dataset.found = found.length;
  }

  function change(next) {
    state = Object.fromEntries(Object.entries(next).filter(([, value]) => value !== "" && value !== undefined));
    const hash = new URLSearchParams(state).toString();
    history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
    show();
  }

  let waiting;
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    const now = () => change({ ...state, [event.target.name]: event.target.value.trim(), page: "" });
    waiting = setTimeout(now, event.target.name === "q" ? 120 : 0);
  });
  form.addEventListener("reset", (event) => { event.preventDefault(); change({}); fields.q.focus(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  pager.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (!step) return;
    change({ ...state, page: String((Number(state.page) || 1) + step) });
    count.scrollIntoView({ block: "center" });
    if (event.target.disabled) pager.querySelector("button:not(:disabled)")?.focus();
  });
  list.addEventListener("click", async (event) => {
    const button = event.target.closest(".load");
    if (!button) return;
    const text = button.querySelector("code").textContent;
    const note = button.querySelector(".copied");
    note.textContent = (await copyText(text)) ? "copied" : "select and copy";
    setTimeout(() => { note.textContent = "copy"; }, 1500);
  });
  addEventListener("hashchange", () => { if (!heading()) { state = readHash(); show(); } });
  show();
  heading()?.scrollIntoView(); // The table has moved it
})();

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // No clipboard without permission, or on an insecure page
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
