/* The buttons of the test chat: each fetches the panel anew, with another version or without a word said. */
document.addEventListener("click", async ({ target }) => {
  const button = target.closest("#trial [data-panel]");
  if (!button || button.ariaBusy === "true") return;
  const old = button.closest("#trial"), csrf = old.querySelector("[name=csrfmiddlewaretoken]").value;
  button.ariaBusy = "true";
  const options = "post" in button.dataset ? { method: "POST", headers: { "X-CSRFToken": csrf } } : {};
  const answer = await fetch(button.dataset.panel, options).catch(() => null);
  button.ariaBusy = "false";
  if (!answer?.ok || answer.redirected) {
    const chat = old.querySelector("[data-chat]");
    chat.querySelector("[data-notice]").hidden = false;
    chat.querySelector("[data-notice-text]").textContent = "This did not work right now. Please try again, or load the page again.";
    return;
  }
  old.outerHTML = await answer.text();
  const panel = document.getElementById("trial");
  Chat.begin(panel.querySelector("[data-chat]"));
  panel.querySelector("h2").focus();
});
