// The form that starts a run of a deployed agent. It sends {start: {prompt, sessionId, media, context, budget}}, checked.
//
// version: the number that is started; busy; problem: what the server has against it; unserved: tools that no worker takes now.

const LIMITS = [["cost", "Money", "any", "US dollars"], ["tokens", "Tokens", "1"], ["modelCalls", "Model calls", "1"], ["toolCalls", "Tool calls", "1"], ["seconds", "Seconds", "any"]]

export default {
  render({model, el}) {
    const prompt = entry({name: "prompt", label: "Prompt", kind: "text", rows: 5, hint: "What the agent is to do.", required: " "})
    const session = entry({name: "sessionId", label: "Session", hint: "Runs of one session share its conversation."})
    const media = entry({name: "media", label: "Media", kind: "lines", placeholder: "https://…", hint: "Images or files by their address, one a line."})
    const context = entry({name: "context", label: "Context", kind: "json", rows: 4, placeholder: '{"order": 17}', hint: "The state that the run begins with: a JSON object."})
    const limits = LIMITS.map(([name, label, step, about]) => entry({name, label, kind: "number", min: 0, step, placeholder: about ?? "no limit"}))
    const fields = [prompt, session, media, context]
    prompt.read = () => prompt.input.value.trim() ? prompt.input.value : undefined

    const problem = h("div.error", {role: "alert", hidden: true})
    const warning = h("p.notice", {hidden: true, role: "status"})
    const go = h("button.primary", {type: "submit"}, "Start")
    const budget = h("fieldset.limits", null, h("legend", null, "Budget", h("span.muted", null, " optional")), limits.map((each) => each.element))
    const more = h("details", null, h("summary", null, "Session, media, context and budget"), h("div.fields", null, h("div.two", null, session.element, media.element), context.element, budget))
    const form = h("form.startform", {
      novalidate: true, "aria-label": "Start a run",
      onsubmit: (event) => { event.preventDefault(); submit() },
      onkeydown: (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit() } },
    }, prompt.element, more, warning, problem, h("div.line", null, go, h("span.muted", null, "The run opens as it begins. Ctrl+Enter starts it from the prompt.")))

    const submit = () => {
      if (model.get("busy")) return
      const given = gathered(fields), limit = gathered(limits)
      if (!given || !limit) { more.open = true; return form.querySelector("[aria-invalid]")?.focus() }
      if (!given.prompt && !given.media && !given.context) {
        prompt.tell("There is nothing to run on: give a prompt, media or a context.")
        return prompt.input.focus()
      }
      if (Object.keys(limit).length) given.budget = limit
      model.send({start: given})
    }
    const state = () => {
      const busy = model.get("busy"), unserved = model.get("unserved")
      go.disabled = busy
      replace(go, busy ? "Starting…" : `Start v${model.get("version")}`)
      problem.hidden = !model.get("problem")
      replace(problem, model.get("problem"))
      warning.hidden = !unserved.length
      replace(warning, `No worker takes ${unserved.slice(0, 5).join(", ")}${unserved.length > 5 ? ` and ${unserved.length - 5} more` : ""} now. A run that calls `,
        unserved.length === 1 ? "it" : "them", " waits until a process serves this agent: ", h("code", null, "runtime.serve(agent)"), ".")
    }
    for (const each of ["busy", "problem", "version", "unserved"]) model.on(`change:${each}`, state)
    state()
    el.append(form)
  },
}
