/* The line of a test chat: each question is a request, its answer a stream of events. Looks like Chat.Line to the chat. */
globalThis.Chat ??= {};
const AGAIN_MS = 1_000, LONGEST_MS = 30_000, STREAM = "text/event-stream";

Chat.Stream = class {
  ready = false;
  gone = false; // signed out, or no longer allowed: only loading the page again helps
  #wake = () => {};

  /* root: the chat, whose data say where to ask; hello, received, changed: as Chat.Line has them. */
  constructor(facts) {
    Object.assign(this, facts);
    queueMicrotask(() => this.#begin());
  }

  /* What is not about an answer has no meaning here. */
  send(frame) {
    if (frame.type === "message") this.#ask(frame.id, frame.text);
    if (frame.type === "stop") this.#post(this.root.dataset.stop, { turn: frame.turn }).catch(() => this.#set({ ready: false }));
  }

  /* Do not wait any longer before the next try. */
  again() { this.#wake(); }

  arrived() {} // there is never a second stream beside the one

  #begin() {
    const { conversation, isDemo, byWords } = this.root.dataset;
    const agent = { name: this.root.querySelector("[data-agent]").textContent, demo: isDemo !== undefined, keyword_search: byWords !== undefined };
    this.hello();
    this.ready = true;
    this.received({ type: "ready", conversation, seq: 0, state: "agent", agent });
    this.changed();
    const last = JSON.parse(document.getElementById("chat-messages").textContent).at(-1);
    if (last?.role === "user" && last.client_id) this.#ask(last.client_id, last.text); // it was being answered: an id sent twice is one question
  }

  #set(facts) {
    Object.assign(this, facts);
    this.changed();
  }

  #post(address, fields, headers = {}) {
    const csrf = this.root.querySelector("[name=csrfmiddlewaretoken]").value;
    const body = new URLSearchParams({ conversation: this.root.dataset.conversation, ...fields });
    return fetch(address, { method: "POST", headers: { "X-CSRFToken": csrf, ...headers }, body });
  }

  /* Asks until the answer has ended; after a break it goes on behind the last event that was seen. */
  async #ask(id, text) {
    const seen = { last: "" };
    for (let wait = AGAIN_MS; ; wait = Math.min(LONGEST_MS, 2 * wait)) {
      try {
        const answer = await this.#post(this.root.dataset.stream, { id, text }, { Accept: STREAM, ...(seen.last && { "Last-Event-ID": seen.last }) });
        if (answer.status < 500 && !answer.headers.get("Content-Type")?.startsWith(STREAM)) return void this.#refused(answer);
        if (answer.ok) {
          if (!this.ready) this.#set({ ready: true });
          wait = AGAIN_MS;
          if (await this.#read(answer.body, seen)) return;
        }
      } catch { /* the connection broke */ }
      this.#set({ ready: false });
      await new Promise((wake) => { this.#wake = wake; setTimeout(wake, wait); });
    }
  }

  /* Whether the answer has ended. seen.last: the id of the last event. */
  async #read(body, seen) {
    let rest = "";
    for (const reader = body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const { value, done } = await reader.read();
      if (done) return false;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const { id, data } = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
        const event = JSON.parse(data);
        seen.last = id ?? seen.last;
        this.received(event);
        if (event.type === "accepted" && event.turn) this.received({ type: "turn.started", turn: event.turn, attempt: 1 });
        if (event.type === "turn.finished") return true;
      }
    }
  }

  async #refused(answer) {
    if (answer.redirected || !answer.headers.get("Content-Type")?.startsWith("application/json")) this.#set({ ready: false, gone: true });
    else this.received(await answer.json());
  }
};
