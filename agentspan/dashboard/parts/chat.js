// A conversation with an agent: what was said, with its calls and requests folded in between, and the field to say more.
//
// turns, now: {id, prompt, items, status, since, duration, tokens, cost, costUnknown, href}, an item one of
//   {kind: "words" | "heard", who, html, cut}, {kind: "value", who, value}, {kind: "call", name, who, args, result, state},
//   {kind: "request", id, request, decision}, {kind: "note" | "error", text}.
// INSIDE is the card that asks a person.

export default {
  render({model, el}) {
    const told = (name) => JSON.parse(model.get(name) || "null")
    const agent = () => model.get("name_asked")
    const may = (action) => model.get("may").includes(action)
    const page = h("div.chat")
    el.append(page)
    if (!agent()) {
      const choose = () => replace(page, choice(told("agents"), model.get("base")))
      model.on("change:agents", choose)
      choose()
      return
    }

    const others = h("ul")
    const fresh = h("button.new", {type: "button", onclick: () => { keep(); model.send({session: ""}) }}, "New conversation")
    const picker = h("select", {"aria-label": "Agent", onchange: () => { if (picker.value !== agent()) model.send({agent: picker.value}) }})
    const about = h("span.muted.cut.about")
    const link = h("a.muted", {href: `${model.get("base")}/agents/${encodeURIComponent(agent())}`}, "Definition")
    const earlier = h("button.earlier", {type: "button", hidden: true, onclick: () => model.send({earlier: true})}, "Earlier messages")
    const hello = h("div.hello-chat", {hidden: true})
    const talk = h("div.talk", {role: "log", "aria-label": "Conversation"})
    const log = h("div.log", {tabindex: "0", "aria-label": "Messages", onscroll: () => settle()}, earlier, hello, talk)
    const below = h("button.below", {type: "button", hidden: true, onclick: () => to_end()}, "↓ Newest")
    const problem = h("div.error", {role: "alert", hidden: true})
    const field = h("textarea", {rows: 1, "aria-label": `Message to ${agent()}`, placeholder: `Message to ${agent()}`, "data-say": true})
    const send = h("button.primary", {type: "submit"}, "Send")
    const stop = h("button", {type: "button", hidden: true, onclick: () => { const now = told("now"); if (now) { stop.disabled = true; model.send({stop: now.id}) } }}, "Stop")
    const hint = h("span.muted.hint")
    const reading = h("p.muted.reading", {hidden: true}, "You may read conversations. To say something takes the right to run agents.")
    const form = h("form.say", {onsubmit: (event) => { event.preventDefault(); say() }}, problem, h("div.field", null, field, h("div.line", null, hint, stop, send)))
    add(page, [
      h("nav.others", {"aria-label": "Conversations"}, fresh, others),
      h("section.main", {"aria-label": `Conversation with ${agent()}`},
        h("header", null, picker, about, link), h("div.frame", null, log, below), form, reading),
    ])

    // What is typed is kept for each conversation, over a reload as well.
    const store = (session) => `agentspan-draft ${agent()} ${session}`
    const keep = () => { try { field.value ? sessionStorage.setItem(store(shown), field.value) : sessionStorage.removeItem(store(shown)) } catch { /* no storage here */ } }
    const recall = () => { try { field.value = sessionStorage.getItem(store(shown)) ?? "" } catch { field.value = "" } grow() }
    const grow = () => { field.style.height = "auto"; field.style.height = `${Math.min(field.scrollHeight + 2, 220)}px` }

    let shown = model.get("session"), sending = null, follows = true, due = false
    const turns = new Map()

    const say = () => {
      const text = field.value.trim()
      if (!text || sending || told("now")) return
      sending = Date.now()
      follows = true
      tell("")
      state()
      model.send({say: text, click: sending})
    }
    const answered = () => {
      const taken = model.get("taken")
      if (!sending || taken.click !== sending) return
      sending = null
      if (taken.problem) tell(taken.problem)
      else { field.value = ""; keep(); grow() }
      soon()
    }
    const tell = (text) => { problem.hidden = !text; replace(problem, text) }
    const state = () => {
      const now = told("now")
      send.hidden = !!now
      stop.hidden = !now || !may("cancel")
      if (!now) stop.disabled = false
      send.disabled = !!sending || !field.value.trim()
      field.readOnly = !!sending
      replace(hint, sending ? "Sending…" : now ? (asks(now) ? "It waits for you: answer above" : "It answers") : "Enter sends, Shift+Enter makes a new line")
    }

    const at_end = () => log.scrollHeight - log.scrollTop - log.clientHeight < 48
    const settle = () => { follows = at_end(); if (follows) below.hidden = true }
    const to_end = () => { log.scrollTop = log.scrollHeight; follows = true; below.hidden = true }

    const soon = () => { if (!due) { due = true; requestAnimationFrame(() => { due = false; draw() }) } }
    const draw = () => {
      if (model.get("session") !== shown) {
        const began = !shown && sending
        if (!began) keep()
        shown = model.get("session")
        if (!began) { turns.clear(); replace(talk); recall(); tell(""); follows = true }
      }
      const known = told("turns"), now = told("now")
      const wanted = [...(known ?? []).filter((each) => each.id !== now?.id), ...(now ? [now] : [])]
      const ids = new Set(wanted.map((each) => each.id)), height = log.scrollHeight, top = log.scrollTop
      const first = talk.firstElementChild
      for (const [id, each] of turns) if (!ids.has(id)) { each.element.remove(); turns.delete(id) }
      wanted.forEach((each, index) => {
        if (!turns.has(each.id)) turns.set(each.id, turn({answer: (given) => model.send({answer: given}), may}))
        const part = turns.get(each.id)
        part.update(each, each.id === now?.id ? {writing: told("writing") ?? [], why: model.get("why")} : null, model.get("asking"))
        if (talk.children[index] !== part.element) talk.insertBefore(part.element, talk.children[index] ?? null)
      })
      earlier.hidden = !model.get("earlier")
      const is_new = !!known && !wanted.length
      hello.hidden = !!known && !is_new
      greet(known)
      head()
      state()
      if (follows) to_end()
      else if (first && first.isConnected && first !== talk.firstElementChild) log.scrollTop = top + log.scrollHeight - height
      else if (log.scrollHeight > height) below.hidden = false
    }
    const greet = (known) => {
      if (hello.hidden) return
      const found = (told("agents") ?? []).find((each) => each.name === agent())
      if (!known) return replace(hello, h("p.muted.late", null, "Loading…"))
      if (told("agents") && !found) {
        return replace(hello, h("h2", null, `No agent named ${agent()} is deployed`), h("p.muted", null, "It can be talked to once it is:"),
          h("pre", null, `runtime.deploy(${agent().replace(/\W/g, "_")})`), h("p", null, h("a", {href: `${model.get("base")}/chat`}, "The agents that are deployed")))
      }
      const tools = [...(found?.tools ?? []), ...(found?.agents ?? [])]
      replace(hello, h("h2", null, `Say something to ${agent()}`), h("p.muted", null, found?.description || "What is said here is kept, and it remembers it."),
        tools.length ? h("p.tools", null, tools.slice(0, 12).map((each) => h("span.chip", null, each))) : null)
    }
    const head = () => {
      const agents = told("agents") ?? [], names = agents.map((each) => each.name)
      const list = names.includes(agent()) ? names : [agent(), ...names]
      if (list.join("\n") !== picker.dataset.names) {
        picker.dataset.names = list.join("\n")
        replace(picker, list.map((name) => h("option", {value: name}, name)))
      }
      picker.value = agent()
      const found = agents.find((each) => each.name === agent())
      replace(about, found?.model ?? "")
      send.closest("form").hidden = (!!model.get("agents") && !found) || !may("start")
      fresh.hidden = !may("start")
      reading.hidden = may("start")
      const sessions = told("sessions") ?? []
      replace(others, sessions.map((each) => h("li", null, h("a", {
        href: each.href, "aria-current": each.id === shown ? "page" : null, title: each.title, onclick: keep,
      }, h("span.cut", null, each.title), h("time.muted", null, words.since(each.at))))),
      sessions.length ? null : h("li.muted.none", null, "No conversation yet"))
    }

    field.addEventListener("input", () => { grow(); keep(); tell(""); state() })
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); say() }
      else if (event.key === "Escape") field.blur()
    })
    for (const name of ["turns", "now", "writing", "why", "asking", "session", "agents", "sessions", "earlier", "may"]) model.on(`change:${name}`, soon)
    model.on("change:taken", answered)
    const clock = setInterval(() => { for (const each of turns.values()) each.tick() }, 1000)
    recall()
    draw()
    if ("ready" in document.body.dataset) field.focus({preventScroll: true})  // not in a cell
    return () => clearInterval(clock)
  },
}

