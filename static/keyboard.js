// Keys: `g` and a letter goes somewhere, `/` searches, `j` `k` Enter walk the first table, `?` helps. Off in inputs, and off at wish.
(() => {
  "use strict";
  const PLACES = { d: "/", c: "/clusters", t: "/triggers", r: "/runs", n: "/counters", h: "/holds", a: "/actions" };
  const OFF = "headroom-keys-off";
  const help = document.getElementById("help");
  const box = document.getElementById("keys-on");
  let going = 0;

  const off = () => localStorage.getItem(OFF) === "1";
  const typing = (target) => target.closest?.("input, select, textarea, [contenteditable]");
  const rows = () => [...document.querySelectorAll("table.table tbody tr")].filter((row) => row.querySelector("a"));

  const move = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.classList.contains("here"));
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    all[at]?.classList.remove("here");
    next.classList.add("here");
    next.querySelector("a").focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };

  const keys = {
    g: () => { going = Date.now(); },
    "/": () => document.querySelector('input[type="search"]')?.focus(),
    j: () => move(1),
    k: () => move(-1),
    "?": () => help?.showModal(),
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || help?.open || off()) return;
    const place = Date.now() - going < 1500 ? PLACES[event.key] : undefined;
    if (place) {
      event.preventDefault();
      location.assign(place);
      return;
    }
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  if (box) {
    box.checked = !off();
    box.addEventListener("change", () => localStorage.setItem(OFF, box.checked ? "0" : "1"));
  }
  for (const button of document.querySelectorAll("[data-help]")) {
    button.hidden = false;
    button.addEventListener("click", () => help?.showModal());
  }
})();
