// One step closely: what it was given and gave, the exact messages of a model call, attempts, logs, the run as it stood.

const LONG = 1500
const FIRST = 2
const LAST = 40

function inspector({close, fork, moment, link, may}) {
  const element = h("section.inspector", {hidden: true, "aria-label": "Selected step"})
  let open = "", step = 0, shown = "", task = null, line = null, hint = null, is_loading = false, state = null, streamed = ""

  const update = (given) => {
    if (given.step !== step) { state = null; streamed = "" }
    ({step, task, line, hint, is_loading} = given)
    element.hidden = !step
    if (step) draw()
  }
  const draw = (is_forced) => {
    const print = JSON.stringify([step, open, task, line, hint, is_loading, state, may.list()])
    if (print === shown && !is_forced) return
    shown = print
    if (is_loading) return replace(element, head())
    const typed = element.querySelector(".pane")?.scrollTop ?? 0
    const held = element.getRootNode().activeElement?.dataset?.pane
    const tabs = task ? tabs_of(task) : {}
    tabs.Moment = () => moment_of(state)
    const name = tabs[open] ? open : Object.keys(tabs)[0]
    if (name === "Moment" && !state) moment(step)
    const pane = h("div.pane", {role: "tabpanel", "aria-label": name}, tabs[name]())
    replace(element, head(), task ? facts(task) : null, task?.error ? h("div.error", null, task.error) : null,
      h("div.tabs", {role: "tablist"}, Object.entries(tabs).map(([key]) => h("button", {
        role: "tab", "aria-selected": String(key === name), "data-pane": key.toLowerCase(), onclick: () => { open = key; draw() },
      }, key, count_of(task, key)))), pane)
    pane.scrollTop = typed
    if (held) element.querySelector(`[data-pane="${held}"]`)?.focus()
    if (streamed) words_of(streamed)
  }
  const who = () => task?.agentName ?? hint?.agent ?? line?.agent
  const head = () => h("header", null,
    h("div.line", null,
      h("h2", null, task ? title_of(task) : hint ? hint.title : line ? told(line.kind) : `Event ${step}`),
      task ? status(task.status) : hint ? status(hint.status) : null,
      h("button.close", {"aria-label": "Close the step", title: "Close (Esc)", onclick: close}, "✕")),
    h("div.line.actions", null,
      h("span.muted", null, `event ${step}${who() ? ` · ${who()}` : ""}${task?.turn ? ` · turn ${task.turn}` : ""}`),
      h("span.room"),
      task?.request && task.request.status === "open" && may("answer") ? h("a.button", {href: link(`/inbox/${task.request.requestId ?? task.taskId}`)}, "Answer") : null,
      task?.childId ? h("a.button", {href: link(`/runs/${task.childId}`)}, "Open alone") : null,
      !is_loading && may("fork") && fork.can(step, task, line) ? h("button", {"data-fork": "open", onclick: () => fork.open(step, task, line)}, "Fork here") : null))

  const words_of = (text) => {
    const said = element.querySelector("[data-streamed]") ?? element.querySelector(".pane")?.appendChild(message({role: "assistant", content: ""}, true))
    if (!said) return
    const body = said.querySelector("pre") ?? said.appendChild(h("pre"))
    body.textContent = text
  }

  return {
    element, update,
    moment(given) { state = given; draw() },
    words(execution, text) {
      if (task && task.endedAt === null && task.kind === "llm" && task.executionId === execution) { streamed += text; words_of(streamed) }
    },
    redraw: () => draw(true),
  }
}

const title_of = (task) => task.kind === "llm" ? task.model || task.name : task.name

function facts(task) {
  const fact = (name, value, title) => value === null || value === undefined || value === "" ? null : h("div", {title}, h("dt", null, name), h("dd", null, value))
  const tokens = task.promptTokens + task.completionTokens
  return h("dl.facts", null,
    fact("Took", task.latencyMs === null || task.latencyMs === undefined ? task.endedAt === null ? "still open" : "–" : words.duration(task.latencyMs)),
    task.queueMs ? fact("In the queue", words.duration(task.queueMs)) : null,
    tokens ? fact("Tokens", `${words.count(task.promptTokens)} in, ${words.count(task.completionTokens)} out`, task.cachedTokens ? `${words.count(task.cachedTokens)} of them cached` : null) : null,
    task.cachedTokens ? fact("Cached", words.count(task.cachedTokens)) : null,
    task.kind === "llm" ? fact("Cost", words.money(task.cost, task.costUnknown)) : null,
    fact("Worker", task.worker ? h("span.cut", {title: task.worker}, task.worker) : ""),
    task.credentials?.length ? fact("Credentials", task.credentials.join(", ")) : null,
    fact("Started", words.clock(task.startedAt || task.scheduledAt), new Date(task.startedAt || task.scheduledAt).toISOString()))
}

