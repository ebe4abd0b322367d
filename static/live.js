// Keeps a page fresh: fetches the same address again and swaps the marked regions, so that no second way of drawing exists.
(() => {
  "use strict";
  const FAST_MS = 5000;
  const SLOW_MS = 30000;
  const CALM_AFTER_MS = 120000;
  let lastSign = Date.now();
  let timer = 0;

  const regions = (root) => root.querySelectorAll("[data-live][id]");
  const summaries = (root) => root.querySelectorAll('meta[name="headroom-summary"]');

  // A region that a person is using is left alone: focus, an open fold and a selection must not vanish under the hand.
  const busy = (region) =>
    region.contains(document.activeElement) || (document.getSelection()?.type === "Range" && region.contains(document.getSelection().anchorNode));

  const keepFolds = (old, fresh) => {
    for (const fold of old.querySelectorAll("details[open][id]")) {
      fresh.querySelector(`#${CSS.escape(fold.id)}`)?.setAttribute("open", "");
    }
  };

  const swap = (fresh) => {
    for (const region of regions(document)) {
      const next = fresh.getElementById(region.id);
      if (!next || busy(region)) continue;
      keepFolds(region, next);
      if (next.innerHTML !== region.innerHTML) region.replaceChildren(...next.childNodes);
    }
    document.title = fresh.title;
    const icon = document.querySelector('link[rel="icon"]');
    const freshIcon = fresh.querySelector('link[rel="icon"]');
    if (icon && freshIcon && icon.getAttribute("href") !== freshIcon.getAttribute("href")) icon.replaceWith(freshIcon);
    announce(fresh);
    document.dispatchEvent(new Event("headroom:fresh"));
  };

  const announce = (fresh) => {
    const next = summaries(fresh);
    const changed = [...summaries(document)].filter((old, at) => {
      const same = !next[at] || old.content === next[at].content;
      if (!same) old.content = next[at].content;
      return !same;
    });
    if (changed.length) document.getElementById("announce").textContent = changed.map((summary) => summary.content).join(". ");
  };

  const stale = (is) => {
    const note = document.getElementById("stale");
    if (note) note.hidden = !is;
  };

  const refresh = async () => {
    if (document.hidden || !regions(document).length) return plan();
    try {
      const answer = await fetch(location.href, { headers: { "X-Requested-With": "live" }, credentials: "same-origin" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") return location.reload();
      if (!answer.ok) throw new Error(String(answer.status));
      swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      stale(false);
    } catch {
      stale(true);
    }
    plan();
  };

  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, Date.now() - lastSign < CALM_AFTER_MS ? FAST_MS : SLOW_MS);
  };

  for (const sign of ["pointermove", "keydown", "focus"]) {
    addEventListener(sign, () => { lastSign = Date.now(); }, { passive: true });
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { lastSign = Date.now(); refresh(); } });
  document.getElementById("stale-retry")?.addEventListener("click", refresh);
  plan();
})();
