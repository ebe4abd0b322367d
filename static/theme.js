// Changes the theme without loading the page again; without scripting the same form posts and comes back.
(() => {
  "use strict";
  const form = document.querySelector("form.theme");
  form?.addEventListener("submit", async (event) => {
    const chosen = event.submitter?.value;
    if (!chosen) return;
    event.preventDefault();
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams({ theme: chosen }), credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok) return form.submit();
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    for (const button of form.elements) button.setAttribute("aria-pressed", String(button.value === chosen));
    document.dispatchEvent(new Event("headroom:theme"));
  });
})();
