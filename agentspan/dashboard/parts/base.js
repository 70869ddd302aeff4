// What all parts share: making elements, words for numbers, and links that stay in the app.

const SVG = "http://www.w3.org/2000/svg"

// h("a.name", {href, onclick}, "text", child, [children]): text is never read as HTML.
function h(tag, attributes, ...children) {
  const [name, ...classes] = tag.split(".")
  const element = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name || "div")
  if (classes.length) element.setAttribute("class", classes.join(" "))
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value)
    else if (key === "value" || key === "checked" || key === "indeterminate") element[key] = value
    else element.setAttribute(key, value === true ? "" : value)
  }
  add(element, children)
  return element
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue
    element.append(child instanceof Node ? child : document.createTextNode(String(child)))
  }
}

function replace(element, ...children) {
  element.replaceChildren()
  add(element, children)
}

// Milliseconds of a time that is told in either way.
const ms_of = (time) => typeof time === "string" ? Date.parse(time) : time

const words = {
  duration(ms) {
    if (ms === null || ms === undefined) return "–"
    if (ms < 1000) return `${Math.round(ms)} ms`
    if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`
    if (ms < 3600000) return `${Math.floor(ms / 60000)} min ${Math.floor(ms % 60000 / 1000)} s`
    if (ms < 86400000) return `${Math.floor(ms / 3600000)} h ${Math.floor(ms % 3600000 / 60000)} min`
    return `${Math.floor(ms / 86400000)} d ${Math.floor(ms % 86400000 / 3600000)} h`
  },
  money(usd, unknown) {
    if (unknown && !usd) return "unknown"
    const text = usd === 0 ? "$0" : usd >= 100 ? `$${Math.round(usd).toLocaleString("en-US")}` : usd < 0.01 ? `$${usd.toPrecision(2)}` : `$${usd.toFixed(usd < 1 ? 3 : 2)}`
    return unknown ? `≥ ${text}` : text
  },
  count(n) {
    return n === null || n === undefined ? "–" : n.toLocaleString("en-US")
  },
  short(text, length) {
    const whole = String(text ?? "")
    return whole.length > length ? `${whole.slice(0, length - 1)}…` : whole
  },
  // "14:03:07" today, else with the date; the whole time in the title of whoever shows it.
  clock(time) {
    if (!time) return "–"
    const ms = ms_of(time)
    const at = new Date(ms), today = new Date()
    const hours = at.toLocaleTimeString("en-GB")
    return at.toDateString() === today.toDateString() ? hours : `${at.toISOString().slice(0, 10)} ${hours.slice(0, 5)}`
  },
  since(time, now) {
    if (!time) return "–"
    const ago = Math.max(0, (now ?? Date.now()) - ms_of(time))
    if (ago < 60000) return ago < 5000 ? "now" : `${Math.floor(ago / 1000)} s ago`
    return `${words.duration(ago).replace(/ \d+ (s|min|h)$/, "")} ago`
  },
  json(value) {
    return typeof value === "string" ? value : JSON.stringify(value, null, 2)
  },
}

// The first element that fits, in whatever shadow.
function find(root, selector) {
  const found = root.querySelector(selector)
  if (found) return found
  for (const each of root.querySelectorAll("*")) {
    const deeper = each.shadowRoot && find(each.shadowRoot, selector)
    if (deeper) return deeper
  }
  return null
}

// A status as mark, colour and word: never colour alone.
function status(word, text) {
  const [sign, name] = MARKS[word] ?? ["○", String(word ?? "").toLowerCase().replaceAll("_", " ")]
  return h("span.status", {"data-status": word}, h("span.mark", {"aria-hidden": "true"}, sign), text ?? name)
}

// A value as a tree that folds; `open` levels are unfolded.
function tree(value, open = 1, name) {
  const label = name === undefined ? null : h("span.key", null, `${name}: `)
  if (value === null || typeof value !== "object") {
    const kind = value === null ? "null" : typeof value
    return h("div.leaf", null, label, h(`span.${kind}`, null, kind === "string" ? value : String(value)))
  }
  const entries = Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value)
  const brief = Array.isArray(value) ? `[${entries.length}]` : `{${words.short(entries.map(([key]) => key).join(", "), 60)}}`
  if (!entries.length) return h("div.leaf", null, label, h("span.brief", null, Array.isArray(value) ? "[]" : "{}"))
  const body = h("div.branch")
  const fill = () => { if (!body.childNodes.length) add(body, entries.slice(0, 500).map(([key, each]) => tree(each, open - 1, key))) }
  const details = h("details", {open: open > 0, ontoggle: fill}, h("summary", null, label, h("span.brief", null, brief)), body)
  if (open > 0) fill()
  return details
}
