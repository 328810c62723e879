/* The chat: what the wire's events do to the page, and what the end user does to the wire (agents/wire.py). */
"use strict";
globalThis.Chat ??= {};
(() => {
  const LONGEST_MESSAGE = 8_000, LENGTH_SHOWN_FROM = 7_500, LOST_SHOWN_AFTER_MS = 2_000, TYPING_MS = 5_000, PAGE = 20;

  const fill = (text, ...values) => values.reduce((done, value, i) => done.replace(values.length > 1 ? `%${i + 1}` : "%", value), text);
  const length = (text) => [...text].length; // characters as the server counts them
  const uuid = () => "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) => // also where randomUUID is missing
    (+c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (+c / 4)))).toString(16));

  /* What must survive a reload of this tab. Works without storage, too, only shorter. */
  const kept = {
    get(name) { try { return sessionStorage.getItem(name); } catch { return null; } },
    set(name, text) { try { text ? sessionStorage.setItem(name, text) : sessionStorage.removeItem(name); } catch { /* storage is off */ } },
  };

  class Conversation {
    unsent = new Map(); // client id -> text, until the server has it
    turn = null; // the answer being written: {turn, attempt, n, article, writer, fresh}
    finished = new Set(); // ids of turns whose answer is stored

    constructor(root) {
      this.root = root;
      this.at = (name) => root.querySelector(`[data-${name}]`);
      this.thread = new Chat.Thread(root);
      this.words = this.thread.words;
      this.box = root.querySelector("textarea");
      this.id = root.dataset.conversation;
      this.seq = Number(root.dataset.seq);
      this.#restore();
      this.#listen();
      const address = Object.assign(new URL(root.dataset.socket, location.href), { protocol: location.protocol.replace("http", "ws") });
      this.line = new Chat.Line({
        address, ticket: root.dataset.ticket, newTicket: () => this.#newTicket(), hello: () => this.#hello(),
        received: (event) => this.#receive(event), changed: () => this.#connection(),
      });
      this.#connection();
    }

    get state() { return this.root.dataset.state; }
    get #draft() { return `draft:${this.id}`; }
    get #queue() { return `unsent:${this.id}`; }

    /* ---- from the page as it was served, and from before a reload ---- */

    #restore() {
      const messages = JSON.parse(document.getElementById("chat-messages").textContent);
      const known = new Set(messages.map((message) => message.client_id));
      for (const message of messages) {
        this.thread.show(message);
        if (message.role === "agent" && message.turn) this.finished.add(message.turn);
      }
      this.thread.days();
      for (const [id, text] of JSON.parse(kept.get(this.#queue) ?? "[]")) if (!known.has(id)) this.#queueUp(id, text);
      this.root.querySelector("[data-do=earlier]").hidden = messages.length < PAGE || messages[0].seq <= 1;
      this.box.value = kept.get(this.#draft) ?? "";
      this.#typed();
      this.thread.toEnd();
    }

    /* ---- the line ---- */

    async #newTicket() {
      const csrf = this.root.querySelector("[name=csrfmiddlewaretoken]").value;
      const answer = await fetch(this.root.dataset.ticketUrl, { method: "POST", headers: { "X-CSRFToken": csrf } });
      if (answer.ok) return (await answer.json()).ticket;
      throw Object.assign(new Error(`no ticket: ${answer.status}`), { gone: [401, 403, 404, 410].includes(answer.status) });
    }

    #hello() {
      const { turn, attempt, n } = this.turn ?? {};
      return { conversation: this.id || null, seq: this.seq, turn: turn ? { turn, attempt, n } : null };
    }

    #connection() {
      const { ready, gone } = this.line ?? {};
      clearTimeout(this.lostTimer);
      if (ready) this.at("lost").hidden = true;
      else this.lostTimer = setTimeout(() => this.#showLost(gone), gone ? 0 : LOST_SHOWN_AFTER_MS);
      for (const id of this.unsent.keys()) {
        const article = this.#mine(id);
        if (article) article.dataset.sent = ready ? "sending" : "waiting";
      }
    }

    #showLost(gone) {
      if (!this.at("lost").hidden && !gone) return;
      this.at("lost").hidden = false;
      this.at("lost-text").textContent = gone ? this.words.sayGone : this.words.sayLost;
      if (gone) this.root.querySelector("[data-do=retry]").textContent = this.words.sayReload;
      this.#say(gone ? this.words.sayGone : this.words.sayLost);
    }

    /* ---- events of the server ---- */

    #receive(event) {
      const before = this.seq;
      if (event.seq && event.type !== "ready") this.seq = Math.max(before, event.seq); // ready only announces what will come
      this.#events[event.type]?.(event, before);
    }

    #events = {
      ready: (event) => this.#ready(event),
      accepted: (event) => this.#accepted(event),
      "turn.started": (event) => this.#follow(event),
      delta: (event) => this.#follow(event) && this.#grow(event.text),
      "tool.started": (event) => this.#follow(event) && this.thread.keep(() => this.thread.tool(this.turn.article, event.label)),
      "tool.finished": (event) => this.#follow(event) && this.thread.tool(this.turn.article, ""),
      citations: (event) => this.#follow(event) && this.#cite(event.items),
      "turn.finished": (event) => this.#finish(event),
      message: (event) => this.#message(event.message),
      state: (event, before) => event.seq > before && this.#setState(event.state, true),
      typing: (event) => this.#showTyping(event),
      limited: (event) => this.#limited(event),
      history: (event) => this.#history(event),
      error: (event) => this.#error(event),
    };

    #ready({ conversation, seq, state, agent, turn }) {
      const draft = this.#draft, queue = this.#queue;
      if (this.id !== conversation) {
        this.id = this.root.dataset.conversation = conversation;
        kept.set(draft, "");
        kept.set(queue, "");
        this.#keepQueue();
        this.#keepDraft();
      }
      this.#setState(state);
      this.thread.agent = agent.name;
      this.at("agent").textContent = agent.name;
      this.root.querySelectorAll("[data-demo]").forEach((node) => { node.hidden = !agent.demo; });
      this.at("keyword").hidden = !agent.keyword_search;
      if (turn && this.turn?.turn !== turn.turn) this.#follow({ turn: turn.turn, attempt: turn.attempt });
      if (!turn && this.turn && seq <= this.seq) this.#finish({ turn: this.turn.turn, outcome: "interrupted", message: null });
      for (const [id, text] of this.unsent) this.#transmit(id, text); // an id sent twice is one message
    }

    #accepted({ id, message, created_at }) {
      const text = this.unsent.get(id), article = this.#mine(id);
      this.#forget(id);
      if (article && text !== undefined) this.thread.show({ id: message, role: "user", text, created_at, client_id: id }, article);
    }

    /* Is this event new? Opens the answer's frame for a turn not seen before; a larger attempt starts the text again. */
    #follow({ turn, attempt, n }) {
      if (this.finished.has(turn)) return false;
      if (this.turn?.turn !== turn) this.#begin(turn, attempt);
      if (attempt < this.turn.attempt) return false;
      if (attempt > this.turn.attempt) this.#clear(attempt);
      if (n === undefined) return true;
      if (n <= this.turn.n) return false;
      this.turn.n = n;
      return true;
    }

    #begin(turn, attempt) {
      this.turn?.article.remove();
      const article = this.thread.part("agent");
      article.querySelector("[data-author]").textContent = this.at("agent").textContent;
      article.dataset.at = new Date().toISOString();
      article.setAttribute("aria-busy", "true");
      this.turn = { turn, article };
      this.#clear(attempt);
      this.thread.append(article);
      this.#busy(true);
      this.#say(fill(this.words.sayWriting, this.at("agent").textContent));
    }

    #clear(attempt) {
      const { article } = this.turn;
      article.querySelector("[data-body]").replaceChildren();
      this.thread.sources(article, []);
      this.thread.tool(article, "");
      Object.assign(this.turn, { attempt, n: 0, text: "", drawn: 0, writer: this.thread.writer(article, []) });
    }

    /* New text is drawn once a frame, however many deltas came. */
    #grow(text) {
      const turn = this.turn;
      turn.text += text;
      turn.frame ??= requestAnimationFrame(() => {
        turn.frame = undefined;
        if (this.turn !== turn) return;
        this.thread.keep(() => turn.writer.add(turn.text.slice(turn.drawn)), true);
        turn.drawn = turn.text.length;
      });
    }

    #cite(items) {
      const { article } = this.turn;
      this.thread.keep(() => this.thread.sources(article, items));
      article.querySelector("[data-body]").replaceChildren();
      this.turn.writer = this.thread.writer(article, items);
      this.turn.drawn = 0;
      this.#grow("");
    }

    #finish({ turn, outcome, message }) {
      if (this.finished.has(turn)) return;
      this.finished.add(turn);
      const open = this.turn?.turn === turn ? this.turn : null;
      if (open) {
        this.turn = null;
        this.#busy(false);
        this.at("status").textContent = "";
      }
      if (message) {
        const shown = this.thread.article(message.id);
        if (shown) open?.article.remove();
        this.#announce(this.thread.show(message, shown ?? open?.article), message);
      } else if (open) this.#unfinished(open, outcome);
    }

    /* Nothing was stored: what had been written stays, with a sentence on what happened. */
    #unfinished({ article, writer, text }, outcome) {
      article.removeAttribute("aria-busy");
      article.dataset.outcome = outcome;
      this.thread.keep(() => {
        writer.end(text);
        this.thread.tool(article, "");
      });
      this.#say(article.querySelector(`[data-if-outcome=${outcome}]`)?.textContent ?? "");
    }

    #message(message) {
      const old = this.thread.article(message.id) ?? (message.client_id && this.#mine(message.client_id)) ?? undefined;
      if (message.client_id) this.#forget(message.client_id);
      if (message.role === "agent" && message.turn) {
        this.#finish({ turn: message.turn, outcome: message.outcome, message });
        if (old || this.thread.article(message.id)) return;
      }
      const article = this.thread.show(message, old || undefined);
      if (!old && message.role !== "user") this.#announce(article, message);
      if (message.role === "staff") this.#showTyping({ on: false });
    }

    #setState(state, aloud) {
      this.root.dataset.state = state;
      if (aloud) this.#say(this.root.querySelector(`.status [data-if-state=${state}]`).textContent);
    }

    #showTyping({ on, author }) {
      const line = this.at("typing");
      clearTimeout(this.typingTimer);
      line.hidden = !on;
      line.textContent = on ? fill(this.words.sayWriting, author || this.at("agent").textContent) : "";
      if (on) this.typingTimer = setTimeout(() => this.#showTyping({ on: false }), TYPING_MS + 1_000);
    }

    #limited({ text, until }) {
      const time = until && new Date(until).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
      this.#notice(until ? `${text} ${fill(this.words.sayUntil, time)}` : text);
    }

    #history({ messages, more }) {
      this.thread.prepend(messages);
      const button = this.root.querySelector("[data-do=earlier]");
      button.disabled = false;
      button.hidden = !more;
    }

    #error({ id, text, retry_after: wait }) {
      if (id) this.#refuse(id);
      if (id || this.line.ready || wait) this.#notice(wait ? `${text} ${fill(this.words.saySoon, Math.ceil(wait))}` : text);
    }

    /* The server did not take this message: its text goes back to the box, or stays where it can be sent again. */
    #refuse(id) {
      const text = this.unsent.get(id), article = this.#mine(id);
      if (text === undefined) return;
      this.#forget(id);
      if (this.box.value.trim()) article.dataset.sent = "refused";
      else {
        article.remove();
        this.box.value = text;
        this.#typed();
      }
    }

    /* ---- what the end user does ---- */

    #send(text) {
      text = text.trim();
      if (!text || length(text) > LONGEST_MESSAGE || this.state === "closed") return false;
      if (this.turn) {
        this.#notice(this.words.sayRunning);
        return false;
      }
      const id = uuid();
      this.at("notice").hidden = true;
      this.#queueUp(id, text);
      if (this.line.ready) this.#transmit(id, text);
      return true;
    }

    #queueUp(id, text) {
      this.unsent.set(id, text);
      this.#keepQueue();
      this.at("suggestions")?.remove();
      this.thread.showUnsent(id, text, this.line?.ready ? "sending" : "waiting");
    }

    #transmit(id, text) {
      this.#mine(id).dataset.sent = "sending";
      this.line.send({ type: "message", id, text });
    }

    #forget(id) {
      if (this.unsent.delete(id)) this.#keepQueue();
    }

    #mine(id) { return this.thread.log.querySelector(`[data-client="${id}"]`); }
    #keepQueue() { kept.set(this.#queue, this.unsent.size ? JSON.stringify([...this.unsent]) : ""); }
    #keepDraft() { kept.set(this.#draft, this.box.value); }

    #submit() {
      if (!this.#send(this.box.value)) return;
      this.box.value = "";
      this.#typed();
      this.box.focus();
    }

    /* After each change of the box: its height, how much room is left, and the draft. */
    #typed() {
      const count = length(this.box.value), long = count > LONGEST_MESSAGE, words = long ? this.words.sayLong : this.words.sayLength;
      const format = (n) => n.toLocaleString(document.documentElement.lang);
      this.at("length").textContent = count < LENGTH_SHOWN_FROM ? "" : fill(words, format(count), format(LONGEST_MESSAGE));
      this.box.setAttribute("aria-invalid", String(long));
      this.at("send").disabled = long || !count;
      if (!CSS.supports("field-sizing", "content")) {
        this.box.rows = 1;
        this.box.rows = Math.min(6, Math.round((this.box.scrollHeight - 12) / 24));
      }
      this.#keepDraft();
    }

    #tellTyping() {
      if (!["human", "waiting"].includes(this.state) || !this.line.ready || Date.now() - (this.toldAt ?? 0) < TYPING_MS) return;
      this.toldAt = Date.now();
      this.line.send({ type: "typing", on: true });
    }

    #busy(on) {
      const stop = this.root.querySelector("[data-do=stop]"), held = [stop, this.at("send")].includes(document.activeElement);
      this.thread.log.setAttribute("aria-busy", String(on));
      this.at("send").hidden = on;
      stop.hidden = !on;
      stop.disabled = false;
      if (held) this.box.focus();
    }

    /* Sends what was asked before this answer, or said in this message, once more as a new message. */
    #again(button) {
      let article = button.closest(".msg");
      const refused = article.dataset.sent === "refused";
      while (article && !article.matches(".mine")) article = article.previousElementSibling;
      if (article && this.#send(article.querySelector("[data-text]").textContent) && refused) article.remove();
    }

    #source(button) {
      const citation = button.closest(".msg").citations?.find(({ n }) => n === Number(button.dataset.n));
      if (!citation) return;
      const dialog = this.#dialog("source"), { title, heading, page, passage, updated_at: updated } = citation;
      const where = [page && fill(this.words.sayPage, page), heading, fill(this.words.sayUpdated, Chat.fullDate(new Date(updated)))];
      dialog.querySelector("[data-title]").textContent = title;
      dialog.querySelector("[data-where]").textContent = where.filter(Boolean).join(" · ");
      dialog.querySelector("[data-passage]").textContent = passage;
      dialog.showModal();
    }

    #dialog(name) { return this.root.querySelector(`[data-dialog=${name}]`); }

    #rate(button) {
      const article = button.closest(".msg"), message = article.dataset.message;
      const value = button.getAttribute("aria-pressed") === "true" ? 0 : Number(button.dataset.value);
      this.thread.rate(article, value);
      this.line.send({ type: "feedback", message, value });
    }

    async #copy(button) {
      const article = button.closest(".msg"), text = this.thread.stored.get(article.dataset.message).text;
      await navigator.clipboard.writeText(text.replace(/ ?\[\d{1,2}(, ?\d{1,2})*\](?!\()/g, ""));
      article.querySelector("[data-thanks]").textContent = this.words.sayCopied;
      this.#say(this.words.sayCopied);
    }

    #do = {
      again: (button) => this.#again(button),
      copy: (button) => this.#copy(button),
      dismiss: () => { this.at("notice").hidden = true; },
      earlier: (button) => this.#earlier(button),
      fresh: () => { this.thread.toEnd(); this.thread.log.focus({ preventScroll: true }); },
      person: () => this.line.send({ type: "request_human" }),
      privacy: () => { this.at("menu").open = false; this.#dialog("privacy").showModal(); },
      rate: (button) => this.#rate(button),
      retry: () => (this.line.gone ? location.reload() : this.line.again()),
      source: (button) => this.#source(button),
      stop: (button) => { button.disabled = true; this.line.send({ type: "stop", turn: this.turn.turn }); },
      suggest: (button) => this.#send(button.textContent),
    };

    #earlier(button) {
      const first = [...this.thread.stored.values()].reduce((least, { seq }) => Math.min(least, seq ?? least), Infinity);
      button.disabled = true;
      this.line.send({ type: "history", before: first });
    }

    #listen() {
      this.root.addEventListener("click", (event) => {
        const button = event.target.closest("[data-do]");
        if (button) this.#do[button.dataset.do](button);
        if (!event.target.closest("[data-menu]")) this.at("menu").open = false;
        if (event.target.matches("dialog")) event.target.close(); // its backdrop
      });
      this.root.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && this.at("menu").open) {
          this.at("menu").open = false;
          this.at("menu").firstElementChild.focus();
        }
      });
      this.box.form.addEventListener("submit", (event) => { event.preventDefault(); this.#submit(); });
      this.box.addEventListener("input", () => { this.#typed(); this.#tellTyping(); });
      this.box.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
        event.preventDefault();
        this.#submit();
      });
      for (const form of this.root.querySelectorAll("form[action]")) form.addEventListener("submit", () => { kept.set(this.#draft, ""); kept.set(this.#queue, ""); });
      document.addEventListener("visibilitychange", () => this.#read());
    }

    /* ---- words to the end user ---- */

    #notice(text) {
      this.at("notice").hidden = false;
      this.at("notice-text").textContent = text;
      this.#say(text);
    }

    #say(text) { this.at("status").textContent = text; }

    /* A whole message, read out once; never its parts. */
    #announce(article, message) {
      const body = article.querySelector("[data-body], [data-text]").cloneNode(true);
      body.querySelectorAll(".cite").forEach((chip) => chip.remove());
      this.#say(`${message.author || ""} ${body.textContent}`.trim());
      this.#read();
    }

    #read() {
      if (!document.hidden && this.line.ready && this.seq > (this.readSeq ?? 0)) this.line.send({ type: "read", seq: this.readSeq = this.seq });
    }
  }

  /* iOS lays the keyboard over the page; where that happens, the page takes the height that is left. */
  function fitKeyboard() {
    const high = visualViewport.height;
    document.documentElement.style.setProperty("--visible", innerHeight - high > 80 && visualViewport.scale === 1 ? `${high}px` : "100dvh");
  }
  globalThis.visualViewport?.addEventListener("resize", fitKeyboard);
  for (const root of document.querySelectorAll("[data-chat]")) Object.assign(root, { conversation: new Conversation(root) });
})();
