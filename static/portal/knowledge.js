// Files that are dropped or chosen go up one by one, each with a row that shows how far it is. And a dialog before
// something is removed. Without this file both work, page by page.
"use strict";

{
  const AT_ONCE = 2;
  const MOST_ROWS = 100;
  const form = document.getElementById("upload");
  const list = document.getElementById("documents");
  const waiting = [];
  let running = 0;

  const part = (row, name) => row.querySelector(`[data-${name}]`);
  const say = (row, words) => { part(row, "words").textContent = words; };

  function add(files) {
    for (const file of files) {
      const row = document.getElementById("uploading").content.firstElementChild.cloneNode(true);
      part(row, "name").textContent = file.name;
      part(row, "again").addEventListener("click", () => queue(row, file));
      part(row, "cancel").addEventListener("click", () => row.remove());
      list.prepend(row);
      queue(row, file);
    }
    while (list.children.length > MOST_ROWS) list.lastElementChild.remove();
  }

  function queue(row, file) {
    part(row, "again").hidden = true;
    row.querySelector("progress").hidden = false;
    say(row, "Waiting to upload");
    waiting.push([row, file]);
    next();
  }

  function next() {
    while (running < AT_ONCE && waiting.length) {
      const [row, file] = waiting.shift();
      if (row.isConnected) send(row, file);
    }
  }

  function send(row, file) {
    const body = new FormData();
    body.append("csrfmiddlewaretoken", form.elements.csrfmiddlewaretoken.value);
    body.append("files", file);
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("HX-Request", "true");
    request.upload.addEventListener("progress", (event) => {
      const percent = Math.floor(100 * event.loaded / event.total);
      row.querySelector("progress").value = percent;
      say(row, `Uploading ${percent} %`);
    });
    request.addEventListener("load", () => arrived(row, request));
    request.addEventListener("error", () => failed(row, "The connection was lost."));
    request.addEventListener("loadend", () => { running -= 1; next(); });
    part(row, "cancel").addEventListener("click", () => request.abort(), { once: true });
    running += 1;
    say(row, "Uploading 0 %");
    request.send(body);
  }

  function arrived(row, request) {
    if (new URL(request.responseURL).pathname !== location.pathname) failed(row, "You are signed out. Sign in again in another tab, then try again.");
    else if (request.status === 200) htmx.swap(row, request.responseText, { swapStyle: "outerHTML" });
    else if (request.status === 409) failed(row, request.responseText); // no room for it
    else if (request.status === 403) failed(row, "You may not add documents, or this page is too old. Load it again.");
    else failed(row, "This did not work right now.");
  }

  function failed(row, reason) {
    say(row, `Not uploaded. ${reason}`);
    row.querySelector("progress").hidden = true;
    part(row, "again").hidden = false;
  }

  function dragged(event) {
    return event.dataTransfer?.types.includes("Files");
  }

  if (form) {
    const input = form.elements.files;
    part(form, "without-script").hidden = true;
    part(form, "with-script").hidden = false;
    input.classList.add("bare");
    input.addEventListener("change", () => { add([...input.files]); input.value = ""; });
    form.addEventListener("submit", (event) => event.preventDefault());
    // the whole page takes files, so that one dropped beside the zone does not open instead of the page
    addEventListener("dragover", (event) => {
      if (!dragged(event)) return;
      event.preventDefault();
      form.classList.add("over");
    });
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) form.classList.remove("over"); });
    addEventListener("drop", (event) => {
      if (!dragged(event)) return;
      event.preventDefault();
      form.classList.remove("over");
      add([...event.dataTransfer.files]);
    });
    addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
  }

  // the server's form has come into the dialog
  document.body.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "confirm" && !event.target.open) event.target.showModal();
  });
  document.addEventListener("click", (event) => {
    const close = event.target.closest("dialog [data-close]");
    if (!close) return;
    event.preventDefault();
    close.closest("dialog").close();
  });
}
