/* Markdown of an answer as DOM nodes, while it streams. No string of HTML is ever made: what looks like HTML stays
   text, an image becomes a link, a link shows its host and loads nothing until it is used. */
globalThis.Chat ??= {};
const FENCE = /^\s*(`{3,}|~{3,})/, HEAD = /^ {0,3}#{1,6}\s+(.*?)[\s#]*$/, RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/, ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(?=\S)/, BAR = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const MARK = /^\s*([-*+]|\d{1,9}[.)]?)\s*$/; // perhaps the beginning of an item
const DEEPEST = 6;
const INLINE = new RegExp([
  /\\([!-/:-@[-`{-~])/, // escaped sign
  /`([^`\n]+)`/, // code
  /!?\[([^[\]\n]*)\]\(\s*<?([^\s<>()]+(?:\([^\s<>()]*\)[^\s<>()]*)?)>?(?:\s+["'][^"'\n]*["'])?\s*\)/, // label, address
  /\[(\d{1,2}(?:, ?\d{1,2})*)\]/, // numbers of sources
  /(\*\*|(?<!\w)__)(?=\S)(.{1,999}?)(?<=\S)\6/, // mark, bold
  /\*(?=[^\s*])(.+?)(?<=[^\s*])\*|(?<!\w)_(?=\S)(.+?)(?<=\S)_(?!\w)/, // two kinds of italics
  /\b(https?:\/\/[^\s<>"]*[^\s<>"'.,;:!?()[\]*_])/, // bare address
  /\n/,
].map((part) => part.source).join("|"), "gs");

const make = (tag, ...kids) => {
  const node = document.createElement(tag);
  node.append(...kids);
  return node;
};

function link(address, label) {
  const url = URL.canParse(address) && new URL(address);
  if (!url || !/^(https?|mailto|tel):$/.test(url.protocol)) return label;
  const node = make("a", label || url.href);
  Object.assign(node, { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", title: url.href });
  if (url.host && (label !== address || url.username)) node.append(Object.assign(make("span", ` ${url.host}`), { className: "host" }));
  return node;
}

function inline(text, node, cite) {
  let end = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, escaped, code, label, address, numbers, , bold, star, low, bare] = found;
    node.append(text.slice(end, found.index));
    end = found.index + whole.length;
    if (escaped) node.append(escaped);
    else if (code) node.append(make("code", code));
    else if (address) node.append(link(address, label));
    else if (numbers) {
      const chips = numbers.split(",").map((n) => cite(Number(n))).filter(Boolean);
      node.append(...(chips.length ? chips : [whole])); // no source, no chip
    }
    else if (bold) node.append(inline(bold, make("strong"), cite));
    else if (star || low) node.append(inline(star || low, make("em"), cite));
    else node.append(bare ? link(bare, bare) : make("br"));
  }
  node.append(text.slice(end));
  return node;
}

function kind(lines, i) {
  const line = lines[i], next = lines[i + 1] ?? "";
  if (!line.trim()) return "blank";
  if (FENCE.test(line)) return "code";
  if (HEAD.test(line)) return "head";
  if (RULE.test(line)) return "rule";
  if (QUOTE.test(line)) return "quote";
  if (ITEM.test(line)) return "list";
  return line.includes("|") && next.includes("|") && BAR.test(next) ? "table" : "text";
}

/* The blocks of `lines`: [kind, its lines, index of its first line]. All but the last are finished. */
function blocks(lines) {
  const found = [];
  for (let i = 0; i < lines.length;) {
    const from = i, what = kind(lines, i++), more = (test) => { while (i < lines.length && test(lines[i])) i++; };
    if (what === "blank") continue;
    if (what === "code") {
      const fence = lines[from].match(FENCE)[1];
      more((line) => !line.trim().startsWith(fence));
      i++;
    } else if (what === "quote") more((line) => QUOTE.test(line));
    else if (what === "table") more((line) => line.includes("|"));
    else if (what === "text") more(() => kind(lines, i) === "text");
    else if (what === "list") {
      const [, indent, mark] = lines[from].match(ITEM), inside = new RegExp(`^\\s{${indent.length + 2},}\\S`);
      const same = (line) => line.match(ITEM)?.[2].length > 1 === mark.length > 1 && ITEM.test(line);
      more((line) => same(line) || inside.test(line) || (lines[i - 1].trim() ? kind(lines, i) === "text" : false)
        || (!line.trim() && i + 1 < lines.length && (same(lines[i + 1]) || inside.test(lines[i + 1]))));
    }
    found.push([what, lines.slice(from, i), from]);
  }
  return found;
}

function list(lines, cite, depth) {
  const [lead, indent, mark] = lines[0].match(ITEM), node = make(mark.length > 1 ? "ol" : "ul"), items = [];
  if (mark.length > 1 && parseInt(mark, 10) !== 1) node.start = parseInt(mark, 10);
  for (const line of lines) {
    const item = line.match(ITEM);
    if (item && item[1].length < indent.length + 2) items.push([line.slice(item[0].length)]);
    else items.at(-1).push(line.replace(new RegExp(`^\\s{0,${lead.length}}`), ""));
  }
  for (const item of items) {
    const entry = draw(item, make("li"), cite, depth + 1), first = entry.firstElementChild;
    if (first?.tagName === "P") first.replaceWith(...first.childNodes);
    node.append(entry);
  }
  return node;
}

function table([head, bar, ...rows], cite) {
  const cells = (line) => line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());
  const ends = cells(bar).map((cell) => /[^:]:$/.test(cell));
  const row = (line, tag) => make("tr", ...cells(line).slice(0, ends.length).map((text, i) => {
    const node = inline(text, make(tag), cite);
    if (tag === "th") node.scope = "col";
    if (ends[i]) node.className = "n";
    return node;
  }));
  const whole = make("table", make("thead", row(head, "th")), make("tbody", ...rows.map((line) => row(line, "td"))));
  return Object.assign(make("div", whole), { className: "wide-part", tabIndex: 0 });
}

function block(what, lines, cite, depth) {
  const text = lines.join("\n");
  if (what === "code") {
    const shut = lines.length > 1 && FENCE.test(lines.at(-1)) ? -1 : undefined;
    return Object.assign(make("pre", make("code", lines.slice(1, shut).join("\n"))), { tabIndex: 0 });
  }
  if (what === "rule") return make("hr");
  if (what === "head") return inline(text.match(HEAD)[1], make("h2"), cite);
  if (what === "table") return table(lines, cite);
  if (what === "list" && depth < DEEPEST) return list(lines, cite, depth);
  if (what === "quote" && depth < DEEPEST)
    return draw(lines.map((line) => line.replace(QUOTE, "")), make("blockquote"), cite, depth + 1);
  return inline(text.trim(), make("p"), cite);
}

function draw(lines, node, cite, depth) {
  node.append(...blocks(lines).map(([what, part]) => block(what, part, cite, depth)));
  return node;
}

/* The end of a text that still grows: a mark that is not whole yet is left out, an open one counts as closed. */
function settled(text) {
  const whole = text.replace(/(\*{1,2}|_{1,2}|`|!?\[[^\]\n]{0,80}|!?\[[^\]\n]*\]\([^)\n]*)$/, "");
  if (whole.split("`").length % 2 === 0) return whole + "`";
  return whole.split("**").length % 2 === 0 ? whole.trimEnd() + "**" : whole;
}

/* A writer into `node`; cite(n) gives the chip of source n, or nothing. add(text) draws what is new, end(text, whole)
   the text for good, `whole` or broken off. Blocks that are finished are never parsed again. */
Chat.writer = (node, cite) => {
  let rest = "", open = [];
  return {
    add(text) {
      rest += text;
      for (const old of open) old.remove();
      const all = rest.split("\n"), lines = MARK.test(all.at(-1)) ? all.slice(0, -1) : all, found = blocks(lines);
      open = found.map(([what, part], i) => {
        const growing = i === found.length - 1 && what !== "code" ? [...part.slice(0, -1), settled(part.at(-1))] : part;
        return block(what, growing, cite, 0);
      });
      node.append(...open);
      if (found.length > 1) {
        rest = all.slice(found.at(-1)[2]).join("\n");
        open = open.slice(-1);
      }
    },
    end(text, whole = true) {
      const lines = text.split("\n");
      if (!whole) lines.push(settled(lines.pop()));
      node.replaceChildren();
      draw(lines, node, cite, 0);
    },
  };
};