function tabs_of(task) {
  const tabs = {}
  if (task.messages) tabs.Messages = () => messages(task)
  else tabs.Call = () => [
    part("Input", task.input), task.endedAt === null ? part_of("Output", h("p.muted", null, "Nothing yet: the step is open.")) : task.error ? null : part("Output", task.output),
  ]
  if (task.tools?.length) tabs.Tools = () => task.tools.map((tool) => {
    const own = tool.function ?? tool
    return h("details", null, h("summary", null, h("strong", null, own.name), " ", h("span.muted", null, words.short(own.description ?? "", 90))), tree(own.parameters ?? own.inputSchema ?? own, 3))
  })
  if (task.attempts?.length > 1) tabs.Attempts = () => h("table.attempts", null,
    h("thead", null, h("tr", null, ["", "State", "Began", "Took", "What was wrong"].map((name) => h("th", null, name)))),
    h("tbody", null, task.attempts.map((each, index) => h("tr", {"aria-current": each.taskId === task.taskId ? "true" : null},
      h("td.number", null, index + 1), h("td", null, status(each.status)), h("td", null, words.clock(each.startedAt || each.scheduledAt)),
      h("td.number", null, each.endedAt ? words.duration(each.endedAt - (each.startedAt || each.scheduledAt)) : "–"), h("td", null, each.error || "–")))))
  if (task.logs?.length) tabs.Logs = () => h("div.logs", null, task.logs.map((each) => h("div", null, h("time", null, words.clock(each.at)), h("pre", null, each.text))))
  tabs.Raw = () => [h("div.line", null, h("span.room"), copier("Copy", () => JSON.stringify(task, null, 2))), h("pre.raw", null, JSON.stringify(task, null, 2))]
  return tabs
}

const count_of = (task, key) => {
  const n = {Messages: task?.messages?.length, Tools: task?.tools?.length, Attempts: task?.attempts?.length, Logs: task?.logs?.length}[key]
  return n ? h("span.muted", null, ` ${n}`) : null
}

const part = (name, value) => part_of(name, value === null || value === undefined ? h("p.muted", null, "Nothing") : typeof value === "string" ? text_of(value) : tree(value, 3))
const part_of = (name, ...inside) => h("div.part", null, h("h3", null, name), inside)

function messages(task) {
  const parameters = Object.entries(task.parameters ?? {}).filter(([, value]) => value !== null && value !== "")
  return [
    parameters.length ? h("p.muted.small", null, parameters.map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(" · ")) : null,
    list_of(task.messages),
    task.endedAt === null ? message({role: "assistant", content: ""}, true) : answer(task.output),
  ]
}

// The first and the last of many messages; those between on demand.
function list_of(messages) {
  if (messages.length <= FIRST + LAST) return messages.map((each) => message(each))
  const between = messages.slice(FIRST, -LAST)
  const more = h("button.more", {onclick: () => more.replaceWith(...between.splice(0).map((each) => message(each)))}, `${words.count(between.length)} messages between`)
  return [messages.slice(0, FIRST).map((each) => message(each)), more, messages.slice(-LAST).map((each) => message(each))]
}

function answer(output) {
  if (!output) return null
  const calls = output.tool_calls ?? output.toolCalls
  return h("div.answer", null, message({role: "answer", content: output.content ?? (calls ? "" : words.json(output)), tool_calls: calls}))
}

function message(each, is_streamed) {
  const calls = each.tool_calls ?? []
  return h("div.message", {"data-role": each.role, "data-streamed": is_streamed},
    h("div.role", null, each.role, each.name ? ` ${each.name}` : "", each.tool_call_id ? h("span.muted", null, ` ${each.tool_call_id}`) : null, is_streamed ? h("span.muted", null, " is being written") : null),
    content_of(each.content),
    calls.map((call) => {
      const own = call.function ?? call
      return h("div.call", null, h("strong", null, own.name), tree(parsed(own.arguments), 2))
    }))
}

function content_of(content) {
  if (content === null || content === undefined || content === "") return null
  if (typeof content === "string") return text_of(content)
  if (!Array.isArray(content)) return tree(content, 2)
  return content.map((piece) => {
    const picture = piece.image_url?.url ?? piece.url
    if (typeof picture === "string" && picture.startsWith("data:image/")) return h("img", {src: picture, alt: "picture in the message"})
    return piece.text !== undefined ? text_of(piece.text) : tree(piece, 2)
  })
}

function text_of(text) {
  const value = parsed(text)
  if (value !== null && typeof value === "object") return tree(value, 2)
  if (text.length <= LONG) return h("pre", null, text)
  const body = h("pre", null, text.slice(0, LONG), "…")
  return h("div", null, body, h("button.more", {onclick: (event) => { body.textContent = text; event.target.remove() }}, `All ${words.count(text.length)} characters`))
}

function parsed(text) {
  if (typeof text !== "string" || !/^\s*[[{]/.test(text)) return text
  try { return JSON.parse(text) } catch { return text }
}

function moment_of(state) {
  if (!state) return h("p.muted", null, "Loading…")
  return [
    h("p.muted.small", null, `Right after event ${state.seq}, ${words.duration(state.elapsedMs)} after the start: ${words.count(state.promptTokens + state.completionTokens)} tokens, ${words.money(state.cost, state.costUnknown)} so far.`),
    Object.keys(state.state ?? {}).length ? part("State", state.state) : null,
    state.pending?.length ? part_of("Open then", state.pending.map((each) => h("div.leaf", null, h("strong", null, each.name), " ", h("span.muted", null, each.kind), Object.keys(each.arguments ?? {}).length ? tree(each.arguments, 1) : null))) : part_of("Open then", h("p.muted", null, "Nothing")),
    part_of("Messages of this agent", state.messages?.length ? list_of(state.messages) : h("p.muted", null, "None yet")),
  ]
}

function copier(name, text) {
  const button = h("button", {onclick: async () => {
    await clip(text())
    replace(button, "Copied")
    setTimeout(() => replace(button, name), 1200)
  }}, name)
  return button
}

// The clipboard is closed to pages that came without encryption from another machine.
async function clip(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text)
  const area = h("textarea", {value: text, style: "position:fixed;opacity:0"})
  document.body.append(area)
  area.select()
  document.execCommand("copy")
  area.remove()
}
