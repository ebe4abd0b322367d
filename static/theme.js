// Changes the theme without loading the page again; without scripting the same forms post and come back.
(() => {
  "use strict";
  const forms = document.querySelectorAll("form.theme");
  const choose = async (event) => {
    const form = event.currentTarget;
    const chosen = event.submitter?.value;
    if (!chosen) return;
    event.preventDefault();
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams({ theme: chosen }), credentials: "same-origin" }).catch(() => null);
    if (!answer?.ok) return form.submit();
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    for (const button of document.querySelectorAll("form.theme button")) button.setAttribute("aria-pressed", String(button.value === chosen));
    document.dispatchEvent(new Event("headroom:theme"));
  };
  for (const form of forms) form.addEventListener("submit", choose);
})();
