/* Says so where the image of a generation can't be loaded; a comparison without its start image shows the result alone,
   and the history an empty tile. */

const IMAGES = "img.picture, .compare > img, .tile > img, img.thumb";

function tell(image) {
  if (image.matches(".tile > img, img.thumb")) {
    const blank = document.createElement("span");
    blank.className = "blank";
    blank.textContent = "No longer stored";
    image.replaceWith(blank);
    return;
  }
  const comparison = image.closest(".compare");
  const result = comparison?.querySelector("img.after");
  const words = document.createElement("p");
  words.className = "message warning";
  if (result && image !== result) {
    words.textContent = "The start image could not be loaded: it may no longer be stored.";
    result.className = "picture";
    comparison.replaceWith(result, words);
  } else {
    words.textContent = "The image could not be loaded: it may no longer be stored.";
    (comparison ?? image.closest("a") ?? image).replaceWith(words);
  }
}

// Such events don't bubble, so they are caught on their way down.
document.addEventListener("error", ({ target }) => {
  if (target instanceof HTMLImageElement && target.matches(IMAGES)) tell(target);
}, true);
for (const image of document.querySelectorAll(IMAGES)) {
  if (image.complete && !image.naturalWidth) tell(image); // it failed before this script was there
}
