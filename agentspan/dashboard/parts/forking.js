// The dialog of a fork: what is to be different from an event on, in a new run.

const ANYWHERE = [
  ["model", "Model", "line", "Another model for this agent, such as openai/gpt-5-mini"],
  ["instructions", "Instructions", "text", "Other instructions for this agent"],
  ["prompt", "Prompt", "text", "Another prompt for the run"],
]
const HERE = {
  answer: ["The model's answer", "text"], tool_result: ["The tool's result", "json"], arguments: ["The call's arguments", "json"], output: ["All that the step reported", "json"],
}

function forking({about, root, send, is_over}) {
  const dialog = h("dialog.fork", {"aria-label": "Fork the run"})
  const problem = h("div.error", {hidden: true, role: "alert"})
  const at_of = (step, task, line) => task?.forkAt ?? (line?.forkable ? line.seq : null)
  let busy = null

  const open = (step, task, line) => {
    const at = at_of(step, task, line)
    const edits = (task?.forkEdits ?? line?.edits ?? []).filter((name) => name !== "output" || !(task?.forkEdits ?? line?.edits).some((each) => each === "answer" || each === "tool_result"))
    const who = config(about().agent, task?.path ?? line?.path ?? [])
    const before = {...then(task), model: who?.model ?? "", instructions: typeof who?.instructions === "string" ? who.instructions : "", prompt: String(about().input?.prompt ?? "")}
    const fields = [
      ...edits.filter((name) => HERE[name]).map((name) => field(name, HERE[name][0], HERE[name][1], before[name], "")),
      ...ANYWHERE.map(([name, title, kind, hint]) => field(name, title, kind, before[name], hint)),
    ]
    busy = h("button.primary", {type: "submit", "data-fork": "go"}, "Fork")
    const form = h("form", {method: "dialog"}, fields.map((each) => each.element), problem,
      h("div.line", null, h("span.room"), h("button", {type: "button", onclick: () => dialog.close()}, "Not now"), busy))
    form.addEventListener("submit", (event) => {
      event.preventDefault()
      const edited = {}
      for (const each of fields) {
        try { each.read(edited) } catch (error) { problem.hidden = false; replace(problem, `${each.title}: this is no JSON. ${error.message}`); return }
      }
      problem.hidden = true
      busy.disabled = true
      replace(busy, "Forking…")
      send({fork: {at, edits: edited}})
    })
    replace(dialog, h("h2", null, `Fork at event ${at}`),
      h("p.muted", null, "A new run begins with everything up to here. Nothing of that is done again; what you change below takes its place. This run stays as it is."), form)
    problem.hidden = true
    dialog.showModal()
    fields[0].focus()
  }
  return {
    element: dialog, open,
    can: (step, task, line) => at_of(step, task, line) !== null && at_of(step, task, line) !== undefined,
    refused: () => { if (busy) { busy.disabled = false; replace(busy, "Fork") } },
    close: () => dialog.close(),
  }
}

// A field counts only where it differs from what it began with.
function field(name, title, kind, before, hint) {
  const text = before === undefined || before === null ? "" : typeof before === "string" ? before : JSON.stringify(before, null, 2)
  const id = `fork-${name}`
  const input = kind === "line"
    ? h("input", {id, value: text, placeholder: hint, "data-edit": name})
    : h("textarea", {id, value: text, placeholder: hint, rows: Math.max(2, Math.min(10, text.split("\n").length)), "data-edit": name, spellcheck: "false"})
  const label = h("label", {for: id}, title, h("span.changed", null, "changed"))
  const element = h("div.field", null, label, input)
  input.addEventListener("input", () => element.toggleAttribute("data-changed", input.value !== text))
  return {
    title, element, focus: () => { input.focus(); input.setSelectionRange(0, 0) },
    read(edits) {
      if (input.value === text) return
      edits[name] = kind === "json" ? value_of(input.value, before) : input.value
    },
  }
}

const value_of = (text, before) => typeof before === "string" && !/^\s*[[{]/.test(text) ? text : JSON.parse(text)

// What stood there.
function then(task) {
  if (!task) return {}
  const output = task.output
  const calls = output?.tool_calls ?? output?.toolCalls ?? []
  const called = calls.map((call) => call.function ?? call)
  const named = called.length === 1 ? parsed(called[0].arguments) : Object.fromEntries(called.map((call, place) => [place, parsed(call.arguments)]))
  return {
    output, answer: output?.content ?? "", tool_result: output && typeof output === "object" && Object.keys(output).length === 1 && "result" in output ? output.result : output,
    arguments: called.length ? named : task.input?.arguments ?? task.input,
  }
}

// The definition of the agent at a path of names below the root.
function config(agent, path) {
  let found = agent
  for (const name of path) {
    const inside = [...(found?.agents ?? []), ...(found?.tools ?? []).map((tool) => tool.agent ?? tool.config?.agentConfig).filter(Boolean)]
    found = inside.find((each) => each.name === name)
  }
  return found
}
