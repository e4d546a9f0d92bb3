/* The history: says how many generations are chosen. */

import "./lost.js";

function count() {
  const place = document.querySelector("[data-chosen-count]");
  if (!place) return;
  const chosen = document.querySelectorAll("#bulk [name=chosen]:checked").length;
  place.textContent = chosen
    ? `${chosen} ${chosen === 1 ? "generation is" : "generations are"} chosen.`
    : "Choose generations to download or delete them.";
}

document.addEventListener("change", (event) => { if (event.target.name === "chosen") count(); });
document.addEventListener("htmx:load", count);
