/* Buttons that copy a generation's request as a program: templates/generation/_copies.html. */

import { copy, toast } from "./site.js";

/** Let the buttons in `place` copy what the address that `codeAddress()` returns says. */
export function offerCopies(place, codeAddress) {
  place.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-language]");
    if (!button) return;
    try {
      const { samples } = await (await fetch(codeAddress())).json();
      await copy(samples.find(({ language }) => language === button.dataset.language).text);
      toast(`Copied as ${button.textContent.trim()}. Put your API key in.`);
    } catch {
      toast("That did not work. Reload the page and try again.", "error");
    }
  });
}