// One message of the person and what the agent made of it. Parts that stay the same are not touched: they may be unfolded.
function turn({answer, may}) {
  const prompt = h("div.prompt", null)
  const body = h("div.items"), now = h("div.writing"), why = h("div.notice", {role: "status", hidden: true}), foot = h("div.foot.muted")
  const element = h("article.turn", null, prompt, body, now, why, foot)
  const parts = []
  let since = 0, waits = null
  const update = (given, live, asking) => {
    element.dataset.run = given.id
    element.dataset.status = given.status
    if (prompt.textContent !== given.prompt) replace(prompt, given.prompt)
    let who = ""
    given.items.forEach((item, index) => {
      const names = item.who && item.who !== who ? item.who : ""
      who = item.who ?? who
      const print = JSON.stringify([item, names, item.kind === "request" ? asking[item.id] : null])
      const part = parts[index]
      if (part?.print === print) return
      if (part?.kind === item.kind && part.refresh) { part.refresh(item, asking[item.id]); part.print = print; return }
      const made = {...PARTS[item.kind](item, names, (value) => answer({request: item.id, value}), may), kind: item.kind, print}
      made.refresh?.(item, asking[item.id])
      part ? part.element.replaceWith(made.element) : body.append(made.element)
      parts[index] = made
    })
    for (const part of parts.splice(given.items.length)) part.element.remove()
    speak(live?.writing ?? [], who)
    since = live && !live.writing.length && !asks(given) ? given.since ?? Date.now() : 0
    if (!since && waits) { waits.remove(); waits = null }
    const held = live?.why?.sentence
    why.hidden = !held
    replace(why, held ? [h("strong", null, live.why.sentence), " ", live.why.remedy] : [])
    const facts = live ? [] : [
      given.status === "COMPLETED" ? null : status(given.status, given.status === "TERMINATED" ? "Stopped" : undefined),
      given.duration === null ? null : words.duration(given.duration),
      given.tokens ? `${words.count(given.tokens)} tokens` : null,
      given.cost || given.costUnknown ? words.money(given.cost, given.costUnknown) : null,
    ].filter(Boolean)
    replace(foot, facts.map((fact) => h("span", null, fact)), h("a", {href: given.href}, "Run ", given.id.slice(-8)))
    tick()
  }
  const speak = (writing, who) => {
    while (now.children.length > writing.length) now.lastChild.remove()
    writing.forEach((each, index) => {
      const held = now.children[index] ?? now.appendChild(h("div.words", null, h("div.who", {hidden: true}), h("div.rich")))
      held.firstChild.hidden = !each.who || each.who === who
      replace(held.firstChild, each.who)
      if (held.lastChild.dataset.text !== each.html) { held.lastChild.innerHTML = each.html; held.lastChild.dataset.text = each.html }
    })
  }
  const tick = () => {
    if (!since) return
    if (!waits) { waits = h("div.waits.muted", {role: "status"}, h("i", {"aria-hidden": "true"}), h("span")); now.before(waits) }
    const ago = Date.now() - since
    replace(waits.lastChild, ago > 3000 ? words.duration(Math.floor(ago / 1000) * 1000) : "")
    waits.lastChild.hidden = ago <= 3000
  }
  return {element, update, tick}
}

