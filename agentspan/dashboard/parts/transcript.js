// What was said and called in a run, in its order, as in a chat: calls fold, answers grow while they are written.

const SHOWN = 400

function transcript({select}) {
  const body = h("div.talk")
  const earlier = h("button.earlier", {hidden: true})
  const now = h("div.now")
  const element = h("div.transcript", {role: "log", "aria-label": "Transcript"}, earlier, body, now)
  let lines = [], prompt = "", from = 0, said = new Map(), calls = new Map(), drawn = 0, last = "", trouble = ""

  const update = (given) => {
    prompt = given.prompt ?? prompt
    if (given.lines) { lines = given.lines; from = Math.max(0, lines.length - SHOWN); restart() }
    else if (given.more) { lines = lines.concat(given.more); draw() }
  }
  const restart = () => {
    replace(body)
    calls = new Map(); last = ""; trouble = ""; drawn = from
    earlier.hidden = !from
    replace(earlier, `${words.count(from)} earlier`)
    if (!from && prompt) body.append(bubble("user", "prompt", h("pre", null, prompt)))
    draw()
  }
  const draw = () => {
    for (; drawn < lines.length; drawn += 1) {
      const line = lines[drawn]
      if (line.type === "message") { said.delete(line.executionId); speak() }
      const shown = entry(line)
      if (shown) body.append(shown)
    }
    if (!body.childNodes.length) body.append(h("div.empty", null, h("strong", null, "Nothing said yet"), "What the agents say and call appears here."))
  }
  const entry = (line) => {
    const who = line.path?.at(-1) ?? ""
    if (line.type !== "error") trouble = ""
    switch (line.type) {
      case "message": return bubble("assistant", who, said_by(line), line)
      case "user_message": return bubble("user", line.sender ?? "message", said_by(line), line)
      case "tool_call": {
        const result = h("span.result.muted", null, "…")
        const inside = h("div.inside", null, h("h3", null, "Arguments"), tree(line.args ?? {}, 2))
        const details = h("details.toolcall", {"data-seq": line.id}, h("summary", null, h("strong", null, line.toolName), " ", h("span.muted", null, words.short(JSON.stringify(line.args ?? {}), 90)), " ", result), inside)
        calls.set(`${line.executionId}/${line.callId}`, {details, result, inside})
        return details
      }
      case "tool_result": {
        const call = calls.get(`${line.executionId}/${line.callId}`)
        const bad = line.result && typeof line.result === "object" && "error" in line.result
        if (!call) return h("div.mark", null, `${line.toolName}: ${words.short(words.json(line.result), 160)}`)
        replace(call.result, `→ ${words.short(typeof line.result === "string" ? line.result : JSON.stringify(line.result), 120)}`)
        call.result.classList.toggle("bad", bad)
        call.inside.append(h("h3", null, "Result"), typeof line.result === "string" ? h("pre", null, line.result) : tree(line.result, 2))
        return null
      }
      case "handoff": return mark_of(`${line.target} begins`, line)
      case "speaker": return mark_of(`${line.target} is next`, line)
      case "waiting": return mark_of(line.pendingTool?.tool_name ? `waits for a person: ${line.pendingTool.tool_name}` : "paused", line, "WAITING")
      case "guardrail_fail": return mark_of(`guardrail ${line.guardrailName} said ${line.verdict}: ${line.content ?? ""}`, line, "FAILED")
      case "error":
        if (trouble && String(line.content).endsWith(trouble)) return null
        trouble = String(line.content)
        return h("div.error", {"data-seq": line.id}, line.content, " ", open(line))
      case "done": return mark_of("completed", line, "COMPLETED")
      case "context_condensed": return mark_of(`context condensed: ${line.messagesBefore} messages to ${line.messagesAfter}`, line)
      case "model_switched": return mark_of(`goes on with ${line.target}: ${line.content ?? ""}`, line)
      case "step": return mark_of(`${line.target}: ${line.content ?? ""}`, line)
      default: return null
    }
  }
  const bubble = (role, who, inside, line) => {
    const is_same = role === "assistant" && last === who
    last = role === "assistant" ? who : ""
    return h("div.bubble", {"data-role": role}, is_same ? null : h("div.role", null, who || role, line ? open(line) : null), inside)
  }
  const mark_of = (text, line, tone) => { last = ""; return h("div.mark", {"data-status": tone}, h("span", null, text), " ", open(line)) }
  const open = (line) => h("button.open", {title: "Look into this step", "aria-label": `Look into event ${line.id}`, onclick: () => select(line.id)}, `#${line.id}`)
  const speak = () => replace(now, [...said.entries()].map(([, text]) => h("div.bubble.writing", {"data-role": "assistant"}, h("pre", null, text))))

  earlier.addEventListener("click", () => { from = Math.max(0, from - SHOWN); restart() })
  return {
    element, update,
    words(execution, text) { said.set(execution, (said.get(execution) ?? "") + text); speak() },
    over() { said.clear(); speak() },
  }
}

const said_by = (line) => line.html ? rich(line.html) : h("pre", null, line.content ?? "")

// HTML that `drawing.markdown` made: it lets no markup of the text through.
function rich(html) {
  const element = h("div.rich")
  element.innerHTML = html
  return element
}
