// What a list of runs is narrowed to: a search, choices with counts, and views that this browser keeps by name.
// query: by the names of the address. It sends {set: {name: value}, typed?} for each change.

const STATES = ["RUNNING", "PAUSED", "COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED"]
const WAITING = {person: "waits for a person", worker: "waits for a worker"}
const RANGES = {"": "any time", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days"}
const KEPT = "agentspan-views"

export default {
  render({model, el}) {
    const set = (change, typed) => model.send({set: change, typed: Boolean(typed)})
    const asked = () => model.get("query")
    const several = (name) => (asked()[name] ?? "").split(",").filter(Boolean)
    const counts = (name) => model.get("facets")[name] ?? {}

    // Search
    let typing
    const search = h("input", {
      type: "search", placeholder: "Search prompts, ids, agents, errors", "aria-label": "Search runs", "data-search": true,
      oninput: () => { clearTimeout(typing); typing = setTimeout(() => { typing = null; set({q: search.value.trim()}, true) }, 250) },
      onkeydown: (event) => { if (event.key === "Escape") { event.stopPropagation(); search.blur() } },
    })

    // Choices
    const chip = (name, word, label, tone) => {
      const count = h("em")
      const button = h("button.choice", {"data-status": tone, "data-filter": `${name}:${word}`, onclick: () => {
        const now = several(name)
        set({[name]: now.includes(word) ? now.filter((each) => each !== word).join(",") : [...(name === "waiting" ? [] : now), word].join(",")})
      }}, label, count)
      const draw = () => {
        const n = counts(name === "waiting" ? "waiting" : "status")[word] ?? 0
        count.textContent = n ? words.count(n) : ""
        button.setAttribute("aria-pressed", several(name).includes(word))
        button.classList.toggle("none", !n)
      }
      return [button, draw]
    }
    const chips = [
      ...STATES.map((word) => chip("status", word, [h("span.mark", {"aria-hidden": "true"}, MARKS[word][0]), MARKS[word][1]], word)),
      ...Object.entries(WAITING).map(([word, label]) => chip("waiting", word, [h("span.mark", {"aria-hidden": "true"}, "◆"), label], "WAITING")),
    ]

    const select = (name, facet, label, every) => {
      const field = h("select", {"aria-label": label, "data-filter": name, onchange: () => set({[name]: field.value})})
      let drawn
      const draw = () => {
        const now = asked()[name] ?? ""
        const found = Object.entries(counts(facet)).sort(([a, m], [b, n]) => n - m || a.localeCompare(b))
        if (now && !found.some(([key]) => key === now)) found.unshift([now, several(name).length > 1 ? null : 0])
        const options = JSON.stringify([now, found])
        if (options === drawn) return
        drawn = options
        replace(field, h("option", {value: ""}, every), found.map(([key, n]) =>
          h("option", {value: key}, n === null ? `${several(name).length} chosen` : `${words.short(key, 40)} (${words.count(n)})`)))
        field.value = now
        field.classList.toggle("set", Boolean(now))
      }
      return [field, draw]
    }
    const range = h("select", {"aria-label": "Time", "data-filter": "range", onchange: () => set({range: range.value, since: "", until: ""})},
      Object.entries(RANGES).map(([value, text]) => h("option", {value}, text)))
    const drawRange = () => {
      const within = asked().since || asked().until
      range.querySelector("[value=span]")?.remove()
      if (within) range.append(h("option", {value: "span"}, spanOf(asked())))
      range.value = within ? "span" : asked().range ?? ""
      range.classList.toggle("set", Boolean(range.value))
    }
    const selects = [
      select("agent", "agentName", "Agent", "all agents"),
      select("model", "model", "Model", "all models"),
      select("finish", "finishReason", "How it ended", "any ending"),
    ]

    // What has no field of its own
    const others = h("span.others")
    const drawOthers = () => replace(others, Object.entries({session: "session", version: "version", cost: "costs at least $"})
      .filter(([name]) => asked()[name])
      .map(([name, label]) => h("button.choice", {"aria-pressed": "true", "aria-label": `Without ${label} ${asked()[name]}`, onclick: () => set({[name]: ""})},
        `${label} ${words.short(asked()[name], 32)}`, h("span", {"aria-hidden": "true"}, "×"))))
    const clear = h("button.plain", {onclick: () => model.send({clear: true})}, "Clear")

    // Views
    const views = h("div.views", {role: "navigation", "aria-label": "Saved views"})
    const naming = h("dialog.naming", {"aria-label": "Save this view"})
    const name = h("input", {required: true, maxlength: 60, "aria-label": "Name", placeholder: "Name of the view"})
    const form = h("form", {method: "dialog", onsubmit: () => {
      keep([...kept().filter((each) => each.name !== name.value.trim()), {name: name.value.trim(), query: line()}])
      draw()
    }}, h("h2", null, "Save this view"), h("p.muted", null, "It is kept in this browser. To share a view, share the address of the page."), name,
    h("div.actions", null, h("button", {type: "button", onclick: () => naming.close()}, "Cancel"), h("button.primary", null, "Save")))
    naming.append(form)
    const save = h("button.plain", {onclick: () => { name.value = ""; naming.showModal(); name.focus() }}, "Save view")
    const line = () => new URLSearchParams(Object.entries(asked()).filter(([key, value]) => value && key !== "cursor" && key !== "page").sort()).toString()
    const drawViews = () => {
      const [all, here] = [kept(), line()]
      views.hidden = !all.length
      replace(views, all.length ? h("a", {href: model.get("here"), "aria-current": here === "" ? "true" : null}, "All runs") : null,
        all.map((view) => h("span", null,
          h("a", {href: `${model.get("here")}?${view.query}`, "aria-current": view.query === here ? "true" : null}, view.name),
          h("button.plain", {"aria-label": `Forget the view ${view.name}`, onclick: () => { keep(kept().filter((each) => each.name !== view.name)); draw() }}, "×"))))
      save.hidden = clear.hidden = !here
      if (all.some((view) => view.query === here)) save.hidden = true
    }

    const draw = () => {
      if (!typing && search.getRootNode().activeElement !== search) search.value = asked().q ?? ""
      for (const [, drawn] of [...chips, ...selects]) drawn()
      drawRange()
      drawOthers()
      drawViews()
    }
    for (const each of ["query", "facets", "here"]) model.on(`change:${each}`, draw)
    const moved = (event) => { if (event.key === KEPT) drawViews() }
    addEventListener("storage", moved)
    el.append(h("div.narrowing", {role: "search"}, views,
      h("div.row", null, search, range, selects.map(([field]) => field), h("span.end", null, save, clear)),
      h("div.row", null, chips.map(([button]) => button), others)), naming)
    draw()
    return () => removeEventListener("storage", moved)
  },
}

function kept() {
  try { return JSON.parse(localStorage.getItem(KEPT)) ?? [] } catch { return [] }
}

function keep(views) {
  try { localStorage.setItem(KEPT, JSON.stringify(views)) } catch { /* a browser that keeps nothing */ }
}

function spanOf({since, until}) {
  const said = (ms) => new Date(Number(ms)).toLocaleString("en-GB", {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit"})
  return since && until ? `${said(since)} – ${said(until)}` : since ? `since ${said(since)}` : `until ${said(until)}`
}
