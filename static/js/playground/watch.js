/* Follows a generation to its end: server-sent events, or asking every second where they don't arrive. */

/** Show a state on a progress bar and in the words beside it: "Step 3 of 21", "about 40 s". */
export function showState({ status, step, steps, eta_seconds }, { bar, words, eta }) {
  const queued = status === "queued";
  bar.max = steps;
  if (queued) bar.removeAttribute("value");
  else bar.value = step;
  words.textContent = queued ? "Waiting for its turn" : `Step ${step} of ${steps}`;
  eta.textContent = eta_seconds ? `about ${duration(eta_seconds)}` : "";
}

function duration(seconds) {
  if (seconds < 90) return `${seconds} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

const PATIENCE_MS = 4000; // how long events may stay away before we ask

/** Call onProgress with each state and onEnd once with the final description; returns what ends the watching.
 * Loads the page again when the state can't be had any more. */
export function watch(addresses, { onProgress, onEnd }) {
  const source = new EventSource(addresses.events);
  let over = false;
  let heard = performance.now();

  const stop = () => {
    over = true;
    source.close();
    clearInterval(timer);
  };

  async function ask() {
    let description;
    try {
      const response = await fetch(addresses.state, { headers: { Accept: "application/json" } });
      if (response.redirected || response.status === 404) { // logged out, or deleted elsewhere: the page says which
        stop();
        location.reload();
        return;
      }
      if (!response.ok) return;
      description = await response.json();
    } catch {
      return; // offline for a moment
    }
    if (over) return;
    if (["queued", "processing"].includes(description.status)) {
      onProgress({ ...description, draft: "" });
    } else {
      stop();
      onEnd(description);
    }
  }

  source.addEventListener("progress", (event) => {
    heard = performance.now();
    onProgress(JSON.parse(event.data));
  });
  source.addEventListener("end", () => { source.close(); ask(); });
  const timer = setInterval(() => { if (performance.now() - heard > PATIENCE_MS) ask(); }, 1000);
  return stop;
}
