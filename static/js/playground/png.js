/* Reads out of a PNG what it was made from. */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHUNK = "atelier"; // generation/images.py: JSON_CHUNK

/** Return the parameters of an image that was made here, or null. */
export async function readRecipe(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (!SIGNATURE.every((byte, k) => bytes[k] === byte)) return null;
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    const text = { iTXt: internationalText, tEXt: plainText }[type]?.(data);
    if (text?.keyword === CHUNK) {
      try {
        return JSON.parse(text.value);
      } catch {
        return null;
      }
    }
    at += 12 + length;
  }
  return null;
}

function plainText(data) {
  const end = data.indexOf(0);
  return { keyword: latin(data.subarray(0, end)), value: latin(data.subarray(end + 1)) };
}

function internationalText(data) {
  const end = data.indexOf(0);
  if (data[end + 1]) return null; // compressed: not ours
  const language = data.indexOf(0, end + 3);
  const translated = data.indexOf(0, language + 1);
  const value = new TextDecoder().decode(data.subarray(translated + 1));
  return { keyword: latin(data.subarray(0, end)), value };
}

function latin(bytes) {
  return new TextDecoder("latin1").decode(bytes);
}
