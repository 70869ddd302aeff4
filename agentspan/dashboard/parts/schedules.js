// The schedules of an agent: when each is next, what can be done to it, and the form that makes or changes one.
//
// schedules: [{name, brief, cron, zone, moments, last, lastHref, paused, problem, prompt, version, overlap, ...}], taken: names of other agents' ones,
// preview: {cron, zone, moments, error, field}, saved: counts what was kept, problem: {field, text}, agent, versions: numbers.
// It sends {do: pause|resume|run|delete, name}, {preview: {cron, zone}} and {save: {...}}.

const OVERLAPS = {skip: "leave the new one out", allow: "let both run", cancel_running: "cancel the one before"}

export default {
  render({model, el}) {
    const list = h("div"), next = h("div.moments", {"aria-live": "polite"})
    let armed = "", open = false, edited = ""
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC"
    const zones = h("datalist", {id: `zones-${Math.random().toString(36).slice(2)}`}, ["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])].map((value) => h("option", {value})))
    const name = entry({name: "name", label: "Name", required: "A schedule needs a name.", placeholder: "every-morning"})
    const cron = entry({name: "cron", label: "When", required: "Say when, such as 0 9 * * 1-5.", placeholder: "0 9 * * 1-5", hint: "minute hour day month weekday, or @daily"})
    const zone = entry({name: "zone", label: "Time zone", required: "Name a time zone, such as UTC.", value: own, list: zones.id})
    const prompt = entry({name: "prompt", label: "Prompt", kind: "text", rows: 3, required: "There is nothing to run on: give a prompt."})
    const select = (label, options) => {
      const input = h("select", {"aria-label": label}, options.map(([value, text]) => h("option", {value}, text)))
      return {input, element: h("label.entry", null, h("span", null, label), input)}
    }
    const version = select("Version to run", [["", "the latest"]])
    const overlap = select("While the run before has not ended", Object.entries(OVERLAPS))
    const fields = [name, cron, zone, prompt]
    const keep = h("button.primary", {type: "submit"}, "Keep")
    const problem = h("div.error", {role: "alert", hidden: true})
    const heading = h("h2")
    const form = h("form.schedule", {novalidate: true, "aria-label": "Schedule", onsubmit: (event) => { event.preventDefault(); submit() }},
      heading, h("div.two", null, name.element, h("div.pairof", null, cron.element, zone.element)), next, prompt.element,
      h("div.two", null, version.element, overlap.element), problem,
      h("div.line", null, keep, h("button", {type: "button", onclick: () => turn(false)}, "Not now")), zones)
    const begin = h("button.primary", {onclick: () => { fill(null); turn(true) }}, "New schedule")

    const turn = (on) => {
      open = on
      form.hidden = !on
      begin.hidden = on || !may("schedule")
      list.hidden = on && !model.get("schedules").length
      if (on) name.input.disabled ? cron.input.focus() : name.input.focus()
    }
    const fill = (each) => {
      edited = each?.name ?? ""
      replace(heading, edited ? `Change ${each.brief}` : "New schedule")
      name.input.value = each?.brief ?? ""
      name.input.disabled = Boolean(edited)
      cron.input.value = each?.cron ?? ""
      zone.input.value = each?.zone ?? own
      prompt.input.value = each?.prompt ?? ""
      prompt.mayBeEmpty = Boolean(each?.hasMore)
      version.input.value = each?.version ?? ""
      overlap.input.value = each?.overlap ?? "skip"
      for (const field of fields) field.tell("")
      problem.hidden = true
      ask()
    }
    const required = prompt.read
    prompt.read = () => prompt.mayBeEmpty && !prompt.input.value.trim() ? "" : required()

    const submit = () => {
      const given = gathered(fields)
      previewed()
      if (!given || form.querySelector("[aria-invalid]")) return form.querySelector("[aria-invalid]")?.focus()
      const whole = edited || `${model.get("agent")}-${given.name}`
      if (!edited && model.get("schedules").some((each) => each.name === whole || each.name === given.name)) return wrong(name, "There is a schedule of this name: change that one.")
      if (!edited && model.get("taken").includes(whole)) return wrong(name, "A schedule of another agent has this name.")
      problem.hidden = true
      model.send({save: {...given, name: whole, version: version.input.value ? Number(version.input.value) : null, overlap: overlap.input.value}})
    }
    const wrong = (field, text) => { field.tell(text); field.input.focus() }

    let later = 0
    const ask = () => {
      clearTimeout(later)
      const wanted = {cron: cron.input.value.trim(), zone: zone.input.value.trim()}
      if (!wanted.cron || !wanted.zone) return replace(next)
      later = setTimeout(() => model.send({preview: wanted}), 200)
    }
    cron.input.addEventListener("input", ask)
    zone.input.addEventListener("input", ask)
    const previewed = () => {
      const {cron: said, zone: where, moments, error, field} = model.get("preview")
      if (said !== cron.input.value.trim() || where !== zone.input.value.trim()) return
      replace(next, error ? null : [h("span.muted", null, "Next: "), moments.length ? moments.map((at) => h("span.chip", {title: new Date(at).toISOString()}, moment(at, where))) : "never"])
      if (error) (field === "zone" ? zone : cron).tell(error)
    }
    const refused = () => {
      const {field, text} = model.get("problem")
      const at = fields.find((each) => each.name === field)
      if (text && at) return wrong(at, text)
      problem.hidden = !text
      replace(problem, text ?? "")
    }

    const act = (what, label, each, kind) => h(`button${kind ?? ""}`, {"data-focus": `${what} ${each.name}`, "aria-label": `${label} ${each.brief}`, onclick: () => model.send({do: what, name: each.name})}, label)
    const may = (action) => model.get("may").includes(action)
    const actions = (each) => !may("schedule") ? (may("start") ? act("run", "Run now", each) : null) : armed === each.name
      ? [h("span.muted", null, "Runs that it began go on. "), h("button.danger", {"data-confirm": each.name, onclick: () => { armed = ""; model.send({do: "delete", name: each.name}) }}, "Delete"), " ", h("button", {onclick: () => { armed = ""; draw() }}, "Keep it")]
      : [may("start") ? act("run", "Run now", each) : null, " ", each.paused ? act("resume", "Resume", each) : act("pause", "Pause", each), " ",
        h("button", {"aria-label": `Change ${each.brief}`, "data-focus": `change ${each.name}`, onclick: () => { fill(each); turn(true) }}, "Change…"), " ",
        h("button", {"aria-label": `Delete ${each.brief}`, "data-focus": `delete ${each.name}`, onclick: () => { armed = each.name; draw(); list.querySelector("[data-confirm]").focus() }}, "Delete…")]
    const when = (each) => each.paused ? h("span.status", {"data-status": "PAUSED"}, "paused")
      : each.moments.length ? h("div", {title: each.moments.map((at) => moment(at, each.zone)).join("\n")}, h("b", null, moment(each.moments[0], each.zone)), h("div.muted", {"data-until": each.moments[0]}, until(each.moments[0])))
      : h("span.muted", null, "never again")
    const draw = () => {
      const kept = model.get("schedules")
      const focused = list.getRootNode().activeElement?.getAttribute?.("data-focus")
      version.input.replaceChildren(...[["", "the latest"], ...model.get("versions").map((each) => [each, `always v${each}`])].map(([value, text]) => h("option", {value, selected: String(value) === version.input.value}, text)))
      list.hidden = open && !kept.length
      begin.hidden = open || !may("schedule")
      replace(list, kept.length
        ? h("div.scroll", null, h("table.plans", {"aria-label": "Schedules"},
          h("thead", null, h("tr", null, ["Schedule", "When", "Next run", "Last run", ""].map((each) => h("th", {scope: "col"}, each)))),
          h("tbody", null, kept.map((each) => [h("tr", {"data-id": each.name},
            h("td.cut.grows", {title: each.prompt || each.name}, h("b", null, each.brief), each.prompt ? h("div.muted.cut", null, each.prompt) : null),
            h("td", null, h("code", null, each.cron), h("div.muted", null, each.zone, each.version ? ` · v${each.version}` : "")),
            h("td.when", null, when(each)),
            h("td.when", null, each.last ? each.lastHref ? h("a", {href: each.lastHref}, words.since(each.last)) : words.since(each.last) : h("span.muted", null, "none yet")),
            h("td.number.acts", null, actions(each))),
            each.problem ? h("tr", null, h("td", {colspan: 5}, h("div.error", null, each.problem))) : null]))))
        : h("div.empty", null, h("strong", null, "Nothing is scheduled"), "A schedule starts this agent by itself: every morning, every ten minutes, on the first of a month."))
      if (focused) list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus()
    }
    const clock = setInterval(() => { for (const each of list.querySelectorAll("[data-until]")) each.textContent = until(Number(each.dataset.until)) }, 1000)
    for (const each of ["schedules", "versions", "may"]) model.on(`change:${each}`, draw)
    model.on("change:preview", previewed)
    model.on("change:problem", refused)
    model.on("change:saved", () => { turn(false); begin.focus() })
    form.hidden = true
    draw()
    el.append(list, h("div.begin", null, begin), form)
    return () => { clearInterval(clock); clearTimeout(later) }
  },
}

// "Mon 23 Nov, 09:00" where the schedule lives.
function moment(at, zone) {
  const form = {weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"}
  try { return new Date(at).toLocaleString("en-GB", {...form, timeZone: zone}) } catch { return new Date(at).toLocaleString("en-GB", {...form, timeZone: "UTC"}) }
}

const until = (at) => at <= Date.now() ? "now" : `in ${words.duration(at - Date.now()).replace(/(?<=\d (min|h|d)) \d+ (s|min|h)$/, "")}`
