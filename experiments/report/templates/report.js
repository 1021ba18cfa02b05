"use strict";
// The page reads without this script; it adds sorting, filtering and a theme switch.
(() => {
  const root = document.documentElement;
  const store = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
                  set: (value) => { try { localStorage.setItem("theme", value); } catch { /* private mode */ } } };
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  if (store.get() === "dark" || store.get() === "light") root.dataset.theme = store.get();

  const theme = document.createElement("button");
  const label = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${dark() ? "light" : "dark"} theme`); };
  theme.type = "button";
  theme.id = "theme";
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; store.set(root.dataset.theme); label(); });
  label();
  document.querySelector("nav.map .page").append(theme);

  const value = (row, index) => {
    const cell = row.cells[index];
    const raw = cell.dataset.value ?? cell.textContent.trim();
    return raw === "" || raw === "–" ? null : Number.isNaN(Number(raw)) ? raw.toLowerCase() : Number(raw);
  };
  // Unknown values stay last in both directions; numbers come before words.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -sign : sign;
    return sign * (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0);
  };
  const sort = (table, header) => {
    const down = header.getAttribute("aria-sort") === "ascending" || (!header.hasAttribute("aria-sort") && !header.classList.contains("t"));
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, key: value(row, header.cellIndex) }));
    rows.sort((a, b) => compare(a.key, b.key, down ? -1 : 1) || a.place - b.place);
    body.append(...rows.map((entry) => entry.row));
    cut(table);
  };
  // Long tables show their first rows: laying out a thousand takes a third of a second. On paper all rows are there.
  const MOST = 100;
  const whole = new WeakSet();
  const cut = (table) => {
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      if (!row.hidden) shown += 1;
      row.classList.toggle("beyond", !row.hidden && shown > MOST && !whole.has(table));
    }
    const button = table.closest(".scroll").nextElementSibling;
    if (!button?.classList.contains("all")) return;
    button.hidden = shown <= MOST || whole.has(table);
    button.textContent = `Show all ${shown} rows`;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      if (header.classList.contains("fixed")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => sort(table, header));
    }
    if (table.tBodies[0].rows.length < 7) continue;
    const filter = document.createElement("input");
    filter.type = "search";
    filter.className = "filter";
    filter.placeholder = "Filter rows …";
    filter.setAttribute("aria-label", `Filter rows of ${table.caption.textContent}`);
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      cut(table);
    });
    table.closest(".scroll").before(filter);
    if (table.tBodies[0].rows.length <= MOST) continue;
    const all = document.createElement("button");
    all.type = "button";
    all.className = "all";
    all.addEventListener("click", () => { whole.add(table); cut(table); });
    table.closest(".scroll").after(all);
    cut(table);
  }
  const reveal = () => {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    for (let fold = place.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    const row = place.closest("tr.beyond");
    if (row) { whole.add(row.closest("table")); cut(row.closest("table")); }
    if (place.closest("details")) (row || place.closest("tr") || place).scrollIntoView();
    place.querySelector(":scope .close")?.focus();
  };
  addEventListener("hashchange", reveal);
  reveal();
  // An opened image closes with Escape or a click beside it; arrows lead to its neighbours.
  const opened = () => document.querySelector(".opened:target");
  const close = () => { const top = scrollY; location.hash = "images"; scrollTo(0, top); };
  addEventListener("keydown", (event) => {
    const now = opened();
    if (!now) return;
    const all = [...document.querySelectorAll(".opened")], step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") close();
    else if (step) location.hash = all[(all.indexOf(now) + step + all.length) % all.length].id;
  });
  addEventListener("click", (event) => {
    if (event.target.classList.contains("opened")) close();
  });
  // On paper every fold is open.
  let folded = [];
  addEventListener("beforeprint", () => { folded = [...document.querySelectorAll("details:not([open])")]; for (const fold of folded) fold.open = true; });
  addEventListener("afterprint", () => { for (const fold of folded) fold.open = false; });
})();
