/* Buttons that copy a generation's request as a program: templates/generation/_copies.html. */

import { copy, toast } from "./site.js";

/** Let the buttons in `place` copy what the address that `codeAddress()` returns says. */
export function offerCopies(place, codeAddress) {
  place.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-language]");
    if (!button) return;
    try {
      const { samples, lost } = await (await fetch(codeAddress())).json();
      await copy(samples.find(({ language }) => language === button.dataset.language).text);
      const missing = ["API key", ...lost].join(" and ");
      toast(`Copied as ${button.textContent.trim()}. Put your ${missing} in.`);
    } catch {
      toast("That did not work. Reload the page and try again.", "error");
    }
  });
}
