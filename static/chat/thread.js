/* What stands in the conversation: messages, the answer that is being written, and where the reader is. */
"use strict";
globalThis.Chat ??= {};
(() => {
  const NEAR_PX = 80;
  const time = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const fullDate = (date) => date.toLocaleDateString(document.documentElement.lang, { dateStyle: "long" });
  Chat.fullDate = fullDate;

  Chat.Thread = class {
    stored = new Map(); // message id -> message, as the server stores it
    #near = true; // the reader follows the end

    constructor(root) {
      this.root = root;
      this.log = root.querySelector("[role=log]");
      this.fresh = root.querySelector("[data-do=fresh]");
      this.words = root.querySelector("[data-part=words]").dataset;
      this.log.addEventListener("scroll", () => this.#look());
      new ResizeObserver(() => this.#near && this.toEnd()).observe(this.log);
    }

    /* A copy of one of the page's patterns. */
    part(name) {
      return this.root.querySelector(`template[data-part=${name}]`).content.firstElementChild.cloneNode(true);
    }

    article(id) {
      return this.log.querySelector(`[data-message="${id}"]`);
    }

    /* The article of a stored message, new or filled again. Appended unless it stands in the thread already. */
    show(message, article = this.article(message.id) ?? this.part(message.role)) {
      this.stored.set(message.id, message);
      article.dataset.message = message.id;
      article.dataset.at = message.created_at;
      if (message.role === "user") this.#delivered(article, message);
      if (message.role === "agent") this.#answer(article, message);
      if (message.author && message.role !== "user") this.#set(article, "author", message.author);
      if (message.role !== "agent") this.#set(article, "text", message.text);
      this.#set(article, "time", time(new Date(message.created_at)));
      if (!article.isConnected) this.append(article, message.role !== "user");
      return article;
    }

    /* The end user's message before the server has it: `sent` is sending, waiting or refused. */
    showUnsent(id, text, sent) {
      const article = this.part("user");
      article.dataset.client = id;
      article.dataset.at = new Date().toISOString();
      article.dataset.sent = sent;
      this.#set(article, "text", text);
      this.append(article, false);
      this.toEnd();
      return article;
    }

    append(article, news = true) {
      this.keep(() => this.log.append(article), news);
      this.days();
    }

    /* Older messages, before all others; what the reader looks at stays where it is. */
    prepend(messages) {
      const below = this.log.scrollHeight - this.log.scrollTop, first = this.log.querySelector("[data-at]");
      for (const message of messages) {
        if (this.article(message.id)) continue;
        const article = this.part(message.role);
        this.log.insertBefore(article, first);
        this.show(message, article);
      }
      this.days();
      this.log.scrollTop = this.log.scrollHeight - below;
    }

    /* A line with the date before the first message of each day. */
    days() {
      this.log.querySelectorAll(".day").forEach((day) => day.remove());
      let last = "";
      for (const article of this.log.querySelectorAll("[data-at]")) {
        const date = new Date(article.dataset.at), name = fullDate(date);
        if (name !== last) article.before(Object.assign(this.part("day"), { textContent: name === fullDate(new Date()) ? this.words.sayToday : name }));
        last = name;
      }
    }

    /* Changes the thread; the end stays in view for a reader who was there, others are told of `news`. */
    keep(change, news) {
      change();
      if (this.#near) this.toEnd();
      else if (news) this.fresh.hidden = false;
    }

    toEnd() {
      this.log.scrollTop = this.log.scrollHeight;
      this.#near = true;
      this.fresh.hidden = true;
    }

    #look() {
      this.#near = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight <= NEAR_PX;
      if (this.#near) this.fresh.hidden = true;
    }

    #set(article, name, text) {
      const node = article.querySelector(`[data-${name}]`);
      if (node && node.textContent !== text) node.textContent = text;
    }

    #delivered(article, message) {
      article.dataset.sent = "delivered";
      if (message.client_id) article.dataset.client = message.client_id;
    }

    #answer(article, message) {
      article.removeAttribute("aria-busy");
      article.dataset.outcome = message.outcome ?? "done";
      this.keep(() => {
        this.writer(article, message.citations).end(message.text);
        this.sources(article, message.citations);
        this.tool(article, "");
        article.querySelector("[data-tools]").hidden = !message.text;
        this.rate(article, message.feedback);
      }, true);
    }

    /* A Markdown writer into an answer's body, with chips for these citations. */
    writer(article, citations) {
      return Chat.writer(article.querySelector("[data-body]"), (n) => {
        if (!citations.some((citation) => citation.n === n)) return null;
        const chip = this.part("cite");
        chip.textContent = chip.dataset.n = n;
        chip.setAttribute("aria-label", this.words.saySource.replace("%", n));
        return chip;
      });
    }

    sources(article, citations) {
      const list = article.querySelector("[data-sources]");
      list.replaceChildren(...citations.map((citation) => {
        const item = this.part("source"), title = citation.page ? `${citation.title}, ${this.words.sayPage.replace("%", citation.page)}` : citation.title;
        item.firstElementChild.dataset.n = citation.n;
        this.#set(item, "number", String(citation.n));
        this.#set(item, "title", title);
        return item;
      }));
      list.hidden = !citations.length;
      article.citations = citations;
    }

    /* The quiet line that says what the agent is doing; empty: nothing. */
    tool(article, label) {
      const line = article.querySelector("[data-working]");
      line.hidden = !label;
      line.lastElementChild.textContent = label;
    }

    rate(article, value) {
      for (const thumb of article.querySelectorAll("[data-value]")) thumb.setAttribute("aria-pressed", String(Number(thumb.dataset.value) === value));
      this.#set(article, "thanks", value ? this.words.sayThanks : "");
    }
  };
})();
