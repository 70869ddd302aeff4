// The waterfall of a run: the tree of its steps at the left, when each waited and ran at the right.
//
// Steps nest: what a model asked for stands below its answer, a sub-agent's steps below its call. All attempts of a task
// share a row. Long stretches in which nothing ran are cut out of the axis.

const ROW = 28
const NONE = new Set()
const RAN = new Set(["llm", "worker", "http", "mcp", "code"])
const FAILED = new Set(["FAILED", "FAILED_WITH_TERMINAL_ERROR", "TIMED_OUT"])
const PURPOSES = {approve: "approve", judge: "check", choose: "choose", brief: "brief", condense: "condense", hook: "hook"}

function waterfall({select, fold}) {
  const search = h("input", {type: "search", placeholder: "Find a step", "aria-label": "Find a step", "data-search": true})
  const only = h("button.only", {"aria-pressed": "false", "data-only": "failed"}, "Failed")
  const all = h("button", {"data-fold": "all"}, "Fold")
  const zoomed = h("button", {hidden: true, "data-zoom": "out"}, "Whole run")
  const tally = h("span.muted.tally", {"aria-live": "polite"})
  const ticks = h("div.ticks", {title: "Drag to look closer"})
  const list = windowed({height: ROW, render, label: "Steps", role: "tree", item: "treeitem"})
  const none = h("div.empty", {hidden: true})
  const axis = h("div.axis", null, h("div.names", null, "Step"), ticks)
  const element = h("div.waterfall", null, h("div.tools", null, search, only, all, zoomed, tally), axis, list.element, none, legend())

  const folded = new Set()
  let run = null, rows = [], scale = null, zoom = null, selected = 0, at = -1, follows = true, all_of = {version: -1, rows: []}

  // All steps, unfolded; made anew when the run has moved.
  const whole = () => {
    if (all_of.version !== run.version) all_of = {version: run.version, rows: steps_of(run, NONE)}
    return all_of.rows
  }
  const update = (given) => {
    run = given ?? run
    if (!run?.start) return
    rows = shown(folded.size ? steps_of(run, folded) : whole(), search.value, only.getAttribute("aria-pressed") === "true")
    at = rows.findIndex((row) => row.seqs.includes(selected))
    const failures = whole().filter(is_failure).length
    only.hidden = !failures
    replace(only, `Failed ${failures}`)
    all.hidden = !rows.some((row) => row.folds)
    replace(all, folded.size ? "Unfold" : "Fold")
    zoomed.hidden = !zoom
    none.hidden = rows.length > 0
    replace(none, h("strong", null, run.spans.size ? "No step fits" : "No steps yet"), run.spans.size ? "Another word, or all steps." : "")
    replace(tally, `${words.count(rows.length)} ${rows.length === 1 ? "step" : "steps"}`)
    place()
    list.set(rows)
    if (follows && !selected && given && !run.is_over()) list.to_end()
  }
  const place = () => {
    scale = scaled(run, zoom, ticks.clientWidth || 500)
    replace(ticks, scale.ticks.map(({share, text, cut}) => h(cut ? "span.cutout" : "span.tick", {style: `left:${share}%`}, text)))
  }
  const tick = () => { if (run?.start) { place(); list.draw() } }

  function render(row) {
    const bars = h("div.bars")
    const took = h("span.took.number")
    const twist = row.folds
      ? h("button.twist", {"aria-label": row.folded ? "Unfold" : "Fold", "data-twist": row.key, tabindex: "-1"}, row.folded ? "▸" : "▾")
      : h("span.twist", null, "\u00a0")
    const element = h("div", {
      "data-seq": row.seq, "data-kind": row.kind, "data-state": row.status, "aria-level": row.depth + 1,
      "data-shared": row.shared, "aria-expanded": row.folds ? String(!row.folded) : null, title: row.title,
      "aria-label": `${row.name}, ${(MARKS[row.status] ?? ["", row.status])[1]}${row.sub ? `, ${row.sub}` : ""}`,
    },
      h("div.label", {style: `padding-left:${8 + Math.min(row.depth, 12) * 16}px`}, twist, mark(row),
        h("span.name", null, row.name), row.tries > 1 ? h("span.tries", {title: `${row.tries} attempts`}, `×${row.tries}`) : null,
        row.stale ? h("span.tries", {title: "The code that ran is older than its cell"}, "old code") : null,
        h("span.sub", null, row.sub), took),
      bars)
    if (row.shared) bars.append(h("span.muted", null, "before the fork"))
    element.refresh = (now) => {
      element.setAttribute("aria-selected", String(now.seqs.includes(selected)))
      replace(took, now.took(run.clock()))
      if (now.shared) return
      const pieces = now.pieces(run.clock())
      const drawn = pieces.map(([kind, from, to]) => [kind, scale.share(from), scale.share(to)]).filter(([, left, right]) => right >= 0 && left <= 100)
      while (bars.childNodes.length > drawn.length) bars.lastChild.remove()
      while (bars.childNodes.length < drawn.length) bars.append(h("i"))
      drawn.forEach(([kind, left, right], index) => {
        const bar = bars.childNodes[index], from = Math.max(0, left)
        bar.className = kind
        bar.style.left = `min(${from}%, calc(100% - 3px))`
        bar.style.width = `${Math.min(100, right) - from}%`
      })
    }
    return element
  }

  const choose = (row) => { if (row) { selected = row.seq; at = rows.indexOf(row); tick(); list.reach(at); tell(); select(row.seq) } }
  const mark_selected = () => { at = rows.findIndex((row) => row.seqs.includes(selected)); list.draw() }
  const tell = () => list.element.setAttribute("aria-activedescendant", rows[at] ? `row-${rows[at].key}` : "")
  const turn = (key) => { folded.has(key) ? folded.delete(key) : folded.add(key); update() }
  const press = (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return
    const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 12, PageUp: -12, Home: -1e9, End: 1e9}[event.key]
    const row = rows[at]
    if (step) choose(rows[Math.max(0, Math.min(rows.length - 1, at + step))])
    else if (event.key === "ArrowLeft" && row) {
      if (row.folds && !row.folded) turn(row.key)
      else choose(rows.slice(0, at).findLast((each) => each.depth < row.depth))
    } else if (event.key === "ArrowRight" && row?.folds && row.folded) turn(row.key)
    else if (event.key === "n") choose(rows.slice(at + 1).concat(rows.slice(0, at + 1)).find(is_failure))
    else return
    event.preventDefault()
  }
  list.element.addEventListener("keydown", press)
  list.element.addEventListener("wheel", () => requestAnimationFrame(() => { follows = list.is_at_end() }), {passive: true})
  list.element.addEventListener("click", (event) => {
    const row = list.at(event)
    const twist = event.target.closest?.("[data-twist]")
    twist && row ? turn(row.key) : choose(row)
  })
  search.addEventListener("input", () => update())
  only.addEventListener("click", () => { only.setAttribute("aria-pressed", String(only.getAttribute("aria-pressed") !== "true")); update() })
  all.addEventListener("click", () => {
    if (folded.size) folded.clear()
    else for (const row of whole()) if (row.folds) folded.add(row.key)
    update()
  })
  zoomed.addEventListener("click", () => { zoom = null; update() })
  const watcher = new ResizeObserver(() => tick())
  watcher.observe(ticks)
  drag(ticks, (from, to) => { zoom = [scale.time(from), scale.time(to)]; update() })

  return {
    element, update, tick, end: () => { list.end(); watcher.disconnect() },
    focus: () => list.element.focus(),
    choose(seq) {
      selected = seq
      if (seq && run?.start) {
        if (reveal(whole(), seq, folded)) update()
        else mark_selected()
        if (at >= 0) list.reach(at)
        tell()
      } else tick()
    },
  }
}

