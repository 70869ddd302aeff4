// The audit: what narrows it, and each entry with what, who, when, from where, and what became of it.
//
// query: {action, by, subject, since, until}, groups: [[action, name]], entries: [{id, at, by, kind, action, subject, href, address, outcome, detail}],
// known: whether they were read. It sends {set: {name: value}}.

const TONES = {ok: "COMPLETED", refused: "FAILED", begun: "PAUSED"}

export default {
  render({model, el}) {
    const set = (name) => ({target}) => model.send({set: {[name]: target.value.trim()}})
    const group = h("select", {onchange: set("action")}, model.get("groups").map(([value, name]) => h("option", {value}, name)))
    const by = h("input", {type: "search", placeholder: "anybody", onchange: set("by")})
    const subject = h("input", {type: "search", placeholder: "anything", onchange: set("subject")})
    const since = h("input", {type: "date", onchange: set("since")}), until = h("input", {type: "date", onchange: set("until")})
    const fields = {action: group, by, subject, since, until}
    const bar = h("form.auditing", {"aria-label": "Narrow the audit", onsubmit: (event) => event.preventDefault()},
      [["What", group], ["Who", by], ["About", subject], ["From", since], ["To", until]].map(([name, input]) => h("label", null, name, input)))
    const list = h("div")
    const opened = new Set()

    const narrow = () => {
      for (const [name, input] of Object.entries(fields)) if (input !== input.getRootNode().activeElement) input.value = model.get("query")[name] ?? ""
    }
    const detail = ({id, detail}) => {
      const facts = Object.entries(detail).filter(([name]) => name !== "status")
      if (!facts.length) return null
      return h("details", {open: opened.has(id), ontoggle: ({target}) => target.open ? opened.add(id) : opened.delete(id)},
        h("summary.muted", null, facts.map(([name]) => name).join(", ")), h("pre", null, JSON.stringify(detail, null, 2)))
    }
    const line = (each) => h("tr", {"data-id": each.id},
      h("td", null, h("time", {datetime: new Date(each.at).toISOString(), title: new Date(each.at).toISOString()}, words.clock(each.at))),
      h("td", null, each.by || h("span.muted", null, "nobody"), h("span.note", null, each.kind)),
      h("td", null, h("code", null, each.action)),
      h("td.subject", null, each.href ? h("a", {href: each.href}, each.subject) : each.subject, detail(each)),
      h("td", null, h("code.muted", null, each.address || "–")),
      h("td", null, h("span.status", {"data-status": TONES[each.outcome]}, each.outcome === "begun" ? "not concluded" : each.outcome)))
    const draw = () => {
      const entries = model.get("entries")
      if (!model.get("known")) return
      replace(list, entries.length
        ? h("div.scroll", {role: "region", "aria-label": "Audit", tabindex: "0"}, h("table.audit", {"aria-label": "Audit"},
          h("thead", null, h("tr", null, ["When", "Who", "What", "About", "From where", "Outcome"].map((name) => h("th", {scope: "col"}, name)))),
          h("tbody", null, entries.map(line))))
        : h("div.empty", null, h("strong", null, "Nothing of that kind"), "What people and programs decide and change is kept here."))
    }
    model.on("change:query", narrow)
    for (const each of ["entries", "known"]) model.on(`change:${each}`, draw)
    narrow()
    draw()
    el.append(bar, list)
  },
}
