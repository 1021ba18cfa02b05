"use strict";
// Asks for the table every two seconds; the server answers 304 while nothing has changed.
(() => {
  const place = document.getElementById("runs"), lost = document.getElementById("lost");
  let tag = "", column = -1, down = true;
  const value = (row) => {
    const raw = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    return raw === "" || raw === "–" ? null : Number.isNaN(Number(raw)) ? raw.toLowerCase() : Number(raw);
  };
  // Unknown values stay last; the order that the server gives is kept among equals.
  const compare = (a, b) => a === null || b === null ? (a === null) - (b === null) : (down ? -1 : 1) * (a < b ? -1 : a > b ? 1 : 0);
  const sort = () => {
    const table = document.getElementById("table");
    if (column < 0 || !table) return;
    for (const header of table.tHead.rows[0].cells) header.removeAttribute("aria-sort");
    table.tHead.rows[0].cells[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    table.tBodies[0].append(...rows.map((row) => ({ row, key: value(row) })).sort((a, b) => compare(a.key, b.key)).map((entry) => entry.row));
  };
  const dress = () => {
    const table = document.getElementById("table");
    for (const header of table ? table.tHead.rows[0].cells : []) {
      if (header.classList.contains("fixed")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        down = column === header.cellIndex ? !down : !header.classList.contains("t");
        column = header.cellIndex;
        sort();
      });
    }
    sort();
  };
  const look = async () => {
    try {
      const answer = await fetch("/state", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag") || "";
        place.innerHTML = await answer.text();
        dress();
      }
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    setTimeout(look, document.hidden ? 10000 : 2000);
  };
  dress();
  setTimeout(look, 2000);
})();
