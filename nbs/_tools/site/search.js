// The search box: INDEX, above, lists [text, where, address]; every word typed must occur in the text.
const box = document.querySelector(".search input");
const list = document.querySelector(".search ol");
const root = document.body.dataset.root;
let chosen = 0;

function matches(words) {
  const scored = [];
  INDEX.forEach(([text, where, address], order) => {
    const lower = text.toLowerCase();
    if (!words.every((word) => lower.includes(word))) return;
    const score = lower === words[0] ? 0 : lower.startsWith(words[0]) ? 1 : 2;
    scored.push([score, order, text, where, address]);
  });
  return scored.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, 12);
}

function show() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length ? matches(words) : [];
  list.replaceChildren(...found.map(([, , text, where, address], i) => {
    const item = document.createElement("li");
    const link = Object.assign(document.createElement("a"), { href: root + address, textContent: text });
    link.append(Object.assign(document.createElement("small"), { textContent: where }));
    item.classList.toggle("chosen", i === chosen);
    item.append(link);
    return item;
  }));
  list.hidden = !found.length;
}

box.addEventListener("input", () => { chosen = 0; show(); });
box.addEventListener("focus", show);
box.addEventListener("keydown", (event) => {
  const last = list.children.length - 1;
  if (event.key === "ArrowDown") chosen = Math.min(chosen + 1, last);
  else if (event.key === "ArrowUp") chosen = Math.max(chosen - 1, 0);
  else if (event.key === "Enter") list.children[chosen]?.firstChild.click();
  else if (event.key === "Escape") { box.value = ""; box.blur(); }
  else return;
  event.preventDefault();
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); box.focus(); }
});
document.addEventListener("click", (event) => { if (!event.target.closest(".search")) list.hidden = true; });
if (innerWidth < 900) document.querySelector(".sidebar details").open = false;
