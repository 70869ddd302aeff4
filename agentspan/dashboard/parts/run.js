// The page of a run: header, tabs, what the tab shows, and beside it the selected step. Live, and still where it is paused.

const TABS = {timeline: "Timeline", transcript: "Transcript", graph: "Graph", events: "Events"}
const TICK_MS = 250
const NARROW = matchMedia("(max-width: 1179px)")

export default {
  render({model, el}) {
    const send = (message) => model.send(message)
    const link = (path, query) => {
      const asked = new URLSearchParams(Object.entries(query ?? {}).filter(([, value]) => value)).toString()
      return model.get("base") + path + (asked ? `?${asked}` : "")
    }
    const origin = () => model.get("base").startsWith("/") ? location.origin + model.get("base").replace(/\/ui$/, "") : model.get("server")
    const run = {executions: new Map(), spans: new Map(), start: 0, last: 0, version: 0, status: "", name: "", why: null, clock: () => 0, is_over: () => ENDED.has(run.status), totals: totals_of([])}
    const own = new Set()  // what was selected here comes back as an echo
    let number = 0, held = [], is_held = false, step = model.get("step"), tab = ""

    const select = (seq) => {
      if (seq === step) return
      step = seq
      own.add(seq)
      setTimeout(() => own.delete(seq), 2000)
      send({select: seq})
      inspect()
      chosen()
      if (seq && NARROW.matches) look.element.scrollIntoView({block: "nearest"})
    }
    const close = () => { select(0); views[tab]?.focus?.() }

    const may = (action) => model.get("may").includes(action)
    may.list = () => model.get("may")
    const share = sharing({send, origin})
    const head = runhead({send, select, link, origin, may, share: share.open})
    const fork = forking({about: () => run.about ?? {}, send})
    const look = inspector({close, fork, link, may, moment: (seq) => send({moment: seq})})
    const views = {timeline: waterfall({select}), transcript: transcript({select}), graph: asran({select}), events: logbook({select})}

    const live = h("button.live", {"data-live": "", onclick: () => hold(!is_held)})
    const tabs = h("div.tabs.pages", {role: "tablist", "aria-label": "Views of the run"},
      Object.entries(TABS).map(([key, name]) => h("button", {role: "tab", "data-tab": key, onclick: () => { model_tab(key); turn(key) }}, name)), h("span.room"), live)
    const main = h("div.shown", {role: "tabpanel"})
    const split = h("div.split", null, main, look.element)
    const wait = h("div.loading.muted", null, "Loading…")
    const page = h("div.run", {hidden: true}, head.element, tabs, split, fork.element, share.element)

    const model_tab = (key) => send({tab: key})
    const turn = (key) => {
      if (tab === key) return
      tab = key
      for (const each of tabs.querySelectorAll("[role=tab]")) each.setAttribute("aria-selected", String(each.dataset.tab === key))
      replace(main, views[key].element)
      main.setAttribute("aria-label", TABS[key])
      paint()
      chosen()
    }
    const paint = () => {
      if (!run.start) return
      if (tab === "timeline") views.timeline.update(run)
      if (tab === "graph") views.graph.update(run)
    }
    const chosen = () => { views.timeline.choose(step); views.events.choose(step) }
    const inspect = () => {
      const found = detail()
      const is_here = found.step === step
      const span = is_here ? null : span_of(step)
      look.update({step, task: is_here ? found.task : null, line: views.events.line(step), is_loading: !is_here, hint: span && {title: span.name, status: span.status, agent: span.agentName}})
      split.toggleAttribute("data-open", Boolean(step))
    }
    const span_of = (seq) => { for (const span of run.spans.values()) if (span.seq === seq || span.endSeq === seq) return span }
    const detail = () => model.get("detail") ? JSON.parse(model.get("detail")) : {}

    // What comes

    const take = (given) => {
      if (given.about) run.about = given.about
      run.id = given.executionId
      run.tree = given.rootId
      run.root = given.executionId.slice(given.rootId.length)
      Object.assign(run, {start: given.start, last: given.last, status: given.status, name: given.agentName, why: given.why ?? run.why, budget: given.budget})
      for (const each of given.executions) run.executions.set(each.executionId.slice(run.tree.length), each)
      for (const values of given.spans) {
        const span = Object.fromEntries(given.fields.map((name, place) => [name, values[place]]))
        run.spans.set(span.seq, span)
      }
      run.version += 1
      const skew = given.now - Date.now()
      const own = run.executions.get(run.root)
      run.clock = () => (run.is_over() && own?.endTime ? own.endTime : Date.now() + skew) - run.start
      run.totals = totals_of([...run.executions.values()])
      head.update(run)
      paint()
      if (run.is_over()) views.transcript.over()
      settle()
    }
    const whole = () => {
      if (!model.get("whole")) return
      const given = JSON.parse(model.get("whole"))
      run.executions.clear()
      run.spans.clear()
      held = []
      number = given.number
      take(given)
      wait.remove()
      page.hidden = false
      views.transcript.update({prompt: String(run.about?.input?.prompt ?? "")})
      views.events.update({start: run.start})
      chosen()
      inspect()
      has()
    }
    const has = () => send({has: {number, log: counted.log, talk: counted.talk}})
    const patch = (given) => {
      if (!run.start) return
      if (given.number !== number + 1) return has()
      number = given.number
      is_held ? held.push(given) : take(given)
      settle()
    }
    const counted = {log: 0, talk: 0}
    const lines = (name, view) => {
      if (!model.get(name)) return
      const given = JSON.parse(model.get(name))
      counted[name] = given.length
      view.update({lines: given, start: run.start})
    }
    const more = (name, view, given) => {
      if (given.from > counted[name]) return has()
      const fresh = given.lines.slice(counted[name] - given.from)
      counted[name] += fresh.length
      is_held ? held.push({view, fresh}) : view.update({more: fresh})
      settle()
    }
    const hold = (wanted) => {
      is_held = wanted
      if (!wanted) for (const each of held.splice(0)) each.view ? each.view.update({more: each.fresh}) : take(each)
      settle()
    }
    const settle = () => {
      const over = run.is_over()
      live.hidden = over && !is_held
      live.dataset.live = is_held ? "held" : "live"
      live.title = is_held ? "Show what is new, and go on" : "Hold the page still while you read"
      const fresh = held.reduce((sum, each) => sum + (each.view ? each.fresh.length : each.spans.length), 0)
      replace(live, is_held ? `▶ ${fresh ? `${words.count(fresh)} new` : "Held"}` : "● Live")
    }
    const hear = (message) => {
      if (message.patch) patch(message.patch)
      if (message.log) more("log", views.events, message.log)
      if (message.talk) more("talk", views.transcript, message.talk)
      if (message.words && !is_held) for (const [execution, text] of Object.entries(message.words)) { views.transcript.words(execution, text); look.words(execution, text) }
      if (message.unforked) fork.refused()
      if (message.file) save(message.file)
      if (message.sharing) share.hear(message.sharing)
    }
    const missing = () => {
      if (!model.get("missing")) return
      replace(el, h("div.empty", {"data-missing": true}, h("strong", null, "There is no such run"), model.get("missing"), !may("browse") ? null : h("p", null, h("a.button", {href: link("/runs")}, "All runs"))))
    }

    const press = (event) => {
      const at = event.composedPath()[0]
      if (event.key !== "Escape" || !step || !page.isConnected || event.composedPath().some((each) => each.tagName === "DIALOG") || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return
      close()
    }
    const timer = setInterval(() => {
      if (!run.start || is_held || run.is_over() || document.hidden) return
      requestAnimationFrame(() => { head.tick(); if (tab === "timeline") views.timeline.tick() })
    }, TICK_MS)

    model.on("change:whole", whole)
    model.on("change:detail", inspect)
    model.on("change:moment", () => model.get("moment") && look.moment(JSON.parse(model.get("moment"))))
    model.on("change:log", () => { lines("log", views.events); chosen(); inspect() })
    model.on("change:talk", () => lines("talk", views.transcript))
    model.on("change:missing", missing)
    model.on("change:step", () => { if (!own.delete(model.get("step")) && model.get("step") !== step) { step = model.get("step"); inspect(); chosen() } })
    model.on("change:tab", () => turn(model.get("tab")))
    model.on("change:may", () => { if (run.start) head.update(run); inspect() })
    model.on("msg:custom", hear)
    document.addEventListener("keydown", press)

    const late = setTimeout(() => { if (page.hidden) el.prepend(wait) }, 300)
    el.append(page)
    turn(model.get("tab"))
    lines("log", views.events)
    lines("talk", views.transcript)
    whole()
    missing()
    return () => { document.removeEventListener("keydown", press); clearInterval(timer); clearTimeout(late); for (const view of Object.values(views)) view.end?.() }
  },
}

function totals_of(executions) {
  const sum = (name) => executions.reduce((total, each) => total + (each[name] || 0), 0)
  return {
    tokens: sum("promptTokens") + sum("completionTokens"), cached: sum("cachedTokens"), cost: sum("cost"), unknown: executions.some((each) => each.costUnknown),
    models: [...new Set(executions.map((each) => each.model).filter(Boolean))],
  }
}

function save({name, text}) {
  const address = URL.createObjectURL(new Blob([text]))
  h("a", {href: address, download: name}).click()
  URL.revokeObjectURL(address)
}