const PARTS = {
  words: (item, who) => ({element: h("div.words", {"data-cut": item.cut}, who && h("div.who", null, who), rich(item.html))}),
  heard: (item) => ({element: h("div.words.heard", null, h("div.who", null, item.who), rich(item.html))}),
  value: (item, who) => ({element: h("div.words", null, who && h("div.who", null, who), tree(item.value, 2))}),
  note: (item) => ({element: h("div.note", null, item.text)}),
  error: (item) => ({element: h("div.error", {role: "alert"}, item.text)}),
  call: (item, who) => {
    const result = h("span.result.muted"), came = h("div.came")
    const inside = h("div.inside", null, h("h3", null, "Arguments"), whole(item.args ?? {}), came)
    const line = h("summary", null, h("span.sign", {"aria-hidden": "true"}), h("strong", null, item.name), " ", h("span.muted", null, brief(item.args ?? {}, 80)), " ", result)
    const details = h("details.call", {"data-call": item.name}, line, inside)
    const element = who ? h("div", null, h("div.who", null, who), details) : details
    const refresh = (given) => {
      details.dataset.state = given.state
      replace(result, given.state === "open" ? "…" : given.state === "cut" ? "→ not finished" : `→ ${brief(given.result, 100)}`)
      replace(came, given.state === "open" || given.state === "cut" ? [] : [h("h3", null, given.state === "failed" ? "Error" : "Result"), whole(given.result)])
    }
    return {element, refresh}
  },
  // The card has a model of its own here; what is typed into it stays when the rest changes.
  request: (item, who, answer, may) => {
    const heard = {}, values = {request: {}, decision: null, busy: false, error: "", note: "", answer: null, locked: may("answer") ? "" : "To answer takes the right to answer, which you do not have."}
    const element = h("div.asks", {"data-asks": item.id})
    const set = (name, value) => {
      if (JSON.stringify(values[name]) === JSON.stringify(value)) return
      values[name] = value
      for (const callback of heard[`change:${name}`] ?? []) callback()
    }
    const card = {
      get: (name) => values[name],
      set: (name, value) => { values[name] = value; if (name === "answer") answer(value.answer) },
      save_changes() {},
      on(event, callback) { (heard[event] ??= []).push(callback) },
      off() {},
    }
    const refresh = (given, how) => {
      if (!given.request) return
      if (!element.childNodes.length) { values.request = given.request; values.decision = given.decision; INSIDE.render({model: card, el: element}) }
      set("request", given.decision ? given.request : values.request)
      set("decision", given.decision)
      set("busy", !!how?.busy)
      set("error", how?.error ?? "")
    }
    return {element, refresh}
  },
}

