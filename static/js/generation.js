/* The page of a generation: copies, and a running one's progress until its images are there. */

import { offerCopies } from "./copies.js";
import { watch } from "./playground/watch.js";

const copies = document.getElementById("copies");
offerCopies(copies, () => copies.dataset.code);

const card = document.querySelector("[data-events]");
if (card) {
  const bar = card.querySelector("progress");
  watch({ events: card.dataset.events, state: card.dataset.state }, {
    onProgress({ status, step, steps, eta_seconds, ahead }) {
      const queued = status === "queued";
      if (queued) bar.removeAttribute("value");
      else bar.value = step;
      card.querySelector("[data-words]").textContent = queued
        ? (ahead ? `${ahead.toLocaleString("en")} before you` : "Next in line")
        : `Step ${step} of ${steps}`;
      card.querySelector("[data-eta]").textContent = eta_seconds ? `about ${eta_seconds} s` : "";
    },
    onEnd: () => location.reload(),
  });
}