// What stands above a step is unfolded; true if something was.
function reveal(open, seq, folded) {
  const before = folded.size
  let index = before ? open.findIndex((row) => row.seqs.includes(seq)) : -1
  for (let depth = open[index]?.depth ?? 0; index >= 0; index -= 1) {
    if (open[index].depth < depth) { depth = open[index].depth; folded.delete(open[index].key) }
  }
  return folded.size !== before
}

function mark(row) {
  if (FAILED.has(row.status)) return h("span.dot.failed", {"aria-hidden": "true"}, "✕")
  if (row.status === "CANCELED") return h("span.dot.gone", {"aria-hidden": "true"}, "■")
  return h(`span.dot${row.open ? ".open" : ""}`, {"aria-hidden": "true"}, row.kind === "human" ? "◆" : row.child !== undefined ? "◇" : "●")
}

function legend() {
  const entry = (kind, text, of) => h("span", {"data-kind": of}, h(`i.${kind}`), text)
  return h("div.legend.muted", {"aria-hidden": "true"}, entry("queue", "in the queue", "worker"), entry("run", "runs", "worker"), entry("wait", "waits for a person", "human"),
    h("span.keys", null, "j k move · ← → fold · n next failure"))
}

// The rows in their order, without what is folded.
function steps_of(run, folded) {
  const below = new Map()
  const firsts = new Map()
  for (const span of [...run.spans.values()].sort((a, b) => a.seq - b.seq)) {
    const chain = firsts.get(span.retried)
    if (chain) { chain.push(span); firsts.set(span.seq, chain); continue }
    const made = [span]
    firsts.set(span.seq, made)
    if (!below.has(span.execution)) below.set(span.execution, [])
    below.get(span.execution).push(made)
  }
  const rows = []
  const walk = (execution, depth, is_hidden) => {
    let head = null
    for (const chain of below.get(execution) ?? []) {
      const last = chain.at(-1)
      const is_head = last.purpose === "think" || (last.purpose === "speak" && last.kind === "llm")
      if (is_head) head = null
      const under = head && last.turn === head.turn && last.kind !== "timer"
      const row = row_of(run, chain, depth + (under ? 1 : 0), folded)
      const hidden = is_hidden || (under && head.folded)
      if (under) { head.folds = true; head.trouble ||= FAILED.has(row.status) }
      if (!hidden) rows.push(row)
      if (is_head) head = row
      const child = row.child !== undefined && run.executions.get(row.child)
      if (child && below.has(row.child)) { row.folds = true; walk(row.child, row.depth + 1, hidden || row.folded) }
    }
  }
  walk(run.root, 0, false)
  for (const row of rows) row.print = [row.status, row.name, row.sub, row.depth, row.tries, row.folds, row.folded, row.stale].join("|")
  return rows
}