function choice(agents, base) {
  const title = h("h1", null, "Chat")
  if (!agents) return [title, h("p.muted.late", null, "Loading…")]
  if (!agents.length) {
    return [title, h("div.empty", null, h("strong", null, "No agent is deployed"), "A deployed agent can be talked to here:",
      h("pre", null, "from agentspan.agents import Agent, AgentRuntime\n\nagent = Agent(\"helper\", \"openai/gpt-4o-mini\")\nAgentRuntime().deploy(agent)"))]
  }
  return [title, h("p.muted.lead", null, "Whom do you want to talk to?"), h("ul.whom", null, agents.map((each) => {
    const parts = [...(each.agents ?? []), ...(each.tools ?? [])]
    return h("li", null, h("a", {href: `${base}/chat/${encodeURIComponent(each.name)}`, "data-agent": each.name},
      h("strong.cut", {title: each.name}, each.name), h("span.said", null, each.description || (parts.length ? `With ${words.short(parts.join(", "), 90)}` : "")), h("span.muted.cut", null, each.model ?? "")))
  }))]
}

// Whether a turn waits for a person.
const asks = (turn) => turn.items.some((item) => item.kind === "request" && item.request && !item.decision)

// A value in one line.
const brief = (value, length) => words.short(typeof value === "string" ? value : value && typeof value === "object" && !Array.isArray(value)
  ? Object.entries(value).map(([key, each]) => `${key}: ${typeof each === "string" ? each : JSON.stringify(each)}`).join(", ") : JSON.stringify(value), length)

// A value with all that is in it, an object by its names.
function whole(value) {
  if (typeof value === "string") return h("pre", null, value)
  const entries = value && !Array.isArray(value) && typeof value === "object" ? Object.entries(value) : []
  return entries.length ? h("div", null, entries.map(([key, each]) => tree(each, 1, key))) : tree(value, 2)
}

// HTML that `drawing.markdown` made: it lets no markup of the text through.
function rich(html) {
  const element = h("div.rich")
  element.innerHTML = html
  return element
}
