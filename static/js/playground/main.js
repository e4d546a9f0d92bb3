/* The playground: the form, its price, and one generation at a time. */

import { offerCopies } from "../copies.js";
import "../lost.js";
import { toast } from "../site.js";
import { Pictures } from "./pictures.js";
import { readRecipe } from "./png.js";
import { Stage } from "./stage.js";
import { watch } from "./watch.js";

const form = document.getElementById("playground");
const byId = (id) => document.getElementById(id);
const pictures = new Pictures(form, { onChange: priceSoon, onFile: restore });
const stage = new Stage();
let running = null; // what ends the watching
let latest = null; // the description of the last generation
let asking = false; // whether a generation is being asked for; a second press meanwhile is none

// Modes: only what a mode has is shown.

function mode() {
  return form.elements.mode.value;
}

function showMode() {
  for (const part of document.querySelectorAll("[data-modes]")) {
    part.hidden = !part.dataset.modes.split(" ").includes(mode());
  }
  pictures.showMask(mode() === "inpaint");
}

// Sliders and their numbers move each other.

for (const slider of form.querySelectorAll("input[type=range][data-for]")) {
  const number = byId(slider.dataset.for);
  slider.addEventListener("input", () => { number.value = slider.value; priceSoon(); });
  number.addEventListener("input", () => { slider.value = number.value; });
}

