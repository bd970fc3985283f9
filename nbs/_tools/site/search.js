// The search box. The index, search-index.js, is loaded when the box is first used: `INDEX` is JSON, compressed with
// gzip and written in base64, with pages [title, address] and entries [kind, heading, page, anchor, text].
const TITLE = 0;
const SHOWN = 24, PER_PAGE_TEXT = 3;

// Return where `word` is in `text`: 0 nowhere, 1 within a word, 2 at the beginning of one
function where(text, word) {
  let at = text.indexOf(word);
  if (at < 0) return 0;
  for (; at >= 0; at = text.indexOf(word, at + 1)) if (at === 0 || !/[\p{L}\p{N}]/u.test(text[at - 1])) return 2;
  return 1;
}

// Return the score of an entry, 0 if a word is nowhere in it. Headings and names count most, then text.
function score(entry, words, phrase) {
  let total = 0, inHeading = 0;
  for (const word of words) {
    const heading = where(entry.heading, word);
    const text = where(entry.text, word);
    if (heading) inHeading++;
    if (heading) total += heading === 2 ? 40 : 22;
    else if (text) total += text === 2 ? 6 : word.length > 2 ? 2 : 0;
    else if (where(entry.page, word) === 2) total += 3;
    else return 0;
    if (heading && text) total += 1;
  }
  const name = entry.heading.replace(/^.*\./, ""); // `encode` of `SAE.encode`
  if (entry.heading === phrase) total += 200;
  else if (name === phrase) total += 90 - (entry.heading.length - name.length) / 4; // `SAE.encode` before longer ones
  else if (entry.heading.startsWith(phrase)) total += 50;
  else if (words.length > 1 && entry.text.includes(phrase)) total += 12;
  if (inHeading === words.length) total += 100 + [12, 10, 4, 0, 2][entry.kind] - entry.heading.length / 40;
  return total;
}

