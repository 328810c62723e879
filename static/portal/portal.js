// Small behaviours of portal pages, found by data attributes. Each page works without them.
"use strict";

// data-focus: a summary of errors, or a conflict, is read first
document.querySelector("[data-focus]")?.focus();

// data-copy="id of a field": copies its value and says so
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    const label = button.querySelector("[data-copy-label]");
    const before = label.textContent;
    try {
      await navigator.clipboard.writeText(field.value);
      label.textContent = "Copied";
    } catch {
      field.select(); // without the right to the clipboard, one key press is left to do
      label.textContent = "Press Ctrl C";
    }
    setTimeout(() => { label.textContent = before; }, 2000);
  });
}

// data-mirror="id of a field": a colour picker beside a written colour
for (const picker of document.querySelectorAll("[data-mirror]")) {
  const field = document.getElementById(picker.dataset.mirror);
  picker.hidden = field.matches(":disabled");
  picker.addEventListener("input", () => {
    field.value = picker.value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  field.addEventListener("input", () => {
    if (/^#[0-9a-f]{6}$/i.test(field.value)) picker.value = field.value;
  });
}

// data-count="id of a field": how many characters it holds
for (const counter of document.querySelectorAll("[data-count]")) {
  const field = document.getElementById(counter.dataset.count);
  const show = () => { counter.textContent = [...field.value].length.toLocaleString("en"); };
  field.addEventListener("input", show);
}

// data-enables="id of a button": a box that has to be ticked first
for (const box of document.querySelectorAll("[data-enables]")) {
  const target = document.getElementById(box.dataset.enables);
  const follow = () => { target.toggleAttribute("aria-disabled", !box.checked); };
  target.addEventListener("click", (event) => {
    if (!box.checked) { event.preventDefault(); box.focus(); }
  });
  box.addEventListener("change", follow);
  follow();
}

// data-guard: a form whose changes would be lost by leaving asks first
for (const form of document.querySelectorAll("[data-guard]")) {
  let changed = false;
  form.addEventListener("input", () => { changed = true; });
  form.addEventListener("submit", () => { changed = false; });
  addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
}
