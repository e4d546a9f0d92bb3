/* What every page can do: copy, dialogs, tabs, messages that go away, menus that close, times in the reader's zone. */

const on = (type, selector, act) =>
  document.addEventListener(type, (event) => {
    const element = event.target instanceof Element && event.target.closest(selector);
    if (element) act(element, event);
  });

const fading = new WeakMap(); // what takes a message away

/** Show a short message in the corner, once however often it is said; `kind` is success, warning, error or empty. */
export function toast(text, kind = "success") {
  const place = document.getElementById("toasts");
  let message = [...place.children].find(({ textContent }) => textContent === text);
  if (!message) {
    message = document.createElement("p");
    message.textContent = text;
    place.append(message);
  }
  message.className = `message ${kind}`;
  clearTimeout(fading.get(message));
  fading.set(message, setTimeout(() => message.remove(), 6000));
}

/** Copy text; falls back to a selection where the clipboard is closed (plain http). */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

// <button data-copy="#id"> copies the text of an element, <button data-copy-text="…"> its own.
on("click", "[data-copy], [data-copy-text]", async (button) => {
  const source = button.dataset.copy && document.querySelector(button.dataset.copy);
  await copy(button.dataset.copyText ?? source.value ?? source.textContent.trim());
  const label = button.textContent;
  button.textContent = "Copied";
  button.disabled = true;
  setTimeout(() => { button.textContent = label; button.disabled = false; button.focus(); }, 1200);
});

// <button data-opens="dialog-id">, and inside the dialog <button data-closes>.
on("click", "[data-opens]", (button) => document.getElementById(button.dataset.opens).showModal());
on("click", "[data-closes]", (button) => button.closest("dialog").close());
on("click", "dialog.dialog", (dialog, event) => { if (event.target === dialog) dialog.close(); });

// <dialog class="dialog"> that htmx fills opens by itself.
document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.target.closest("dialog.dialog");
  if (dialog && !dialog.open) dialog.showModal();
});

on("click", "[data-dismisses]", (button) => button.closest(".message, .banner").remove());

// A form that was just sent is not sent again: the second press of a double click would pay twice. Not for ever, since a
// download leaves the page standing. What a script sends, or the browser finds incomplete, does not count.
const SENT_MS = 2000;
const sent = new WeakSet(); // the buttons that sent a form, or the forms that none did

document.addEventListener("submit", (event) => {
  if (!sent.has(event.submitter ?? event.target)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  const sender = event.submitter ?? event.target;
  sent.add(sender);
  setTimeout(() => sent.delete(sender), SENT_MS);
});

// A menu closes when one clicks elsewhere or presses Escape.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
});

// role=tablist with role=tab buttons (aria-controls); without this script all panels are shown.
function select(tab) {
  for (const other of tab.closest("[role=tablist]").querySelectorAll("[role=tab]")) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
  }
}
on("click", "[role=tab]", select);
on("keydown", "[role=tab]", (tab, event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")];
  const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
  select(next);
  next.focus();
});

// A slider shows its number in the <output> beside it.
on("input", ".slider input[type=range]", (slider) => {
  const output = slider.parentElement.querySelector("output");
  if (output) output.value = slider.value;
});

/** Make an element that has just come into the page work: its tabs and its times. */
function prepare(root) {
  for (const list of root.querySelectorAll("[role=tablist]")) {
    select(list.querySelector("[aria-selected=true]") ?? list.querySelector("[role=tab]"));
  }
  for (const time of root.querySelectorAll("time[datetime]:not([data-done])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const options = time.dataset.format === "date" ? { dateStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    time.title = at.toString();
    time.textContent = new Intl.DateTimeFormat(undefined, options).format(at);
    time.dataset.done = "";
  }
}
prepare(document);
document.addEventListener("htmx:load", (event) => prepare(event.target));

// Who is logged out meanwhile gets the page to log in, not a part of it.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!new URL(event.detail.xhr.responseURL).pathname.startsWith("/account/login/")) return;
  event.preventDefault();
  location.reload();
});

// A request of htmx that failed says so; the server may send its own words as X-Message.
document.addEventListener("htmx:responseError", (event) =>
  toast(event.detail.xhr.getResponseHeader("X-Message") ?? "That did not work. Reload the page and try again.", "error"));
document.addEventListener("htmx:sendError", () => toast("The site cannot be reached. Are you online?", "error"));