// Return the entries that have all words, the best first; at most a few sections of one page are found by their text
function search(entries, query) {
  const phrase = query.toLowerCase().trim().replace(/\(\)?$/, "").replace(/\s+/g, " ");
  const words = phrase.split(" ").map((word) => word.replace(/^["'`(]+|["'`),;:?!]+$/g, "")).filter(Boolean);
  if (!words.length) return [];
  const scored = entries.map((entry, order) => [score(entry, words, phrase), order, entry]).filter(([points]) => points > 0);
  scored.sort((a, b) => b[0] - a[0] || a[1] - b[1]);
  const perPage = new Map();
  const kept = scored.filter(([points, , entry]) => {
    if (points >= 100) return true;
    const n = (perPage.get(entry.address) || 0) + 1;
    perPage.set(entry.address, n);
    return n <= PER_PAGE_TEXT;
  });
  return kept.slice(0, SHOWN).map(([, , entry]) => ({ ...entry, excerpt: excerpt(entry, words) }));
}

// Return the part of the text around the first word of the query that is not in the heading, as it is written
function excerpt(entry, words) {
  const size = 130;
  const places = words.filter((word) => !where(entry.heading, word)).map((word) => entry.text.indexOf(word)).filter((at) => at >= 0);
  const begin = places.length ? Math.max(0, Math.min(...places) - 40) : 0;
  const from = begin ? entry.written.indexOf(" ", begin - 1) + 1 || begin : 0;
  const part = entry.written.slice(from, from + size);
  return (from ? "… " : "") + part + (from + size < entry.written.length ? " …" : "");
}

// Return [piece, whether it is one of the words], to mark words in a text
function pieces(text, words) {
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).sort((a, b) => b.length - a.length);
  if (!escaped.length) return [[text, false]];
  return text.split(new RegExp(`(${escaped.join("|")})`, "i")).map((piece, i) => [piece, i % 2 === 1]).filter(([piece]) => piece);
}

function unpacked({ pages, entries }) {
  return entries.map(([kind, heading, page, anchor, text]) => ({
    kind, title: heading, heading: heading.toLowerCase(), where: pages[page][0], page: pages[page][0].toLowerCase(),
    address: pages[page][1], target: pages[page][1] + (anchor ? `#${anchor}` : ""), written: text, text: text.toLowerCase(),
  }));
}

if (typeof document !== "undefined") (() => {
  const root = document.body.dataset.root;
  const box = document.querySelector(".search input");
  const list = document.querySelector(".search [role=listbox]");
  const note = document.querySelector(".search [role=status]");
  let chosen = 0, loading, failed = "";

  async function load() {
    const script = document.createElement("script");
    script.src = `${root}search-index.js`;
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error("search-index.js is missing"));
      document.head.append(script);
    });
    const bytes = Uint8Array.from(atob(INDEX), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return unpacked(JSON.parse(await new Response(stream).text()));
  }
  const index = () => (loading ??= load().catch((error) => { failed = error.message; return []; }));

  const marked = (text, words) => pieces(text, words).map(([piece, mark]) =>
    (mark ? Object.assign(document.createElement("mark"), { textContent: piece }) : piece));

  function option(entry, words, i) {
    const item = Object.assign(document.createElement("li"), { id: `found-${i}` });
    item.setAttribute("role", "option");
    const link = Object.assign(document.createElement("a"), { href: root + entry.target, tabIndex: -1 });
    const head = document.createElement("span");
    head.append(...marked(entry.title, words));
    const place = entry.kind === TITLE ? "" : entry.where;
    link.append(head, Object.assign(document.createElement("small"), { textContent: place }));
    const text = Object.assign(document.createElement("p"), {});
    text.append(...marked(entry.excerpt, words));
    if (entry.excerpt) link.append(text);
    item.append(link);
    return item;
  }

  function choose(n) {
    const items = list.children;
    chosen = Math.max(0, Math.min(n, items.length - 1));
    [...items].forEach((item, i) => {
      item.classList.toggle("chosen", i === chosen);
      item.setAttribute("aria-selected", i === chosen);
    });
    items[chosen]?.scrollIntoView({ block: "nearest" });
    items.length ? box.setAttribute("aria-activedescendant", `found-${chosen}`) : box.removeAttribute("aria-activedescendant");
  }

  function hide() {
    list.hidden = note.hidden = true;
    box.setAttribute("aria-expanded", "false");
  }

  async function show() {
    const query = box.value.trim();
    if (!query) return hide();
    const entries = await index();
    if (query !== box.value.trim()) return; // Something else was typed meanwhile
    const words = query.toLowerCase().split(/\s+/);
    const found = search(entries, query);
    list.replaceChildren(...found.map((entry, i) => option(entry, words, i)));
    list.hidden = !found.length;
    note.hidden = false;
    note.className = found.length ? "quiet" : "";
    note.textContent = failed ? `The search does not work: ${failed}`
      : found.length ? `${found.length}${found.length === SHOWN ? " or more" : ""} result${found.length === 1 ? "" : "s"}`
      : `No results for “${query}”`;
    box.setAttribute("aria-expanded", String(!list.hidden));
    choose(0);
  }

  box.addEventListener("input", show);
  box.addEventListener("focus", () => { index(); show(); });
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(chosen + 1);
    else if (event.key === "ArrowUp") choose(chosen - 1);
    else if (event.key === "Enter") { list.hidden || list.children[chosen]?.firstChild.click(); }
    else if (event.key === "Escape") { box.value = ""; hide(); box.blur(); }
    else return;
    event.preventDefault();
  });
  list.addEventListener("click", (event) => { if (event.target.closest("a")) { hide(); box.blur(); } });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    event.preventDefault();
    box.focus();
    box.select();
  });
  document.addEventListener("click", (event) => { if (!event.target.closest(".search")) hide(); });
  if (innerWidth < 900) document.querySelector(".sidebar details").open = false;
})();
