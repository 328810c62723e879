/* The chat: what the wire's events do to the page, and what the end user does to the wire (agents/wire.py). */
const LOST_SHOWN_AFTER_MS = 2_000, TYPING_MS = 5_000;
const UNSENT = "unsent"; // of this tab: a conversation has no name before its first message
const { fill, kept } = Chat;

class Conversation {
  unsent = new Map(); // client id -> text, until the server has it
  open = new Map(); // turn -> the answer being written: {turn, attempt, n, place, article, writer, text, drawn, frame}
  finished = new Set(); // turns whose answer is shown for good
  seen = 0; // the last seq the server was told of
  thumbs = new Map(); // message id -> what its thumbs said before the last press

  constructor(root) {
    const { socket, stream, ticket, ticketUrl, conversation, seq } = root.dataset;
    Object.assign(this, { root, id: conversation, seq: Number(seq), thread: new Chat.Thread(root) });
    this.agent = this.at("agent").textContent;
    this.words = this.thread.words;
    this.composer = new Chat.Composer(root, this.words, (text) => this.#send(text), () => this.#tellTyping());
    this.#restore(JSON.parse(document.getElementById("chat-messages").textContent));
    this.#listen();
    const calls = { hello: () => this.#hello(), received: (event, isOld) => this.#receive(event, isOld), changed: () => this.#connection() };
    this.line = stream ? new Chat.Stream({ root, ...calls }) : new Chat.Line({
      address: new URL(socket, location.href.replace(/^http/, "ws")), ticket, newTicket: () => this.#newTicket(ticketUrl), ...calls,
    });
    this.#connection();
  }

  at(name) { return this.root.querySelector(`[data-${name}]`); }
  doers(name) { return this.root.querySelectorAll(`[data-do=${name}]`); }
  get state() { return this.root.dataset.state; }

  /* From the page as it was served, and from before a reload. */
  #restore(messages) {
    for (const message of messages) {
      this.thread.show(message);
      if (message.role === "agent") this.finished.add(message.turn);
    }
    this.thread.days();
    for (const [id, text] of JSON.parse(kept.get(UNSENT) || "[]")) if (!this.thread.article(id)) this.#queueUp(id, text);
    this.#keepQueue(); // without what the server has
    this.#setState(this.state);
    this.thread.toEnd();
  }

  async #newTicket(address) {
    const csrf = this.root.querySelector("[name=csrfmiddlewaretoken]").value;
    const answer = await fetch(address, { method: "POST", headers: { "X-CSRFToken": csrf } });
    if (answer.ok) return (await answer.json()).ticket;
    throw Object.assign(Error("no ticket"), { gone: answer.status < 500 && answer.status !== 429 });
  }

