/* A canvas to draw a start image on, or to paint what is repainted; with a pointer, a finger or the keyboard. */

const MASK_COLOUR = "#ffffff";
const UNDOS = 20;

export class Painter {
  constructor(dialog, { mask = false, paper = null }) {
    this.dialog = dialog;
    this.mask = mask;
    this.paper = paper;
    this.canvas = dialog.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.under = dialog.querySelector("[data-under]");
    this.undone = [];
    this.brush = { x: 0, y: 0, down: false };
    this.listen();
  }

  listen() {
    const { canvas, dialog } = this;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.remember();
      this.stroke(this.place(event), this.place(event));
      this.last = this.place(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.last) return;
      const at = this.place(event);
      this.stroke(this.last, at);
      this.last = at;
    });
    for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => { this.last = null; });
    canvas.addEventListener("keydown", (event) => this.key(event));
    dialog.querySelector("[data-undo]").addEventListener("click", () => this.undo());
    dialog.querySelector("[data-clear]").addEventListener("click", () => { this.remember(); this.clear(); });
    dialog.querySelector("[data-invert]")?.addEventListener("click", () => { this.remember(); this.invert(); });
    dialog.querySelector("[data-done]").addEventListener("click", () => { this.done = true; dialog.close(); });
  }

  /** Open with an image under the paint, and resolve to a PNG of it when the person is done, or to null. */
  async open({ width, height, under, begin = null }) {
    this.canvas.width = width;
    this.canvas.height = height;
    this.undone = [];
    this.brush = { x: width / 2, y: height / 2, down: false };
    this.clear();
    if (this.mask) {
      await this.showUnder(under, width, height);
      if (begin) await this.beginWith(begin);
    } else if (under) {
      cover(this.context, await createImageBitmap(under), width, height);
    }
    this.done = false;
    this.dialog.showModal();
    this.canvas.focus();
    await new Promise((resolve) => this.dialog.addEventListener("close", resolve, { once: true }));
    return this.done ? this.result() : null;
  }

  async showUnder(under, width, height) {
    const picture = document.createElement("canvas");
    picture.width = width;
    picture.height = height;
    if (under) cover(picture.getContext("2d"), await createImageBitmap(under), width, height);
    this.under.src = picture.toDataURL("image/jpeg", 0.9);
  }

  /** Begin with an earlier mask: what is white in it is painted. */
  async beginWith(mask) {
    const { width, height } = this.canvas;
    cover(this.context, await createImageBitmap(mask), width, height);
    const pixels = this.context.getImageData(0, 0, width, height);
    for (let k = 0; k < pixels.data.length; k += 4) {
      pixels.data[k + 3] = pixels.data[k];
      pixels.data.fill(255, k, k + 3);
    }
    this.context.putImageData(pixels, 0, 0);
  }

  /** Return a PNG: the drawing, or white where it is painted and black elsewhere. */
  result() {
    if (this.mask) {
      this.context.globalCompositeOperation = "destination-over";
      this.context.fillStyle = "#000000";
      this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
      this.context.globalCompositeOperation = "source-over";
    }
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.canvas.width,
      y: ((event.clientY - box.top) / box.height) * this.canvas.height,
    };
  }

  stroke(from, to) {
    const erases = this.mask && this.dialog.querySelector("[name=tool]:checked").value === "erase";
    const { context } = this;
    context.globalCompositeOperation = erases ? "destination-out" : "source-over";
    context.strokeStyle = this.mask ? MASK_COLOUR : this.dialog.querySelector("[data-colour]").value;
    context.lineWidth = Number(this.dialog.querySelector("[data-size]").value);
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.01, to.y);
    context.stroke();
    context.globalCompositeOperation = "source-over";
  }

  /** Arrow keys move the brush by its own size, Space puts it down and lifts it. */
  key(event) {
    const step = Math.max(4, Number(this.dialog.querySelector("[data-size]").value) / 2);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key === "z" && (event.ctrlKey || event.metaKey)) {
      this.undo();
    } else if (event.key === " ") {
      this.brush.down = !this.brush.down;
      if (this.brush.down) { this.remember(); this.stroke(this.brush, this.brush); }
    } else if (event.key in moves) {
      const from = { ...this.brush };
      this.brush.x = Math.min(this.canvas.width, Math.max(0, from.x + moves[event.key][0]));
      this.brush.y = Math.min(this.canvas.height, Math.max(0, from.y + moves[event.key][1]));
      if (this.brush.down) this.stroke(from, this.brush);
    } else {
      return;
    }
    event.preventDefault();
  }

  remember() {
    this.undone.push(this.context.getImageData(0, 0, this.canvas.width, this.canvas.height));
    if (this.undone.length > UNDOS) this.undone.shift();
  }

  undo() {
    const before = this.undone.pop();
    if (before) this.context.putImageData(before, 0, 0);
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.paper) {
      this.context.fillStyle = this.paper;
      this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    }
  }

  invert() {
    this.context.globalCompositeOperation = "xor";
    this.context.fillStyle = MASK_COLOUR;
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.context.globalCompositeOperation = "source-over";
  }
}

/** Draw an image so that it fills the canvas, cut evenly at the sides: as the server does. */
function cover(context, image, width, height) {
  const scale = Math.max(width / image.width, height / image.height);
  const [w, h] = [image.width * scale, image.height * scale];
  context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
}