function row_of(run, chain, depth, folded) {
  const [first, last] = [chain[0], chain.at(-1)]
  const child = last.child ? run.executions.get(last.child) : undefined
  const open = last.endedAt === null
  const name = PURPOSES[last.purpose] ? `${PURPOSES[last.purpose]} ${bare(last)}` : child?.agentName ?? bare(last)
  return {
    key: String(first.seq), seq: last.seq, seqs: chain.flatMap((each) => [each.seq, each.endSeq]), depth, open,
    kind: last.kind, purpose: last.purpose, turn: last.turn, status: last.status, tries: chain.length, stale: last.staleTool,
    child: last.child || undefined, folded: folded.has(String(first.seq)), folds: false, trouble: false,
    name, sub: (FAILED.has(last.status) && last.error) || last.summary, agent: last.agentName,
    title: [name, last.error || last.summary].filter(Boolean).join("\n"),
    took: (now) => last.startedAt === null && open && last.kind !== "human" ? "waits" : words.duration((last.endedAt ?? now) - begun(last, child)),
    shared: last.endedAt !== null && last.endedAt < 0,
    pieces: (now) => chain.flatMap((each, place) => [...(place ? [["gap", chain[place - 1].endedAt ?? now, each.startedAt ?? now]] : []), ...pieces_of(each, now)]),
  }
}

// A step that was open when the run was forked counts from there.
function begun(span, child) {
  const at = span.kind === "human" || child ? span.scheduledAt : span.startedAt ?? span.availableAt ?? span.scheduledAt
  return span.endedAt === null || span.endedAt >= 0 ? Math.max(0, at) : at
}

// A step that failed itself, not by one below it.
const is_failure = (row) => FAILED.has(row.status) && !row.child

const bare = (span) => span.kind === "llm" ? span.name.split("/").at(-1) : span.name

function pieces_of(span, now) {
  const end = span.endedAt ?? now
  const bad = FAILED.has(span.status)
  if (span.kind === "human") return [["wait", span.scheduledAt, end]]
  if (span.child) return [[bad ? "whole bad" : "whole", span.scheduledAt, end]]
  const begin = span.startedAt ?? end
  const queued = Math.max(span.availableAt ?? span.scheduledAt, span.scheduledAt)
  const kind = bad ? "run bad" : span.status === "CANCELED" ? "run gone" : span.endedAt === null ? "run live" : "run"
  return [...(begin > queued ? [["queue", queued, begin]] : []), ...(span.startedAt !== null ? [[kind, begin, end]] : [])]
}

function shown(rows, text, failed) {
  const wanted = text.trim().toLowerCase()
  if (!wanted && !failed) return rows
  return rows.filter((row) => (!failed || is_failure(row)) && (!wanted || `${row.name} ${row.sub} ${row.agent} ${row.kind} ${row.seq}`.toLowerCase().includes(wanted)))
}

