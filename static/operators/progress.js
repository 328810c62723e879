// Keeps a page about work that is under way up to date: asks once a second, puts in what the server says, and reads
// out only what is worth it. Without this file the page shows how far it was when it was loaded.
"use strict";

{
  const SECOND = 1000;
  const place = document.querySelector("[data-poll]");
  const part = (name) => place.querySelector(`[data-${name}]`);
  let shown = "";
  let patience = SECOND;

  async function look() {
    if (document.hidden) return wait();
    try {
      const answer = await fetch(place.dataset.poll, { headers: { Accept: "application/json" }, redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      show(await answer.json());
    } catch {
      part("lost").hidden = false;
      patience = Math.min(patience * 2, 15 * SECOND);
      wait();
    }
  }

  function show(found) {
    part("lost").hidden = true;
    patience = SECOND;
    if (found.html !== shown) replace(found.html);
    if (part("said").textContent !== found.said) part("said").textContent = found.said;
    offer(found.actions);
    if (found.live) wait();
    else place.removeAttribute("data-live");
  }

  // Whoever stands on a link in there still stands on it afterwards
  function replace(html) {
    const box = part("progress");
    const at = [...box.querySelectorAll("a")].indexOf(document.activeElement);
    box.innerHTML = shown = html;
    if (at >= 0) box.querySelectorAll("a")[at]?.focus();
  }

  function offer(actions) {
    const forms = [...place.querySelectorAll("[data-action]")];
    const lost = forms.some((form) => form.contains(document.activeElement) && !actions.includes(form.dataset.action));
    for (const form of forms) form.hidden = !actions.includes(form.dataset.action);
    if (lost) forms.find((form) => !form.hidden)?.querySelector("[type=submit]").focus();
  }

  function wait() { setTimeout(look, patience); }

  if (place && place.hasAttribute("data-live")) wait();
}
