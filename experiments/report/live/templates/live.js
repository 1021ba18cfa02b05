"use strict";
// Asks for the table every two seconds; the server answers 304 while nothing has changed.
(() => {
  const place = document.getElementById("runs"), lost = document.getElementById("lost");
  let tag = "";
  const look = async () => {
    try {
      const answer = await fetch("/state", { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag") || "";
        place.innerHTML = await answer.text();
      }
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    setTimeout(look, document.hidden ? 10000 : 2000);
  };
  setTimeout(look, 2000);
})();
