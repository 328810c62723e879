/* The socket of one conversation: opens, says hello, comes back by itself. Frames given while it is away wait. */
globalThis.Chat ??= {};
const QUICK_MS = 50, LONGEST_MS = 30_000, READY_MS = 10_000, STEADY_MS = 5_000, ASLEEP_MS = 60_000;
const REFUSALS = ["bad_ticket", "no_conversation", "not_found", "refused"];
const BROKEN = [1006, 1012]; // cut off, or the process is being replaced: another one takes over at once

Chat.Line = class {
  ready = false;
  gone = false; // the server knows this page no more: only loading it again helps
  #attempt = 0; // what belongs to an earlier attempt is ignored
  #drops = 0;
  #refusals = 0;
  #later = [];
  #wait = 0; // asked for by the server
  #timer;
  #readyAt;
  #hiddenAt;
  #old; // the socket of a process that is ending, until another has told more

  /* ticket: for the first hello, newTicket() fetches the next; hello(): the frame's rest; received(event, isOld): each
     event; changed(): `ready` or `gone` did. */
  constructor(facts) {
    Object.assign(this, facts);
    addEventListener("online", () => this.again());
    addEventListener("offline", () => this.#lost());
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", (event) => event.persisted && this.again());
    document.addEventListener("visibilitychange", () => {
      const asleep = Date.now() - this.#hiddenAt > ASLEEP_MS; // a device that slept keeps dead sockets
      if (document.hidden) this.#hiddenAt = Date.now();
      else if (asleep || !this.socket) this.again();
    });
    this.#open();
  }

  /* Sends now, or as soon as the line is ready. */
  send(frame) {
    if (this.ready) this.socket.send(JSON.stringify(frame));
    else this.#later.push(frame);
  }

  /* A new connection, now. */
  again() {
    this.#leave();
    this.#open();
    this.changed();
  }

  async #open() {
    const attempt = ++this.#attempt;
    let ticket = this.ticket;
    this.ticket = ""; // good for one hello
    try {
      ticket ||= await this.newTicket();
    } catch (error) {
      if (attempt === this.#attempt) this.#lost(0, error.gone);
      return;
    }
    if (attempt === this.#attempt) this.#connect(ticket);
  }

  #connect(ticket) {
    const attempt = this.#attempt, socket = this.socket = new WebSocket(this.address);
    this.#timer = setTimeout(() => this.#lost(), READY_MS);
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", ticket, ...this.hello() }));
    socket.onclose = ({ code }) => {
      if (attempt === this.#attempt) this.#lost(code);
      else if (socket === this.#old) this.arrived();
    };
    socket.onmessage = ({ data }) => {
      for (const event of JSON.parse(data).events) {
        if (attempt === this.#attempt) this.#take(event);
        else if (socket === this.#old) this.received(event, true);
      }
    };
  }

  /* The process at the other end is ending: its socket goes on while another is opened. */
  #move(ticket) {
    if (this.#old) this.socket.close(); // it has told less
    else this.#old = this.socket;
    this.#attempt++;
    this.#drops = 0;
    this.ready = false;
    this.#connect(ticket);
  }

  /* The old socket has nothing more to tell. */
  arrived() {
    this.#old?.close();
    this.#old = null;
    this.changed();
  }

  #take(event) {
    if (event.type === "leaving") return this.#move(event.ticket);
    if (event.type !== "ready") {
      this.received(event);
      if (event.type === "error" && !this.ready) this.#refused(event);
      return;
    }
    clearTimeout(this.#timer);
    this.ready = true;
    this.#readyAt = Date.now();
    this.#refusals = 0;
    this.received(event);
    this.changed();
    for (const frame of this.#later.splice(0)) this.send(frame);
  }

  /* The page's own ticket may be too old. If a new one does not help either, nothing does but loading the page again. */
  #refused({ code, retry_after: wait }) {
    this.#wait = (wait ?? 0) * 1000;
    if (REFUSALS.includes(code)) this.#refusals++;
    this.#lost(this.#refusals === 1 ? BROKEN[0] : 0, this.#refusals > 1);
  }

  #lost(code, gone = false) {
    if (this.ready && Date.now() - this.#readyAt > STEADY_MS) this.#drops = 0;
    const quick = !this.#drops++ && BROKEN.includes(code);
    const wait = quick ? QUICK_MS : Math.min(LONGEST_MS, 500 * 2 ** this.#drops) * (.75 + Math.random() / 2);
    this.#leave();
    this.gone = gone;
    if (!gone) this.#timer = setTimeout(() => this.#open(), Math.max(wait, this.#wait));
    this.#wait = 0;
    this.changed();
  }

  #leave() {
    clearTimeout(this.#timer);
    this.#attempt++;
    this.ready = false;
    this.socket?.close();
    this.socket = null;
  }
};
