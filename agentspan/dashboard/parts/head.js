// The top of a run's page: what it is, how it stands and why, what it took, and what can be done with it.

const ENDED = new Set(["COMPLETED", "FAILED", "TERMINATED", "TIMED_OUT"])
const SURE = {
  stop: ["Stop this run?", "It ends after its present turn and keeps what it has.", "Stop"],
  cancel: ["Cancel this run?", "It and all below it end at once. What was done stays done.", "Cancel the run"],
}

function runhead({send, select, link, origin, may, share}) {
  const dialog = h("dialog", {"aria-label": "Are you sure?"})
  const took = h("dd", {"data-fact": "took"})
  const [top, middle, bottom] = [h("div.top"), h("div"), h("dl.facts")]
  const element = h("header.runhead", null, top, middle, bottom, dialog)
  const prints = new Map()
  let run = null

  // A part is drawn anew only where it differs: an open menu stays open.
  const draw = (part, seen, make) => {
    const print = JSON.stringify(seen)
    if (prints.get(part) === print) return
    prints.set(part, print)
    replace(part, make())
  }
  const update = (given) => {
    run = given
    const own = run.executions.get(run.root) ?? {}
    const is_waiting = run.status === "RUNNING" && run.why?.reasons?.[0]?.code === "person"
    draw(top, [run.id, run.name, run.status, is_waiting, run.about?.forks, may.list()], () => [lineage(own), h("div.line", null,
      h("h1.cut", {title: run.name}, run.name),
      !own.version ? null : !may("browse") ? h("span.chip", null, `v${own.version}`) : h("a.chip", {href: link(`/agents/${encodeURIComponent(run.name)}`, {version: own.version}), title: "This version of the agent"}, `v${own.version}`),
      status(is_waiting ? "WAITING" : run.status), h("span.room"), actions())])
    draw(middle, [run.status, run.why, may.list()], why)
    draw(bottom, [run.id, run.totals, run.budget, run.executions.size, own.startTime, may.list()], () => facts_of(own))
    tick()
  }
  const tick = () => run && replace(took, words.duration(run.clock()))
  const facts_of = (own) => [
    fact("Took", took), fact("Tokens", words.count(run.totals.tokens), run.totals.cached ? `${words.count(run.totals.cached)} read from the cache` : null),
    fact("Cost", words.money(run.totals.cost, run.totals.unknown), run.totals.unknown ? "The price of a model is not known" : null),
    budget(), run.totals.models.length ? fact(run.totals.models.length > 1 ? "Models" : "Model", h("span.cut", {title: run.totals.models.join("\n")}, run.totals.models.slice(0, 2).join(", ") + (run.totals.models.length > 2 ? ` +${run.totals.models.length - 2}` : ""))) : null,
    run.executions.size > 1 ? fact("Agents", words.count(run.executions.size)) : null,
    own.sessionId && may("browse") ? fact("Session", h("a.cut", {href: link("/runs", {session: own.sessionId}), title: own.sessionId}, own.sessionId)) : null,
    fact("Began", words.clock(own.startTime), own.startTime ? new Date(own.startTime).toISOString() : ""),
    fact("Run", copy_id(run.id)),
  ]
  const fact = (name, value, title) => value === "" ? null : h("div", {title}, h("dt", null, name), value.tagName === "DD" ? value : h("dd", {"data-fact": name.toLowerCase()}, value))
  const budget = () => {
    const limit = run.budget?.maxCost ?? run.budget?.max_cost ?? run.budget?.usd
    return limit ? fact("Budget", words.money(limit)) : null
  }
  const copy_id = (id) => h("button.plain.mono", {title: `${id}\nCopy`, onclick: ({target}) => { clip(id); target.textContent = "copied"; setTimeout(() => { target.textContent = brief_id(id) }, 1200) }}, brief_id(id))

  const lineage = (own) => {
    const parts = []
    if (run.root) parts.push("Part of ", h("a", {href: link(`/runs/${run.tree}`)}, `run ${brief_id(run.tree)}`))
    if (own.forkedFrom && may("browse")) {
      parts.push(parts.length ? " · " : "", "Fork of ", h("a", {href: link(`/runs/${own.forkedFrom}`, {step: own.forkedAt})}, brief_id(own.forkedFrom)), ` at event ${own.forkedAt}`,
        " · ", h("a", {href: link("/compare", {a: own.forkedFrom, b: run.id})}, "compare"))
    }
    const forks = run.about?.forks ?? []
    if (forks.length) parts.push(parts.length ? " · " : "", `${forks.length} ${forks.length === 1 ? "fork" : "forks"}: `, forks.slice(0, 4).map((each, place) => [place ? ", " : "", h("a", {href: link(`/runs/${each.executionId}`)}, `at ${each.at}`)]))
    return parts.length ? h("p.lineage.muted", null, parts) : null
  }

  const why = () => {
    const reasons = run.why?.reasons ?? []
    const troubles = reasons.filter((each) => each.code !== "ended" && each.sentence)
    const tone = ENDED.has(run.status) ? run.status : troubles.some((each) => STUCK.has(each.code)) ? "PAUSED" : null
    if (!run.why?.sentence || (run.status === "COMPLETED" && !troubles.length)) return null
    const told = reasons.length ? reasons.slice(0, 3) : [{sentence: run.why.sentence}]
    return h("div.why", {"data-status": tone, "data-why-box": true, role: "status"}, told.map((each) => h("p", null, each.sentence,
      each.remedy && NEEDS.has(each.code) ? h("span.muted", null, ` ${each.remedy}`) : null, " ", goto(each))),
      reasons.length > 3 ? h("p.muted", null, `and ${reasons.length - 3} more`) : null)
  }
  const goto = (reason) => {
    const step = reason.seq ?? seq_of(reason.taskId)
    if (!step) return null
    if (reason.code === "person" && may("browse")) return h("a", {href: link(`/inbox/${reason.taskId}`), "data-why": step}, may("answer") ? "Answer it" : "What is asked")
    return h("button.plain", {"data-why": step, onclick: () => select(step)}, reason.code === "failed" ? "Show the failing step" : "Show the step")
  }

  const actions = () => {
    const button = (name, label) => !may(name) ? null : h("button", {"data-act": name, class: name === "cancel" ? "danger" : null, onclick: () => SURE[name] ? sure(name) : send({act: name})}, label)
    const over = ENDED.has(run.status)
    const own = [
      run.status === "RUNNING" ? button("pause", "Pause") : null, run.status === "PAUSED" ? button("resume", "Resume") : null,
      over ? null : button("stop", "Stop"), over ? null : button("cancel", "Cancel"),
      over && run.status !== "COMPLETED" ? button("retry", "Retry") : null,
    ]
    return h("div.actions", {role: "group", "aria-label": "Actions"}, run.root ? null : own,
      !run.root && may("share") ? h("button", {"data-act": "share", onclick: share}, "Share…") : null,
      may("browse") ? [h("a.button", {href: link("/compare", {a: run.id})}, "Compare"), menu("Copy", COPIES(run, origin).map(copying))] : null,
      !may("export") ? null : menu("Export", EXPORTS.map(([kind, name, title]) => h("button", {"data-export": kind, role: "menuitem", title, onclick: ({target}) => { send({export: kind}); target.closest("details").open = false }}, name))))
  }
  const copying = ([name, text]) => h("button", {"data-copy": name.toLowerCase(), role: "menuitem", onclick: async ({target}) => {
    const details = target.closest("details")
    const summary = details.querySelector("summary")
    await clip(text())
    details.open = false
    replace(summary, `Copied as ${name}`)
    setTimeout(() => replace(summary, "Copy"), 1500)
  }}, name)
  const menu = (name, items) => {
    const details = h("details.menu", {"data-menu": name.toLowerCase()}, h("summary.button", null, name), h("div.items", {role: "menu"}, items))
    details.addEventListener("focusout", (event) => { if (!details.contains(event.relatedTarget)) details.open = false })
    details.addEventListener("keydown", (event) => { if (event.key === "Escape" && details.open) { details.open = false; details.firstChild.focus(); event.stopPropagation() } })
    return details
  }
  const sure = (name) => {
    const [title, text, label] = SURE[name]
    replace(dialog, h("h2", null, title), h("p", null, text), h("form", {method: "dialog"}, h("div.line", null, h("span.room"), h("button", null, "Not now"),
      h("button.danger", {"data-sure": name, onclick: () => send({act: name})}, label))))
    dialog.showModal()
  }
  return {element, update, tick}
}

const STUCK = new Set(["no_worker", "worker_silent", "person", "message", "limited", "budget", "paused"])
// Where the remedy is not a button of this page.
const NEEDS = new Set(["no_worker", "worker_silent", "limited", "queued"])
const seq_of = (task) => Number(/\.t(\d+)$/.exec(task ?? "")?.[1] ?? 0)

const EXPORTS = [
  ["jsonl", "File (.jsonl)", "All of the run: any server can take it in"],
  ["ipynb", "Notebook (.ipynb)", "What happened, the agent as code, and the run played again without a server"],
]

const COPIES = (run, origin) => [
  ["Python", () => `from agentspan.agents import attach\n\nhandle = attach("${run.id}")\nresult = handle.join()\n`],
  ["curl", () => `curl ${origin()}/api/agent/${run.id}/status`],
  ["CLI", () => `agentspan export ${run.tree} -o ${run.tree}.jsonl`],
  ["Link", () => location.href],
]
