/* The socket of one conversation: opens, says hello, comes back by itself. Frames given while it is away wait. */
"use strict";
globalThis.Chat ??= {};
(() => {
  const QUICK_MS = 50, LONGEST_MS = 30_000, READY_MS = 10_000, STEADY_MS = 5_000, ASLEEP_MS = 60_000;
  const BROKEN = [1006, 1012]; // the connection broke, or its process is being replaced: another takes over at once

  Chat.Line = class {
    ready = false;
    gone = false; // the server knows this page no more: only loading it again helps
    #attempt = 0; // whatever belongs to an earlier attempt is ignored
    #drops = 0;
    #later = [];
    #timer = 0;
    #readyAt = 0;
    #hiddenAt = 0;
    #notBefore = 0;

    /* address of the socket; ticket for the first hello; newTicket() fetches another; hello() gives the frame's rest;
       received(event) for each event; changed() whenever `ready` or `gone` did. */
    constructor({ address, ticket, newTicket, hello, received, changed }) {
      Object.assign(this, { address, ticket, newTicket, hello, received, changed });
      addEventListener("online", () => this.again());
      addEventListener("offline", () => this.#lost(0));
      addEventListener("pagehide", () => this.#leave());
      addEventListener("pageshow", (event) => event.persisted && this.again());
      document.addEventListener("visibilitychange", () => this.#seen());
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
        if (attempt !== this.#attempt) return;
        this.gone = error.gone === true;
        this.#lost(0);
        return;
      }
      if (attempt !== this.#attempt) return;
      const socket = this.socket = new WebSocket(this.address);
      this.#timer = setTimeout(() => this.#lost(0), READY_MS);
      socket.onopen = () => socket.send(JSON.stringify({ type: "hello", ticket, ...this.hello() }));
      socket.onclose = ({ code }) => attempt === this.#attempt && this.#lost(code);
      socket.onmessage = ({ data }) => {
        for (const event of JSON.parse(data).events) if (attempt === this.#attempt) this.#take(event);
      };
    }

    #take(event) {
      if (event.type === "ready") {
        clearTimeout(this.#timer);
        this.ready = true;
        this.#readyAt = Date.now();
      }
      if (event.type === "error" && !this.ready && event.retry_after) this.#notBefore = event.retry_after * 1000;
      this.received(event);
      if (event.type !== "ready") return;
      this.changed();
      for (const frame of this.#later.splice(0)) this.send(frame);
    }

    #lost(code) {
      if (this.ready && Date.now() - this.#readyAt > STEADY_MS) this.#drops = 0;
      const first = this.#drops++ === 0 && BROKEN.includes(code);
      const wait = first ? QUICK_MS : Math.min(LONGEST_MS, 500 * 2 ** this.#drops);
      this.#leave();
      if (!this.gone) this.#timer = setTimeout(() => this.#open(), Math.max(wait * (.75 + Math.random() / 2), this.#notBefore));
      this.#notBefore = 0;
      this.changed();
    }

    #leave() {
      clearTimeout(this.#timer);
      this.#attempt++;
      this.ready = false;
      this.socket?.close();
      this.socket = null;
    }

    #seen() {
      if (document.hidden) {
        this.#hiddenAt = Date.now();
        return;
      }
      const slept = this.#hiddenAt && Date.now() - this.#hiddenAt > ASLEEP_MS; // a sleeping device keeps dead sockets
      if (slept || (!this.ready && !this.socket)) this.again();
    }
  };
})();
