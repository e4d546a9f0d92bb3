/* Where the result appears: waiting, becoming, done, or not. */

import { showState } from "./watch.js";

const byId = (id) => document.getElementById(id);

export class Stage {
  constructor() {
    this.description = null;
    this.chosen = null; // the image that is shown large
  }

  only(id) {
    for (const part of ["nothing", "working", "failed", "result"]) byId(part).hidden = part !== id;
  }

  showWorking(description) {
    this.description = description;
    this.only("working");
    const draft = byId("draft");
    draft.hidden = true;
    draft.removeAttribute("src");
    byId("draft_words").hidden = false;
    byId("working").style.setProperty("--ratio", `${description.params.width} / ${description.params.height}`);
    this.showProgress({ ...description, draft: "" });
    say("Your image is on its way.");
  }

  showProgress(state) {
    showState(state, { bar: byId("step"), words: byId("step_words"), eta: byId("eta_words") });
    byId("draft_words").textContent = state.status === "queued" ? "Waiting for a worker" : "Working";
    if (state.draft) {
      byId("draft").src = state.draft;
      byId("draft").hidden = false;
      byId("draft_words").hidden = true;
    }
  }

  showEnd(description) {
    this.description = description;
    if (description.status !== "success" || !description.images.length) {
      this.only("failed");
      byId("failure").textContent = {
        success: "The images of this generation were removed.",
        canceled: "Canceled. Nothing was charged.",
      }[description.status] ?? `${description.message} Nothing was charged.`;
      say(byId("failure").textContent);
      return;
    }
    this.only("result");
    this.showStrip(description.images);
    this.choose(description.images[0]);
    this.showFacts(description);
    byId("details").href = description.address;
    byId("copies").hidden = false;
    say(description.images.length === 1 ? "Your image is ready." : "Your images are ready.");
  }

  showStrip(images) {
    const strip = byId("strip");
    strip.hidden = images.length < 2;
    strip.replaceChildren(...images.map((image) => {
      const item = document.createElement("li");
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.setAttribute("aria-label", `Image ${image.number}`);
      button.append(Object.assign(document.createElement("img"), { src: image.thumbnail_url, alt: "" }));
      button.addEventListener("click", () => this.choose(image));
      item.append(button);
      return item;
    }));
  }

  choose(image) {
    this.chosen = image;
    const { start_image: start, params } = this.description;
    const place = byId("shown");
    const before = start && params.mode !== "text2img";
    const name = `Image ${image.number}: ${params.prompt}`;
    place.replaceChildren(before ? compared(start, image, name) : single(image, name));
    place.style.setProperty("--ratio", `${params.width} / ${params.height}`);
    const download = byId("download");
    download.href = `${image.own_url}?download`;
    download.download = image.file_name;
    for (const [k, button] of [...byId("strip").querySelectorAll("button")].entries()) {
      button.setAttribute("aria-pressed", String(k + 1 === image.number));
    }
    if (image.blanked) place.append(Object.assign(document.createElement("p"), {
      className: "hint", textContent: "The safety checker replaced this image by a blank one; it was not charged.",
    }));
    if (this.description.images.length > 1) this.showFacts(this.description);
  }

  showFacts(description) {
    const { params } = description;
    const facts = {
      Seed: this.chosen?.seed ?? params.seed,
      Size: `${params.width} × ${params.height}`,
      Steps: params.num_inference_steps,
      Guidance: params.guidance_scale,
      ...(params.mode === "text2img" ? {} : { Strength: params.strength }),
      Time: `${description.seconds} s`,
      Charged: `${description.charged_credits.toLocaleString("en")} ${description.charged_credits === 1 ? "credit" : "credits"}`,
    };
    byId("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]));
  }
}

function single(image, name) {
  return Object.assign(document.createElement("img"), { className: "picture", src: image.url, alt: name });
}

/** The result over its start image, with the slider of templates/_compare.html. */
function compared(start, image, name) {
  const box = document.getElementById("compare_template").content.cloneNode(true).firstElementChild;
  const [before, after] = box.querySelectorAll("img");
  before.src = start;
  after.src = image.url;
  after.alt = name;
  return box;
}

function say(words) {
  byId("news").textContent = words;
}
