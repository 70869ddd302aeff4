// What waits for people, as a list to walk through: j and k move, a, r and e press the buttons of the card beside it.
//
// items: [{id, kind, title, detail, who, since, deadline, to, href}], selected: id, chosen: [id], more: whether there are more,
// outcome: what became of each in the last action on many. Messages: {select}, {more}, {answer: "approve" | "reject", ids, reason}.

export default {
  render({model, el}) {
    const list = h("ul.asked", {role: "listbox", "aria-label": "Requests", tabindex: "0"})
    const bar = h("div.asking")
    let ahead = ""  // what was moved to, until the page has followed
    const selected = () => ahead || model.get("selected")
    const may = () => model.get("may").includes("answer")
    const choose = (ids) => { model.set("chosen", [...ids]); model.save_changes() }

    const item = (each) => h("li", {role: "option", "data-id": each.id, "aria-selected": String(each.id === selected())},
      each.said || !may() ? null : h("input", {type: "checkbox", "aria-label": `Choose ${each.title} of ${each.who}`, checked: model.get("chosen").includes(each.id),
        onclick: (event) => event.stopPropagation(),
        onchange: (event) => { const ids = new Set(model.get("chosen")); event.target.checked ? ids.add(each.id) : ids.delete(each.id); choose(ids) }}),
      h("a", {href: each.href},
        h("span.first", null, h("b.cut", {title: each.title}, each.title), h("time", {title: new Date(each.since).toISOString()}, words.since(each.since))),
        each.said ? h("span.cut", {style: `color: ${each.said[1]}`}, `${each.said[0]} ${each.said[2]}`) : null,
        h("span.cut.muted", {title: each.detail}, each.detail || each.kind),
        h("span.cut.muted.last", {title: each.who}, each.who, each.to?.length ? h("span.chip", null, `to ${each.to.join(", ")}`) : null,
          each.deadline ? h("span.chip", {"data-deadline": each.deadline}, left(each.deadline)) : null)))

    const draw = () => {
      const items = model.get("items")
      const at = list.scrollTop
      replace(list, items.map(item), model.get("more") ? h("li.more", null, h("button", {onclick: () => model.send({more: true})}, "More…")) : null)
      list.scrollTop = at
      list.hidden = !items.length
      act()
    }
    const act = () => {
      const ids = model.get("chosen"), outcome = model.get("outcome")
      const answer = (word) => () => {
        const reason = word === "reject" ? prompt(`Reject ${ids.length}? The models are told why:`, "") : ""
        if (reason === null || (word === "approve" && !confirm(`Approve ${ids.length} requests as they are?`))) return
        model.send({answer: word, ids, reason})
      }
      replace(bar, ids.length ? [h("span", null, `${ids.length} chosen`), h("button", {onclick: answer("approve")}, "Approve"),
        h("button.danger", {onclick: answer("reject")}, "Reject…"), h("button", {onclick: () => choose([])}, "None")] : null,
        outcome.length ? h("details", {open: outcome.some(({error}) => error)}, h("summary", null, `${outcome.filter(({error}) => !error).length} of ${outcome.length} done`),
          h("ul", null, outcome.map(({title, error}) => h("li", null, `${title}: ${error || "done"}`)))) : null)
      bar.hidden = !ids.length && !outcome.length
    }
    const move = (step) => {
      const items = model.get("items")
      const at = items.findIndex(({id}) => id === selected())
      const next = items[Math.max(0, Math.min(items.length - 1, at + step))]
      if (!next) return
      ahead = next.id
      shift()
      list.querySelector(`[data-id="${CSS.escape(next.id)}"] a`)?.click()
    }
    const press = (event) => {
      const at = event.composedPath()[0]
      if (event.metaKey || event.ctrlKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return
      if (!el.isConnected) return
      const step = {j: 1, k: -1, ArrowDown: at === list ? 1 : 0, ArrowUp: at === list ? -1 : 0}[event.key]
      if (step) { event.preventDefault(); move(step) }
      else if (event.key === "x" && may()) {
        const ids = new Set(model.get("chosen")), id = selected()
        if (id) { ids.has(id) ? ids.delete(id) : ids.add(id); choose(ids) }
      } else if (["a", "r", "e"].includes(event.key)) {
        event.preventDefault()
        answer(event.key, selected(), 40)
      }
    }
    // A key is meant for the request that is selected, whose card may not be there yet.
    const answer = (key, id, patience) => {
      if (id !== selected() || !el.isConnected) return
      const card = find(document, `.asc[data-request="${CSS.escape(id)}"]`)
      if (!card) return patience && setTimeout(() => answer(key, id, patience - 1), 50)
      const button = card.querySelector(`[data-key="${key}"]`)
      if (!button || button.disabled) return
      button.click()
      card.querySelector("textarea, .asc-fields input")?.focus()
    }
    const shift = () => {
      for (const each of list.querySelectorAll("li[data-id]")) each.setAttribute("aria-selected", String(each.dataset.id === selected()))
      list.querySelector('[aria-selected="true"]')?.scrollIntoView({block: "nearest"})
    }
    const tick = setInterval(() => {
      for (const each of list.querySelectorAll("[data-deadline]")) each.textContent = left(+each.dataset.deadline)
    }, 1000)
    document.addEventListener("keydown", press)
    for (const each of ["items", "more", "may"]) model.on(`change:${each}`, draw)
    model.on("change:selected", () => { if (model.get("selected") === ahead) ahead = ""; shift() })
    model.on("change:chosen", draw)
    model.on("change:outcome", act)
    draw()
    el.append(bar, list)
    return () => { clearInterval(tick); document.removeEventListener("keydown", press) }
  },
}

const left = (deadline) => deadline > Date.now() ? `${words.duration(deadline - Date.now())} left` : "deadline passed"
