/* What stands in the conversation: messages, the answer being written, and whether the reader is at the end. */
globalThis.Chat ??= {};
const NEAR_PX = 80;
const language = document.documentElement.lang;

/* `text` with its % (or %1, %2) replaced. */
Chat.fill = (text, ...values) => values.reduce((done, value, i) => done.replace(values[1] ? `%${i + 1}` : "%", value), text);
Chat.date = (date) => new Date(date).toLocaleDateString(language, { dateStyle: "long" });
const time = (date) => new Date(date).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

const put = (article, name, text) => {
  const node = article.querySelector(`[data-${name}]`);
  if (node && node.textContent !== text) node.textContent = text;
};

Chat.Thread = class {
  stored = new Map(); // message id -> message, as the server stores it
  #near = true;

  constructor(root) {
    this.root = root;
    this.log = root.querySelector("[role=log]");
    this.fresh = root.querySelector("[data-do=fresh]");
    this.words = root.querySelector("[data-part=words]").dataset;
    this.log.addEventListener("scroll", () => {
      this.#near = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight <= NEAR_PX;
      if (this.#near) this.fresh.hidden = true;
    });
    new ResizeObserver(() => this.#near && this.toEnd()).observe(this.log);
  }

  /* A copy of one of the page's patterns (chat/patterns.html). */
  part(name) {
    return this.root.querySelector(`template[data-part=${name}]`).content.firstElementChild.cloneNode(true);
  }

  /* The article with this message id, or this client id. */
  article(id) {
    return this.log.querySelector(`[data-message="${id}"], [data-client="${id}"]`);
  }

  /* The end user's message that this answer is about, or this message itself. */
  question(article) {
    const before = (mine) => mine === article || mine.compareDocumentPosition(article) & Node.DOCUMENT_POSITION_FOLLOWING;
    return [...this.log.querySelectorAll(".mine")].findLast(before);
  }

  /* Shows a message in `article`, or in a new one at the end. One that is not stored yet has no id. */
  show(message, article = this.article(message.id ?? message.client_id) ?? this.part(message.role)) {
    const { id, role, text, author, created_at: at, client_id: client, citations = [] } = message;
    article.dataset.at = at;
    if (client) article.dataset.client = client;
    if (id) {
      this.stored.set(id, message);
      article.dataset.message = id;
      if (role === "user") article.dataset.sent = "delivered";
    }
    put(article, "time", time(at));
    put(article, "text", text);
    if (author) put(article, "author", author);
    if (role === "agent") this.keep(() => this.#answer(article, message, citations), true);
    if (!article.isConnected) this.append(article, role !== "user");
    return article;
  }

  #answer(article, { id, text, outcome, feedback }, citations) {
    article.removeAttribute("aria-busy");
    article.dataset.outcome = outcome ?? "done";
    this.writer(article, citations).end(text, article.dataset.outcome === "done");
    this.tool(article, "");
    this.rate(article, feedback);
    article.querySelector("[data-tools]").hidden = !id || !text;
    article.querySelector("[data-do=copy]").hidden = !navigator.clipboard; // over http it is missing
  }

  /* A Markdown writer into an answer's body, with chips for these citations in and below it. */
  writer(article, citations) {
    const body = article.querySelector("[data-body]"), list = article.querySelector("[data-sources]");
    body.replaceChildren();
    list.replaceChildren(...citations.map(({ n, title, page }) => {
      const item = this.part("source");
      item.firstElementChild.dataset.n = n;
      put(item, "number", String(n));
      put(item, "title", page ? `${title}, ${Chat.fill(this.words.sayPage, page)}` : title);
      return item;
    }));
    list.hidden = !citations.length;
    article.citations = citations;
    return Chat.writer(body, (number) => {
      if (!citations.some(({ n }) => n === number)) return null;
      const chip = this.part("cite");
      chip.textContent = chip.dataset.n = number;
      chip.ariaLabel = Chat.fill(this.words.saySource, number);
      return chip;
    });
  }

  /* The quiet line that says what the agent is doing, or waits for; empty: nothing. */
  tool(article, label, atWork = true) {
    const line = article.querySelector("[data-working]");
    line.firstElementChild.hidden = !atWork;
    line.hidden = !label;
    line.lastElementChild.textContent = label;
  }

  rate(article, value) {
    for (const thumb of article.querySelectorAll("[data-value]")) thumb.ariaPressed = String(Number(thumb.dataset.value) === value);
    put(article, "thanks", value ? this.words.sayThanks : "");
  }

  /* The passage behind source `number` of an answer. */
  openSource(article, number) {
    const { title, page, heading, passage, updated_at: updated } = article.citations.find(({ n }) => n === number);
    const where = [page && Chat.fill(this.words.sayPage, page), heading, Chat.fill(this.words.sayUpdated, Chat.date(updated))];
    const dialog = this.root.querySelector("[data-dialog=source]");
    put(dialog, "title", title);
    put(dialog, "where", where.filter(Boolean).join(" · "));
    put(dialog, "passage", passage);
    dialog.showModal();
  }

  /* What a screen reader says of a message. */
  spoken(article) {
    const body = article.querySelector("[data-body], [data-text]").cloneNode(true);
    body.querySelectorAll(".cite").forEach((chip) => chip.remove());
    body.querySelectorAll("p, li, th, td, h2, pre, br").forEach((part) => part.after(" ")); // else words run together
    return body.textContent;
  }

  append(article, news) {
    this.keep(() => this.log.append(article), news);
    this.days();
  }

  /* Older messages, before all others; what the reader looks at stays where it is. */
  prepend(messages) {
    const below = this.log.scrollHeight - this.log.scrollTop, first = this.log.querySelector("[data-at]");
    for (const message of messages.filter(({ id }) => !this.article(id))) {
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
    let last;
    for (const article of this.log.querySelectorAll("[data-at]")) {
      const date = Chat.date(article.dataset.at);
      if (date !== last) article.before(Object.assign(this.part("day"), { textContent: date === Chat.date(Date.now()) ? this.words.sayToday : date }));
      last = date;
    }
  }

  /* Changes the thread. A reader at the end stays there, others are told of `news`. */
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
};
