// The numbered log of a run: every event, with a filter.

function logbook({select}) {
  const search = h("input", {type: "search", placeholder: "Filter events", "aria-label": "Filter events", "data-search": true})
  const tally = h("span.muted.tally")
  const none = h("div.empty", {hidden: true}, h("strong", null, "No event fits"), "Another word shows others.")
  const list = windowed({height: 30, render, label: "Events", role: "listbox", item: "option"})
  const element = h("div.logbook", null, h("div.tools", null, search, tally), list.element, none)
  let lines = [], rows = [], start = 0, selected = 0, loaded = false

  function render(row) {
    const {line} = row
    const element = h("div", {"data-seq": line.seq, "data-event": line.kind, title: line.summary},
      h("span.seq.number", null, line.seq), h("span.time.number", {title: new Date(line.at).toISOString()}, `+${words.duration(line.at - start)}`),
      h("span.what", {"data-status": tone(line.kind)}, told(line.kind)), h("span.who.cut", null, line.agent), h("span.said.cut", null, line.summary))
    element.refresh = () => element.setAttribute("aria-selected", String(line.seq === selected))
    return element
  }
  const update = (given) => {
    const follows = list.is_at_end() && !selected
    start = given.start ?? start
    if (given.lines) { lines = given.lines; loaded = true }
    if (given.more) lines = lines.concat(given.more)
    const text = search.value.trim().toLowerCase()
    rows = lines.filter((line) => !text || `${line.seq} ${told(line.kind)} ${line.agent} ${line.summary}`.toLowerCase().includes(text))
      .map((line) => ({key: `e${line.seq}`, print: String(start), line}))
    replace(tally, loaded ? `${words.count(rows.length)} ${rows.length === 1 ? "event" : "events"}` : "Loading…")
    none.hidden = !loaded || rows.length > 0
    list.set(rows)
    if (follows && given.more) list.to_end()
  }
  const choose = (row) => { if (row) { selected = row.line.seq; list.reach(rows.indexOf(row)); list.element.setAttribute("aria-activedescendant", `row-${row.key}`); select(selected) } }
  search.addEventListener("input", () => update({}))
  list.element.addEventListener("click", (event) => choose(list.at(event)))
  list.element.addEventListener("keydown", (event) => {
    const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -1e9, End: 1e9}[event.key]
    if (!step || event.metaKey || event.ctrlKey) return
    event.preventDefault()
    choose(rows[Math.max(0, Math.min(rows.length - 1, rows.findIndex((row) => row.line.seq === selected) + step))])
  })
  return {
    element, update, end: list.end, focus: () => list.element.focus(), line: (seq) => lines.find((line) => line.seq === seq) ?? null,
    choose(seq) { selected = seq; const index = rows.findIndex((row) => row.line.seq === seq); index >= 0 ? list.reach(index) : list.draw() },
  }
}

// In words: of a person's run, not of an execution.
const told = (kind) => kind.replace("execution_", "run_").replaceAll("_", " ")

const tone = (kind) => /fail|refus|timed_out|terminated/.test(kind) ? "FAILED" : /completed/.test(kind) ? "COMPLETED" : /request|paused|stop/.test(kind) ? "PAUSED" : null