function fill(params) {
  for (const [name, value] of Object.entries(params)) {
    const control = form.elements[name];
    if (!control || name === "mode") continue;
    if (control instanceof RadioNodeList) {
      for (const box of control) if (box.type === "checkbox") box.checked = Boolean(value);
    } else if (control.type !== "file") {
      control.value = value ?? "";
      control.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }
  const radio = params.mode && byId(`mode_${params.mode}`);
  if (radio) radio.checked = true;
  showMode();
  priceSoon();
}

// Errors stand beside their fields; everything else below them.

function clearErrors() {
  for (const list of form.querySelectorAll("[data-errors]")) list.replaceChildren();
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  byId("refusal").hidden = true;
}

function showErrors(errors) {
  let first = null;
  for (const [field, words] of Object.entries(errors)) {
    const list = form.querySelector(`[data-errors="${CSS.escape(field)}"]`);
    if (!list || list.closest("[hidden]")) { refuse({ message: words.join(" ") }); continue; }
    list.replaceChildren(...words.map((word) => Object.assign(document.createElement("li"), { textContent: word })));
    const control = byId(`id_${field}`);
    if (control) { control.setAttribute("aria-invalid", "true"); first ??= control; }
  }
  first?.focus();
}

function refuse({ message, address, label }) {
  const place = byId("refusal");
  place.replaceChildren(Object.assign(document.createElement("span"), { textContent: `${message} ` }));
  if (address) place.append(Object.assign(document.createElement("a"), { href: address, textContent: label }));
  place.hidden = false;
}

// The price follows the form; the server knows it.

let priceTimer;
let priceAsked = 0;

function priceSoon() {
  clearTimeout(priceTimer);
  priceTimer = setTimeout(askPrice, 150);
}

async function askPrice() {
  const number = ++priceAsked;
  const fields = new FormData(form);
  for (const name of ["init_image", "mask_image", "prompt", "negative_prompt"]) fields.delete(name);
  let facts;
  try {
    facts = await post(form.dataset.price, fields);
  } catch {
    return; // offline: the old price stays, and the submission will say so
  }
  if (number !== priceAsked) return;
  if (facts.credits !== undefined) showPrice(facts.credits, facts.balance_credits);
  byId("price").classList.toggle("unknown", facts.credits === undefined);
}

function showPrice(credits, balance) {
  const price = byId("price");
  price.querySelector("strong").textContent = credits.toLocaleString("en");
  price.querySelector(".unit").textContent = credits === 1 ? "credit" : "credits";
  showBalance(balance);
  price.classList.toggle("short", credits > balance);
}

function showBalance(balance) {
  byId("price").querySelector(".balance").textContent = balance.toLocaleString("en");
  for (const chip of document.querySelectorAll("[data-balance-chip]")) chip.textContent = balance.toLocaleString("en");
}

// Generating

async function post(address, body = new FormData()) {
  const response = await fetch(address, {
    method: "POST",
    body,
    headers: { Accept: "application/json", "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
  });
  if (response.redirected || !(response.headers.get("Content-Type") ?? "").includes("json")) {
    throw new Error(response.status === 413 ? "The image is too large." : "Reload the page and try again.");
  }
  return response.json();
}

async function generate() {
  if (asking) return;
  asking = true;
  clearErrors();
  const button = byId("generate");
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    const fields = new FormData(form);
    pictures.addTo(fields, mode());
    take(await post(form.action, fields));
  } catch (error) {
    refuse({ message: `That did not work: ${error.message}` });
  } finally {
    asking = false;
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Show what the server said: errors, a refusal, or a generation that is followed to its end. */
function take(answer) {
  if (answer.errors) return showErrors(answer.errors);
  if (answer.refusal) return refuse(answer.refusal);
  running?.();
  latest = answer;
  history.replaceState(null, "", `?from=${answer.id}`);
  showBalance(answer.balance_credits);
  if (["queued", "processing"].includes(answer.status)) {
    stage.showWorking(answer);
    running = watch(answer.addresses, {
      onProgress: (state) => stage.showProgress(state),
      onEnd: finish,
    });
  } else {
    finish(answer);
  }
  if (matchMedia("(max-width: 62rem)").matches) document.querySelector(".stage").scrollIntoView({ behavior: "smooth" });
}

function finish(description) {
  running = null;
  latest = description;
  showBalance(description.balance_credits);
  byId("reuse_seed").disabled = !description.params;
  stage.showEnd(description);
}

form.addEventListener("submit", (event) => { event.preventDefault(); generate(); });
form.addEventListener("input", priceSoon);
form.addEventListener("change", (event) => { if (event.target.name === "mode") { showMode(); priceSoon(); } });
// The second press of a double click comes when the first may be answered already.
byId("generate").addEventListener("click", (event) => { if (event.detail > 1) event.preventDefault(); });
document.addEventListener("keydown", (event) => {
  if (event.repeat) { // a key held down in a field would send the form over and over
    if (event.key === "Enter" && event.target instanceof HTMLInputElement) event.preventDefault();
    return;
  }
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) generate();
});

byId("random_seed").addEventListener("click", () => { form.elements.seed.value = ""; });
byId("reuse_seed").addEventListener("click", () => { form.elements.seed.value = latest.params.seed; });
byId("cancel").addEventListener("click", async () => {
  try {
    const answer = await post(latest.addresses.cancel);
    running?.();
    finish(answer);
  } catch (error) {
    toast(error.message, "error");
  }
});
byId("again").addEventListener("click", () => repeat(""));
byId("vary").addEventListener("click", () => repeat("random"));
byId("use_as_start").addEventListener("click", async () => {
  const image = stage.chosen;
  if (!(await pictures.fetchStart(image.own_url, image.file_name))) return;
  if (mode() === "text2img") { byId("mode_img2img").checked = true; showMode(); }
  priceSoon();
  toast("The image is the start image now.");
});

async function repeat(seed) {
  if (asking) return;
  asking = true;
  const body = new FormData();
  if (seed) body.set("seed", seed);
  clearErrors();
  try {
    take(await post(latest.addresses.again, body));
  } catch (error) {
    refuse({ message: error.message });
  } finally {
    asking = false;
  }
}

offerCopies(byId("copies"), () => latest.addresses.code);

// An image that was made here brings its parameters along.

async function restore(file) {
  const recipe = await readRecipe(file);
  byId("restored").hidden = !recipe;
  if (!recipe) return;
  const before = Object.fromEntries([...new FormData(form)].filter(([name]) => name in recipe));
  before.enhance_prompt = byId("id_enhance_prompt").checked;
  before.safety_checker = byId("id_safety_checker").checked;
  before.mode = mode();
  byId("unrestore").onclick = () => { fill(before); byId("restored").hidden = true; };
  // The image itself is the start image; how it was begun is not in it.
  fill({ ...recipe, mode: mode() === "inpaint" ? "inpaint" : "img2img" });
}

/** Fetch what an earlier generation began with; the mask comes last, since a new start image takes the mask away. */
async function fetchPictures({ start, mask }) {
  if (start) await pictures.fetchStart(start, "start image");
  if (mask) await pictures.fetchMask(mask);
}

showMode();
fetchPictures(form.dataset);
const earlier = byId("earlier");
if (earlier) take(JSON.parse(earlier.textContent));