// Times to shares of the width, with what is longer than a third of all work and idle cut to a sliver.
function scaled(run, zoom, width) {
  const [from, to] = zoom ?? [0, Math.max(run.clock(), 1)]
  const busy = []
  for (const span of run.spans.values()) {
    if (!RAN.has(span.kind) || span.child) continue
    const begin = span.startedAt ?? span.scheduledAt, end = span.startedAt === null ? begin : span.endedAt ?? run.clock()
    if (end >= from && begin <= to) busy.push([Math.max(from, begin), Math.min(to, end)])
  }
  const gaps = idle(busy.sort((a, b) => a[0] - b[0]), from, to)
  const idled = gaps.reduce((sum, [begin, end]) => sum + end - begin, 0)
  const worked = to - from - idled
  const long = gaps.filter(([begin, end]) => end - begin > Math.max(2000, 0.5 * worked, 0.05 * (to - from)))
  const cut = long.reduce((sum, [begin, end]) => sum + end - begin, 0)
  const rest = to - from - cut
  const each = long.length ? Math.min(10, 40 / long.length) : 0
  const per = (100 - each * long.length) / Math.max(rest, 1)
  const pieces = []
  let time = from, share = 0
  for (const [begin, end] of [...long, [to, to]]) {
    pieces.push({from: time, to: begin, share, width: (begin - time) * per})
    share += (begin - time) * per
    if (end > begin) { pieces.push({from: begin, to: end, share, width: each, cut: true}); share += each }
    time = end
  }
  const at = (moment) => {
    const piece = pieces.find((one) => moment <= one.to) ?? pieces.at(-1)
    return piece.share + (piece.to > piece.from ? (moment - piece.from) / (piece.to - piece.from) * piece.width : 0)
  }
  const back = (place) => {
    const piece = pieces.find((one) => place <= one.share + one.width) ?? pieces.at(-1)
    return piece.from + (piece.width ? (place - piece.share) / piece.width * (piece.to - piece.from) : 0)
  }
  return {share: at, time: back, ticks: ticks_of(pieces, rest, at, width)}
}

function idle(busy, from, to) {
  const gaps = []
  let end = from
  for (const [begin, until] of busy) {
    if (begin > end) gaps.push([end, begin])
    end = Math.max(end, until)
  }
  if (to > end) gaps.push([end, to])
  return gaps
}

// The times on the axis, where there is room for their words.
function ticks_of(pieces, rest, at, width) {
  const px = 100 / width
  const rough = rest / 5
  const unit = 10 ** Math.floor(Math.log10(Math.max(rough, 1)))
  const step = [1, 2, 5, 10].map((each) => each * unit).find((each) => each >= rough) ?? rough
  const ticks = pieces.filter((piece) => piece.cut).map((piece) => ({share: piece.share + piece.width / 2, text: `⋯ ${words.duration(piece.to - piece.from)}`, cut: true}))
  const is_free = (share) => share + 52 * px < 100 && ticks.every((tick) => tick.cut ? share < tick.share - 95 * px || share > tick.share + 50 * px : Math.abs(share - tick.share) > 68 * px)
  for (const piece of pieces.filter((each) => !each.cut)) {
    const base = is_coarse(piece.from, step) ? piece.from : 0
    for (let time = base || Math.ceil(piece.from / step) * step; time < piece.to && ticks.length < 40; time += step) {
      if (is_free(at(time))) ticks.push({share: at(time), text: base ? `+${words.duration(time - base)}` : time ? words.duration(time) : "0"})
    }
  }
  return ticks
}

// Whether times of this distance would be told in the same words: they are then told from the end of what was cut out.
const is_coarse = (time, step) => (time >= 10000 && step < 1000) || (time >= 3600000 && step < 60000)

// A stretch of the axis is chosen with the mouse; places in percent.
function drag(element, chosen) {
  const place = (event) => { const box = element.getBoundingClientRect(); return Math.max(0, Math.min(100, 100 * (event.clientX - box.left) / box.width)) }
  element.addEventListener("pointerdown", (event) => {
    const from = place(event)
    const range = h("div.range")
    const move = (moved) => { const to = place(moved); range.style.left = `${Math.min(from, to)}%`; range.style.width = `${Math.abs(to - from)}%` }
    const done = (last) => {
      element.removeEventListener("pointermove", move)
      range.remove()
      const to = place(last)
      if (Math.abs(to - from) > 1) chosen(Math.min(from, to), Math.max(from, to))
    }
    element.append(range)
    element.setPointerCapture(event.pointerId)
    element.addEventListener("pointermove", move)
    element.addEventListener("pointerup", done, {once: true})
  })
}
