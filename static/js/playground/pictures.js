/* The start image and the mask: chosen, dropped, pasted, taken from the samples, or painted. */

import { toast } from "../site.js";
import { Painter } from "./painter.js";

const LARGEST_BYTES = 20 * 2 ** 20;

export class Pictures {
  constructor(form, { onChange, onFile }) {
    this.form = form;
    this.onChange = onChange;
    this.onFile = onFile;
    this.start = null; // Blob
    this.mask = null;
    this.drop = document.getElementById("drop");
    this.shown = document.getElementById("start_image");
    this.shownMask = document.getElementById("mask_image");
    this.input = document.getElementById("id_init_image");
    this.drawing = new Painter(document.getElementById("drawing"), { paper: "#ffffff" });
    this.masking = new Painter(document.getElementById("mask"), { mask: true });
    this.listen();
  }

  listen() {
    this.input.addEventListener("change", () => { if (this.input.files[0]) this.takeFile(this.input.files[0]); });
    for (const type of ["dragenter", "dragover"]) {
      document.addEventListener(type, (event) => {
        if (![...event.dataTransfer.types].includes("Files")) return;
        event.preventDefault();
        this.drop.classList.add("over");
      });
    }
    document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) this.drop.classList.remove("over"); });
    document.addEventListener("drop", (event) => {
      this.drop.classList.remove("over");
      const file = event.dataTransfer.files[0];
      if (!file) return;
      event.preventDefault();
      this.takeFile(file);
    });
    document.addEventListener("paste", (event) => {
      const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
      if (file) { event.preventDefault(); this.takeFile(file); }
    });
    for (const button of document.querySelectorAll("[data-sample]")) {
      button.addEventListener("click", () => this.fetchStart(button.dataset.sample, button.getAttribute("aria-label")));
    }
    for (const button of document.querySelectorAll("[data-canvas]")) {
      button.addEventListener("click", () => this.paint(button.dataset.canvas));
    }
    document.getElementById("clear_image").addEventListener("click", () => this.setStart(null));
  }

  /** Take a file that the person gave. */
  takeFile(file) {
    if (!file.type.startsWith("image/")) return toast("That is not an image.", "error");
    if (file.size > LARGEST_BYTES) return toast("The image is larger than 20 MB.", "error");
    // Whoever gives an image in the mode without one means to begin with it.
    if (this.form.elements.mode.value === "text2img") document.getElementById("mode_img2img").click();
    this.setStart(file);
    this.onFile(file);
  }

  /** Begin with the image at an address; returns whether it was there. */
  async fetchStart(address, name) {
    const blob = await fetched(address);
    if (blob) this.setStart(new File([blob], name, { type: blob.type }));
    return Boolean(blob);
  }

  async fetchMask(address) {
    const blob = await fetched(address);
    if (blob) this.setMask(blob);
  }

  setStart(blob) {
    this.start = blob;
    this.setMask(null);
    this.input.value = "";
    show(this.shown, blob);
    this.drop.querySelector(".drop-empty").hidden = Boolean(blob);
    this.drop.querySelector(".drop-full").hidden = !blob;
    this.onChange();
  }

  setMask(blob) {
    this.mask = blob;
    show(this.shownMask, blob);
    this.shownMask.hidden = !blob || this.form.elements.mode.value !== "inpaint";
  }

  showMask(wanted) {
    this.shownMask.hidden = !wanted || !this.mask;
  }

  async paint(which) {
    const width = Number(this.form.elements.width.value) || 512;
    const height = Number(this.form.elements.height.value) || 512;
    if (which === "drawing") {
      const blob = await this.drawing.open({ width, height, under: this.start });
      if (blob) this.setStart(new File([blob], "drawing.png", { type: "image/png" }));
    } else {
      const blob = await this.masking.open({ width, height, under: this.start, begin: this.mask });
      if (blob) this.setMask(blob);
    }
  }

  /** Put what the mode needs into the form's fields. */
  addTo(fields, mode) {
    fields.delete("init_image");
    fields.delete("mask_image");
    if (mode !== "text2img" && this.start) fields.set("init_image", this.start, this.start.name ?? "image");
    if (mode === "inpaint" && this.mask) fields.set("mask_image", this.mask, "mask.png");
  }
}

async function fetched(address) {
  try {
    const response = await fetch(address);
    if (response.ok && !response.redirected) return await response.blob();
  } catch { /* said below */ }
  toast("The image could not be loaded.", "error");
  return null;
}

function show(image, blob) {
  if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  if (blob) image.src = URL.createObjectURL(blob);
  else image.removeAttribute("src");
}
