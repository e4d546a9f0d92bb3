/* The page of a generation: copies, and a running one's progress until its images are there. */

import { offerCopies } from "./copies.js";
import "./lost.js";
import { showState, watch } from "./playground/watch.js";

const copies = document.getElementById("copies");
offerCopies(copies, () => copies.dataset.code);

const card = document.querySelector("[data-events]");
if (card) {
  const places = {
    bar: card.querySelector("progress"),
    words: card.querySelector("[data-words]"),
    eta: card.querySelector("[data-eta]"),
  };
  watch({ events: card.dataset.events, state: card.dataset.state }, {
    onProgress: (state) => showState(state, places),
    onEnd: () => location.reload(),
  });
}
