/* The box to write in: Enter sends, the draft survives a reload, a text that is too long stays and is told so. */
globalThis.Chat ??= {};
const LONGEST = 8_000, SHOWN_FROM = 7_500, ROWS = 6, DRAFT = "draft";

/* What survives a reload of this page. Where storage is off, nothing does. */
const named = (name) => `${location.pathname} ${name}`; // builders' test chats stand on pages of the same site
Chat.kept = {
  get(name) {
    try { return sessionStorage.getItem(named(name)) ?? ""; } catch { return ""; }
  },
  set(name, text) {
    try { sessionStorage.setItem(named(name), text); } catch { /* not kept */ }
  },
};

/* As crypto.randomUUID, which is missing over http. */
Chat.uuid = () => "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) =>
  (+c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (+c / 4)))).toString(16));

Chat.Composer = class {
  /* send(text) tells whether it took the text; typing() is called while somebody writes. */
  constructor(root, words, send, typing) {
    const [box, count, button, stop] = ["textarea", "[data-length]", "[data-send]", "[data-do=stop]"].map((name) => root.querySelector(name));
    Object.assign(this, { words, send, box, count, button, stop });
    box.form.addEventListener("submit", (event) => this.#submit(event));
    box.addEventListener("keydown", (event) => { // 229: an input method is at work
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) this.#submit(event);
    });
    box.addEventListener("input", () => {
      this.put(box.value);
      typing();
    });
    this.put(box.value || Chat.kept.get(DRAFT));
  }

  get empty() { return !this.box.value.trim(); }

  put(text) {
    const length = [...text].length, long = length > LONGEST; // characters, as the server counts them
    const figures = [length, LONGEST].map((n) => n.toLocaleString(document.documentElement.lang));
    if (this.box.value !== text) this.box.value = text;
    this.box.ariaInvalid = String(long);
    this.button.disabled = long || !length;
    this.count.textContent = length < SHOWN_FROM ? "" : Chat.fill(long ? this.words.sayLong : this.words.sayLength, ...figures);
    Chat.kept.set(DRAFT, text);
    if (CSS.supports("field-sizing", "content")) return;
    this.box.rows = 1;
    this.box.rows = Math.min(ROWS, Math.round((this.box.scrollHeight - 12) / 24));
  }

  /* While an answer is written, Stop stands in place of Send. */
  busy(on) {
    const held = [this.stop, this.button].includes(document.activeElement);
    this.button.hidden = on;
    this.stop.hidden = !on;
    this.stop.disabled = false;
    if (held) this.box.focus();
  }

  #submit(event) {
    event.preventDefault();
    if (this.empty || this.button.disabled || !this.send(this.box.value.trim())) return;
    this.put("");
    this.box.focus();
  }
};

/* iOS lays the keyboard over the page; there the page takes the height that is left. */
globalThis.visualViewport?.addEventListener("resize", ({ target: { height, scale } }) => {
  document.documentElement.style.setProperty("--visible", innerHeight - height > 80 && scale === 1 ? `${height}px` : "100dvh");
});