  #hello() {
    const [{ turn, attempt, n } = {}] = this.open.values();
    this.followed = turn; // of this one the server will say how it ended
    for (const open of this.open.values()) open.place = open.turn === turn ? open.text.length : 0;
    return { conversation: this.id || null, seq: this.seq, turn: turn ? { turn, attempt, n } : null };
  }

  #connection() {
    const { ready, gone } = this.line ?? {};
    if (ready) {
      clearTimeout(this.losing);
      this.losing = undefined;
      this.at("lost").hidden = true;
    } else if (gone) {
      this.doers("retry")[0].textContent = this.words.sayReload;
      this.#tell("lost", this.words.sayGone);
    } else this.losing ??= setTimeout(() => this.#tell("lost", this.words.sayLost), LOST_SHOWN_AFTER_MS);
    for (const id of this.unsent.keys()) this.thread.article(id).dataset.sent = ready ? "sending" : "waiting";
  }

  /* ---- events of the server ---- */

  #receive(event, isOld) {
    const before = this.seq;
    if (event.seq && event.type !== "ready") this.seq = Math.max(before, event.seq); // ready only announces what will come
    this.#events[event.type]?.(event, before, isOld);
  }

  #events = {
    ready: (event) => this.#ready(event),
    accepted: ({ id, message, created_at }) => {
      const text = this.unsent.get(id);
      this.#forget(id);
      if (this.moving) this.at("notice").hidden = true; // what it said would happen, has
      this.moving = false;
      if (text) this.thread.show({ id: message, client_id: id, role: "user", text, created_at }, this.thread.article(id));
    },
    "turn.started": (event) => this.#follow(event),
    waiting: (event) => {
      const { sayPlace, sayBehind } = this.words;
      this.#tool(this.#follow(event), event.place === null ? sayBehind : event.place && fill(sayPlace, event.place), false);
    },
    delta: (event, before, isOld) => this.#grow(this.#unseen(event, isOld), this.#follow(event)), // in this order: #follow counts on
    "tool.started": (event) => this.#tool(this.#follow(event), event.label),
    "tool.finished": (event) => this.#tool(this.#follow(event), ""),
    citations: (event) => this.#cite(this.#follow(event), event.items),
    "turn.finished": (event) => this.#finish(event),
    message: ({ message }) => this.#message(message),
    state: ({ seq, state }, before) => {
      if (seq <= before) return;
      this.#setState(state);
      this.#say(this.root.querySelector(`.status [data-if-state=${state}]`)?.textContent ?? "");
    },
    typing: (event) => this.#showTyping(event),
    limited: ({ text, until }) => this.#tell("notice", until ? `${text} ${fill(this.words.sayUntil, new Date(until).toLocaleString())}` : text),
    history: ({ messages, more }) => {
      this.thread.prepend(messages);
      Object.assign(this.doers("earlier")[0], { disabled: false, hidden: !more });
    },
    error: ({ code, id, text, retry_after: wait }) => {
      this.moving = code === "moving";
      this.#refuse(id);
      this.#unrate(id);
      this.#setState(this.state);
      const words = wait ? `${text} ${fill(this.words.saySoon, Math.ceil(wait))}` : text;
      if (wait && !this.line.ready) { // why there is no connection
        clearTimeout(this.losing);
        this.losing = true;
        this.#tell("lost", words);
      } else if (id || wait || this.line.ready) this.#tell("notice", words, wait);
    },
  };

  #ready({ conversation, state, agent, turn }) {
    this.id = conversation;
    this.agent = agent.name;
    this.#setState(state);
    for (const node of this.root.querySelectorAll("[data-demo]")) node.hidden = !agent.demo;
    this.at("keyword").hidden = !agent.keyword_search;
    for (const [id, { article }] of this.open) {
      if (id === this.followed || id === turn?.turn) continue;
      article.remove(); // it comes again if it still runs, or has become a message
      this.open.delete(id);
    }
    if (turn) this.#follow({ turn: turn.turn, attempt: turn.attempt });
    this.#busy();
    for (const [id, text] of this.unsent) this.#transmit(id, text); // an id sent twice is one message
  }

  /* The open answer an event belongs to; nothing if the event is old. A larger attempt starts the text again. */
  #follow({ turn, attempt, n }) {
    if (this.finished.has(turn)) return null;
    const open = this.open.get(turn) ?? this.#begin(turn);
    if (attempt > open.attempt) {
      Object.assign(open, { attempt, n: 0, place: 0, text: "", drawn: 0, writer: this.thread.writer(open.article, []) });
      this.thread.tool(open.article, "");
    }
    if (attempt < open.attempt || n <= open.n) return null;
    open.n = n ?? open.n;
    return open;
  }

  /* What is new of a delta. A new socket begins at `place`, where the text stood at its hello; the old one went on. */
  #unseen({ turn, attempt, n, text }, isOld) {
    const open = this.#follow({ turn, attempt });
    if (isOld || !open || open.place === null) return text;
    const known = open.text.length - open.place;
    open.place += text.length;
    if (n <= open.n) return "";
    open.place = null;
    this.line.arrived();
    return text.slice(known);
  }

  #begin(turn) {
    const article = this.thread.part("agent"), open = { turn, article, attempt: 0 };
    article.querySelector("[data-author]").textContent = this.agent;
    article.dataset.at = new Date().toISOString();
    article.ariaBusy = "true";
    this.thread.append(article, true);
    this.open.set(turn, open);
    this.#busy();
    this.#say(fill(this.words.sayWriting, this.agent));
    return open;
  }

  /* New text is drawn once a frame, however many deltas came. */
  #grow(text, open) {
    if (!open) return;
    open.text += text;
    open.frame ??= requestAnimationFrame(() => {
      open.frame = undefined;
      if (this.open.get(open.turn) === open) this.thread.keep(() => open.writer.add(open.text.slice(open.drawn)), true);
      open.drawn = open.text.length;
    });
  }

  #tool(open, label, atWork) { if (open) this.thread.keep(() => this.thread.tool(open.article, label, atWork)); }

  #cite(open, items) {
    if (!open) return;
    this.thread.keep(() => { open.writer = this.thread.writer(open.article, items); });
    open.drawn = 0; // what was drawn before may name these sources
    this.#grow("", open);
  }

  /* The stored message replaces what was streamed. Without one, that stays, with a word on what happened. */
  #finish({ turn, outcome, message }) {
    const { article, text } = this.open.get(turn) ?? {};
    if (this.finished.has(turn)) return;
    this.finished.add(turn);
    this.open.delete(turn);
    this.#busy();
    if (message) this.#announce(this.thread.show(message, article), message);
    else if (article) {
      this.thread.show({ role: "agent", text, outcome, created_at: article.dataset.at }, article);
      this.#say(article.querySelector(`[data-if-outcome=${outcome}]`)?.textContent ?? "");
    }
  }

  #message(message) {
    const { role, turn, outcome, id, client_id: client } = message, old = this.thread.article(id) ?? this.thread.article(client);
    this.#forget(client);
    if (role === "agent" && turn && !old) return this.#finish({ turn, outcome, message });
    const article = this.thread.show(message, old ?? undefined);
    if (!old && role !== "user") this.#announce(article, message);
    if (role === "user") return;
    this.#setState(this.state);
    this.#showTyping({ on: false });
  }

  /* Who answers now stands at the top: the agent, or the person who wrote last. */
  #setState(state) {
    const staff = [...this.thread.stored.values()].findLast(({ role }) => role === "staff");
    this.root.dataset.state = state;
    this.at("agent").textContent = (state === "human" && staff?.author) || this.agent;
    for (const button of this.doers("person")) button.disabled = false;
  }

  #showTyping({ on, author }) {
    const line = this.at("typing");
    clearTimeout(this.typing);
    line.hidden = !on;
    line.textContent = on ? fill(this.words.sayWriting, author || this.agent) : "";
    if (on) this.typing = setTimeout(() => this.#showTyping({ on: false }), 2 * TYPING_MS);
  }

  /* Takes the text if it can be sent, now or when the line is back. */
  #send(text) {
    if (this.state === "closed") return false;
    const id = Chat.uuid();
    this.at("notice").hidden = true;
    this.#queueUp(id, text);
    if (this.line.ready) this.#transmit(id, text);
    return true;
  }

  #queueUp(id, text) {
    this.unsent.set(id, text);
    this.#keepQueue();
    this.at("suggestions")?.remove();
    this.thread.show({ client_id: id, role: "user", text, created_at: new Date().toISOString() }).dataset.sent = "waiting";
    this.thread.toEnd();
  }

  #transmit(id, text) {
    this.thread.article(id).dataset.sent = "sending";
    this.line.send({ type: "message", id, text });
  }

  /* The server did not take this message: its text goes back to the box, or stays where it can be sent again. */
  #refuse(id) {
    const text = this.unsent.get(id), article = this.thread.article(id);
    if (!text) return;
    this.#forget(id);
    article.dataset.sent = "refused";
    if (!this.composer.empty) return;
    this.composer.put(text);
    article.remove();
  }

  /* The server did not take this thumb. */
  #unrate(id) {
    if (!this.thumbs.has(id)) return;
    this.thread.rate(this.thread.article(id), this.thumbs.get(id));
    this.thumbs.delete(id);
  }

  #forget(id) { if (this.unsent.delete(id)) this.#keepQueue(); }
  #keepQueue() { kept.set(UNSENT, JSON.stringify([...this.unsent])); }

  #tellTyping() {
    if (!["human", "waiting"].includes(this.state) || !this.line.ready || Date.now() - this.told < TYPING_MS) return;
    this.told = Date.now();
    this.line.send({ type: "typing", on: true });
  }

  #busy() {
    this.thread.log.ariaBusy = String(this.open.size > 0);
    this.composer.busy(this.open.size > 0);
    if (!this.open.size) this.line.arrived();
  }

  /* ---- what the end user presses ---- */

  #do = {
    again: (button, article) => {
      const question = this.thread.question(article);
      if (question && this.#send(question.querySelector("[data-text]").textContent) && question === article) article.remove();
    },
    copy: async (button, article) => {
      const { text } = this.thread.stored.get(article.dataset.message);
      await navigator.clipboard.writeText(text.replace(/ ?\[\d{1,2}(, ?\d{1,2})*\](?!\()/g, ""));
      article.querySelector("[data-thanks]").textContent = this.words.sayCopied;
      this.#say(this.words.sayCopied);
    },
    dismiss: () => { this.at("notice").hidden = true; },
    earlier: (button) => {
      button.disabled = true;
      this.line.send({ type: "history", before: Math.min(...[...this.thread.stored.values()].map(({ seq }) => seq ?? Infinity)) });
    },
    fresh: () => {
      this.thread.toEnd();
      this.thread.log.focus({ preventScroll: true });
    },
    person: () => {
      for (const button of this.doers("person")) button.disabled = true; // until it is answered
      this.line.send({ type: "request_human" });
    },
    privacy: () => this.root.querySelector("[data-dialog=privacy]").showModal(),
    rate: (button, article) => {
      const value = button.ariaPressed === "true" ? 0 : Number(button.dataset.value);
      this.thumbs.set(article.dataset.message, Number(article.querySelector("[data-value][aria-pressed=true]")?.dataset.value ?? 0));
      this.thread.rate(article, value);
      this.line.send({ type: "feedback", message: article.dataset.message, value });
    },
    retry: () => (this.line.gone ? location.reload() : this.line.again()),
    source: (button, article) => this.thread.openSource(article, Number(button.dataset.n)),
    stop: (button) => {
      button.disabled = true;
      this.line.send({ type: "stop", turn: this.open.keys().next().value });
    },
    suggest: (button) => this.#send(button.textContent),
  };

  #listen() {
    const menu = this.at("menu"); // the test chat has none
    this.root.addEventListener("click", ({ target }) => {
      const button = target.closest("[data-do]");
      if (button) this.#do[button.dataset.do](button, button.closest(".msg"));
      if (menu && (button || !menu.contains(target))) menu.open = false;
      if (target.matches("dialog")) target.close(); // its backdrop
    });
    menu?.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape") return;
      menu.open = false;
      menu.firstElementChild.focus();
    });
    this.root.addEventListener("submit", ({ target }) => { // a new conversation: it takes over what is in the box
      if (!target.matches("[action]")) return;
      kept.set(UNSENT, "");
    });
    document.addEventListener("visibilitychange", () => this.#read());
  }

  /* seconds: for how long it is true */
  #tell(name, text, seconds) {
    const said = this.at(`${name}-text`);
    this.at(name).hidden = false;
    said.textContent = text;
    if (seconds) setTimeout(() => { if (said.textContent === text) this.at(name).hidden = true; }, seconds * 1000);
    this.#say(text);
  }

  #say(text) { this.at("status").textContent = text; }

  /* A whole message, read out once; never its parts. */
  #announce(article, { author }) {
    this.#say(`${author || ""} ${this.thread.spoken(article)}`.trim());
    this.#read();
  }

  #read() {
    if (document.hidden || !this.line.ready || this.seq <= this.seen) return;
    this.seen = this.seq;
    this.line.send({ type: "read", seq: this.seq });
  }
}

Chat.begin = (root) => Object.assign(root, { conversation: new Conversation(root) });
for (const root of document.querySelectorAll("[data-chat]")) Chat.begin(root);
