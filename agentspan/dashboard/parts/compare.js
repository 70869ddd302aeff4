// Two runs side by side: what each took, where they first differ, and their steps in pairs.

export default {
  render({model, el}) {
    const link = (path, query) => {
      const asked = new URLSearchParams(Object.entries(query ?? {}).filter(([, value]) => value)).toString()
      return model.get("base") + path + (asked ? `?${asked}` : "")
    }
    const body = h("div.compare")
    let only = true, list = null

    const draw = () => {
      list?.end()
      list = null
      const given = model.get("data") ? JSON.parse(model.get("data")) : null
      if (!given) return replace(body, h("div.loading.muted", null, "Loading…"))
      replace(body, given.problem ? h("div.error", {role: "alert"}, given.problem) : null, given.comparison ? sides(given.comparison) : picker(given))
    }

    // Choosing

    const picker = (given) => {
      const first = h("input", {id: "run-a", value: given.a ?? "", placeholder: "id of a run", "data-pick": "a"})
      const second = h("input", {id: "run-b", value: given.b ?? "", placeholder: "id of another run", "data-pick": "b"})
      const form = h("form.pick", null, h("label", {for: "run-a"}, "One run", first), h("label", {for: "run-b"}, "The other", second), h("button.primary", {type: "submit"}, "Compare"))
      form.addEventListener("submit", (event) => { event.preventDefault(); model.send({a: first.value.trim(), b: second.value.trim()}) })
      return [form, given.others?.length ? h("section", null, h("h2", null, given.a ? "Compare with" : "Begin with"), h("table", null,
        h("thead", null, h("tr", null, ["Run", "", "State", "Began"].map((name) => h("th", {scope: "col"}, name)))),
        h("tbody", null, given.others.map((each) => h("tr", null,
          h("td", null, h("a", {href: link("/compare", given.a ? {a: given.a, b: each.id} : {a: each.id}), "data-other": each.id}, h("strong", null, each.agentName), " ", h("code", null, brief_id(each.id)))),
          h("td.muted", null, each.relation), h("td", null, status(each.status)), h("td", null, words.since(each.startTime)))))))
        : given.a ? h("div.empty", null, h("strong", null, "No other run of this agent"), "Fork this one at a step, or give the id of another run.") : null]
    }

    // Side by side

    const sides = (found) => {
      const {a, b} = found
      const firsts = found.firstDifference
      return [
        h("div.pair", null, side("A", a), side("B", b), h("a.button", {href: link("/compare", {a: b.executionId, b: a.executionId})}, "Swap"), h("a.button", {href: link("/compare", {a: a.executionId})}, "Another run")),
        h("div.scroll", null, h("table.deltas", null,
          h("thead", null, h("tr", null, h("th"), MEASURES.map(([, name]) => h("th.number", {scope: "col"}, name)))),
          h("tbody", null, taken("A", a), taken("B", b), h("tr", null, h("th", {scope: "row"}, "Difference"), MEASURES.map((each) => delta(each, a, b)))))),
        found.same ? h("p.note", {"data-same": true}, status("COMPLETED", "Every step is the same.")) : null,
        firsts ? difference(found, firsts) : null,
        found.definition.length ? h("details.definition", null, h("summary", null, `The agents differ in ${found.definition.length} ${found.definition.length === 1 ? "place" : "places"}`), changes(found.definition)) : null,
        h("div.pair.results", null, result("A ended with", a), result("B ended with", b)),
        steps(found),
      ]
    }
    const side = (letter, run) => h("a.side", {href: link(`/runs/${run.executionId}`), title: run.executionId}, h("span.letter", null, letter), h("strong.cut", null, run.agentName), h("code", null, brief_id(run.executionId)), status(run.status))
    const taken = (letter, run) => h("tr", null, h("th", {scope: "row"}, letter), MEASURES.map(([key, , kind, unknown]) => h("td.number", null, words[kind](run[key], unknown && run.costUnknown))))
    const delta = ([key, , kind], a, b) => {
      const more = b[key] - a[key]
      const sign = more > 0 ? "+" : "−"
      return h(`td.number${more ? "" : ".muted"}`, {"data-delta": key}, more ? `${sign}${words[kind](Math.abs(more))}` : "same", more && a[key] ? h("span.muted", null, ` ${sign}${Math.abs(100 * more / a[key]).toFixed(0)}%`) : null)
    }
    const result = (title, run) => h("section", null, h("h3", null, title), h("pre", null, words.short(run.result || run.finishReason || "nothing", 3000)))
    const difference = (found, at) => h("section.first", {"data-first": true},
      h("h2", null, "First difference"),
      h("p", null, `${at.kind.replaceAll("_", " ")}${at.name ? ` ${at.name}` : ""} of ${at.agent}${at.turn ? `, turn ${at.turn}` : ""} `,
        at.aSeq ? h("a.chip", {href: link(`/runs/${found.a.executionId}`, {step: at.aSeq})}, `A #${at.aSeq}`) : h("span.chip", null, "not in A"), " ",
        at.bSeq ? h("a.chip", {href: link(`/runs/${found.b.executionId}`, {step: at.bSeq})}, `B #${at.bSeq}`) : h("span.chip", null, "not in B")),
      changes(at.changes), at.messages.length ? [h("h3", null, "What the model was shown"), changes(at.messages)] : null)
    const changes = (found) => found.length ? [change_table(found.slice(0, FEW)), found.length > FEW ? h("details", null, h("summary", null, `${found.length - FEW} more`), change_table(found.slice(FEW, 200))) : null] : null
    const change_table = (found) => h("table.changes", null, h("thead", null, h("tr", null, ["Where", "A", "B"].map((name) => h("th", {scope: "col"}, name)))),
      h("tbody", null, found.map((each) => { const [one, other] = marked(each.before, each.after); return h("tr", null, h("td", null, h("code", null, each.path || "all")), h("td.gone", null, one), h("td.new", null, other)) })))

    const steps = (found) => {
      const toggle = h("button", {"aria-pressed": String(only), "data-only": "different"}, "Differences only")
      const tally = h("span.muted.tally")
      const holder = h("div")
      const fill = () => {
        const rows = found.rows.map((row, index) => ({key: `c${index}`, print: "", row})).filter((each) => !only || !each.row.same)
        toggle.setAttribute("aria-pressed", String(only))
        replace(tally, `${words.count(rows.length)} of ${words.count(found.rows.length)} steps${found.shared ? ` · ${words.count(found.shared)} events shared by the fork` : ""}`)
        list.set(rows)
        none.hidden = rows.length > 0
      }
      const none = h("div.empty", {hidden: true}, h("strong", null, "No step differs"))
      list = windowed({height: 30, label: "Steps of both runs", role: "list", item: "listitem", render: ({row}) => line(found, row)})
      toggle.addEventListener("click", () => { only = !only; fill() })
      add(holder, [h("div.tools", null, h("h2", null, "Steps"), toggle, tally), h("div.heads", {"aria-hidden": "true"}, h("span.what", null, "Step"), h("span", null, "A"), h("span", null, "B")), list.element, none])
      fill()
      return holder
    }
    const line = (found, row) => h("div", {"data-same": String(row.same), "data-shared": row.shared, title: [row.a, row.b].filter(Boolean).join("\n⟷\n")},
      h("span.sign", {"aria-label": row.same ? "same" : "different"}, row.same ? row.shared ? "=" : "·" : "≠"), h("span.what.cut", null, h("strong", null, row.name || row.kind.replaceAll("_", " ")), h("span.muted", null, ` ${row.agent}${row.turn ? ` · ${row.turn}` : ""}`)),
      cell(found.a.executionId, row.aSeq, row.a), cell(found.b.executionId, row.bSeq, row.b))
    const cell = (run, seq, text) => text === null ? h("span.cell.muted", null, "–") : h("a.cell.cut", {href: link(`/runs/${run}`, {step: seq})}, text || "…")

    model.on("change:data", draw)
    draw()
    el.append(body)
    return () => list?.end()
  },
}

const FEW = 6

const MEASURES = [
  ["ms", "Time", "duration"], ["cost", "Cost", "money", true], ["promptTokens", "Tokens in", "count"], ["completionTokens", "Tokens out", "count"],
  ["modelCalls", "Model calls", "count"], ["toolCalls", "Tool calls", "count"], ["steps", "Steps", "count"],
]

// Two values with what differs in them marked, where both are text of some length.
function marked(before, after) {
  const [one, other] = [before, after].map((value) => value === null || value === undefined ? null : words.json(value))
  if (one === null || other === null) return [one, other].map((text) => text === null ? h("span.muted", null, "–") : h("pre", null, text))
  let start = 0
  while (start < Math.min(one.length, other.length) && one[start] === other[start]) start += 1
  while (start && /\w/.test(one[start - 1])) start -= 1
  let end = 0
  while (end < Math.min(one.length, other.length) - start && one.at(-1 - end) === other.at(-1 - end)) end += 1
  while (end && /\w/.test(one.at(-end))) end -= 1
  const side = (text) => h("pre", null, text.slice(Math.max(0, start - 200), start), h("mark", null, text.slice(start, text.length - end)), text.slice(text.length - end, text.length - end + 200))
  return [side(one), side(other)]
}
