// The line above a list, which stays in sight: how many there are, what is new, and what can be done with the chosen ones.
//
// actions [{key, name, ask, says, reason?, danger?, able}], able: how many of the chosen ones it fits. It sends
// {act: key, reason}, {fresh: true} and {clear: true}; `outcome` [{id, name, href, done, why}] is shown when it is there.

export default {
  render({model, el}) {
    const bar = h("div.overlist")
    const dialog = h("dialog.acting")
    let acting = null

    const draw = () => {
      const n = model.get("chosen")
      bar.classList.toggle("choosing", n > 0)
      bar.toggleAttribute("data-held", model.get("held"))
      const focused = bar.getRootNode().activeElement?.dataset?.act
      replace(bar, n ? choosing(n) : [
        h("span.muted", {"data-summary": true}, model.get("summary")),
        model.get("fresh") ? h("button.pill", {"data-fresh": model.get("fresh"), onclick: () => { if (scroller) scroller.scrollTop = 0; tellTop(true); model.send({fresh: true}) }},
          `↑ ${words.count(model.get("fresh"))} new ${model.get("fresh") === 1 ? "run" : "runs"}`) : null,
      ])
      if (focused) bar.querySelector(`[data-act="${focused}"]`)?.focus()
    }
    const choosing = (n) => [
      h("strong", null, `${words.count(n)} chosen`),
      model.get("actions").map((action) => h(`button${action.danger ? ".danger" : ""}`, {
        "data-act": action.key, disabled: !action.able, onclick: () => ask(action),
        title: action.able && action.able < n ? `${action.able} of ${n}` : null,
      }, action.name)),
      model.get("compare") ? h("a.button", {href: model.get("compare"), "data-act": "compare"}, "Compare") : null,
      h("button", {"data-act": "csv", onclick: () => download("runs.csv", csv(model.get("exported")))}, "Export CSV"),
      h("button.plain", {"data-act": "clear", onclick: () => model.send({clear: true})}, "Clear"),
    ]

    const ask = (action) => {
      acting = action
      const reason = h("input", {"aria-label": "Reason", placeholder: "Reason (optional)", maxlength: 200})
      replace(dialog, h("form", {onsubmit: (event) => {
        event.preventDefault()
        replace(dialog, h("h2", null, action.ask), h("p.muted", {role: "status"}, "Working…"))
        model.send({act: action.key, reason: reason.value.trim()})
      }}, h("h2", null, action.ask), h("p.muted", null, action.says), action.reason ? reason : null,
      h("div.actions", null,
        h("button", {type: "button", onclick: () => dialog.close()}, "Not now"),
        h(`button.primary${action.danger ? ".danger" : ""}`, {"data-act": "confirm"}, action.ask.replace("?", "")))))
      dialog.showModal()
      ;(action.reason ? reason : dialog.querySelector("[data-act=confirm]")).focus()
    }
    const tell = () => {
      const outcome = model.get("outcome")
      if (!outcome.length || !acting) return
      const well = outcome.filter(({done}) => done).length
      replace(dialog, h("h2", null, well === outcome.length ? `${acting.name}: all ${words.count(well)} done` : `${acting.name}: ${words.count(well)} of ${words.count(outcome.length)} done`),
        h("ul.outcome", {"data-outcome": true}, outcome.map(({name, href, done, why}) =>
          h("li", {"data-status": done ? "COMPLETED" : "FAILED"}, h("span.status", null, h("span.mark", {"aria-hidden": "true"}, done ? "✓" : "✕")),
            h("a", {href}, name), h("span.muted", null, done ? "done" : why)))),
        h("div.actions", null, h("button.primary", {onclick: () => dialog.close()}, "Close")))
      if (!dialog.open) dialog.showModal()
      dialog.querySelector(".actions button").focus()
    }
    dialog.addEventListener("click", (event) => { if (event.target.closest("a")) dialog.close() })

    // Whether the page is at its top: new lines may come in there only then. A shadow keeps its scrolling to itself.
    let scroller = null
    const scrolled = (event) => {
      const place = event.target === document ? document.scrollingElement : event.target
      if (!holds(place, bar)) return
      scroller = place
      tellTop(place.scrollTop < NEAR)
    }
    const tellTop = (top) => {
      if (model.get("top") === top) return
      model.set("top", top)
      model.save_changes()
    }
    const roots = []
    const listen = () => {
      if (!bar.isConnected) return void requestAnimationFrame(listen)
      for (let root = bar.getRootNode(); root; root = root.host?.getRootNode()) {
        roots.push(root)
        root.addEventListener("scroll", scrolled, {capture: true, passive: true})
      }
    }
    for (const each of ["summary", "held", "fresh", "chosen", "actions", "compare"]) model.on(`change:${each}`, draw)
    model.on("change:outcome", tell)
    draw()
    el.append(bar, dialog)
    listen()
    return () => { for (const root of roots) root.removeEventListener("scroll", scrolled, {capture: true}) }
  },
}

const NEAR = 48

// Whether an element is somewhere in another, through shadows.
function holds(outer, inner) {
  for (let at = inner; at; at = at.parentNode ?? at.host) if (at === outer) return true
  return false
}

function csv({columns, rows}) {
  return [columns, ...rows].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n"
}

// A cell as spreadsheets read it; one that would be taken for a formula is marked as text.
function field(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "")
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function download(name, text) {
  const href = URL.createObjectURL(new Blob([text], {type: "text/csv;charset=utf-8"}))
  h("a", {href, download: name}).click()
  setTimeout(() => URL.revokeObjectURL(href), 10000)
}
