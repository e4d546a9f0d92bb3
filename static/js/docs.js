/* The documentation: one language for all samples, kept for the next page, and the reader's key in them. */

const LANGUAGE = "docs-language";

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[data-language]");
  if (!tab || !event.isTrusted) return;
  localStorage.setItem(LANGUAGE, tab.dataset.language);
  choose(tab.dataset.language, tab);
});

/** Show a language wherever the page has it. */
function choose(language, except) {
  for (const tab of document.querySelectorAll(`[data-language="${CSS.escape(language)}"]`)) {
    if (tab !== except) tab.click();
  }
}
choose(localStorage.getItem(LANGUAGE) ?? "curl");

// On a phone the pages stand in one line: begin with this one.
document.querySelector(".docs .side-nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// The key replaces what stands for it in the samples; it is kept nowhere.
for (const field of document.querySelectorAll("[data-fills-key]")) {
  const blank = field.dataset.fillsKey;
  const samples = new Map([...document.querySelectorAll(".sample-tabs code")].map((code) => [code, code.textContent]));
  field.form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("input", () => {
    const key = field.value.trim().replace(/[^\w-]/g, "") || blank;
    for (const [code, text] of samples) code.textContent = text.replaceAll(blank, key);
  });
}
