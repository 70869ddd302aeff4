// A table of at most a few hundred rows: links, sorting, choosing, keys j, k, x and Enter. Paging is its owner's.
//
// columns: [{key, name, kind?, align?, width?, wrap?, grows?, narrow?, spare?, sortable?}], kind: text, mono, status, kind,
// duration, money, count, clock, since, chip, bar. Where there is no room, columns with `spare` 1 are left out, then 2, then 3.
// rows: [{id, href?, ...values by key}], a value may be {text, href?, title?, tone?, note?, said?, copy?}; a duration {from}
// is still going on. A row whose values are the same stays as it is, with its focus.

export default {
  render({model, el}) {
    let at = -1, lines = new Map(), heading = "", columns = ""
    const body = h("tbody")
    const table = h("table", null, h("thead"), body)
    const wrap = h("div.scroll", {tabindex: "0", role: "region"})
    const selectable = () => model.get("selectable")
    const chosen = () => new Set(model.get("chosen"))
    const choose = (ids) => { model.set("chosen", [...ids]); model.save_changes() }
    const tick = (id, on) => { const ids = chosen(); on ? ids.add(id) : ids.delete(id); choose(ids) }

    const head = () => h("thead", {hidden: !model.get("columns").some(({name}) => name)}, h("tr", null,
      selectable() ? h("th.check", {scope: "col"}, h("input", {
        type: "checkbox", "aria-label": "All on this page",
        onchange: (event) => {
          const ids = chosen()
          for (const {id} of model.get("rows")) event.target.checked ? ids.add(id) : ids.delete(id)
          choose(ids)
        },
      })) : null,
      model.get("columns").map((column) => {
        const [by, direction] = (model.get("sort") || "").split(":")
        const sorted = by === column.key ? (direction === "ASC" ? "ascending" : "descending") : null
        const turn = sorted === "descending" ? "ASC" : "DESC"
        const label = column.sortable
          ? h("button.sort", {onclick: () => { model.set("sort", `${column.key}:${turn}`); model.save_changes() }},
            column.name, h("span", {"aria-hidden": "true"}, sorted === "ascending" ? " ↑" : sorted ? " ↓" : ""))
          : column.name
        return h(`th${right(column)}${spare(column)}`, {scope: "col", "aria-sort": sorted, style: column.width ? `width:${column.width}` : null}, label)
      })))

    const line = (row) => h("tr", {"data-id": row.id},
      selectable() ? h("td.check", null, h("input", {
        type: "checkbox", "aria-label": `Choose ${plain(row[model.get("columns")[0].key]) ?? ""} ${row.id}`,
        onchange: (event) => tick(row.id, event.target.checked),
      })) : null,
      model.get("columns").map((column, place) => h(`td${right(column)}${spare(column)}${column.wrap ? "" : ".cut"}${column.grows ? ".grows" : column.narrow ? ".narrow" : ""}`,
        {title: title(row[column.key]), "data-key": column.key}, cell(column, row, place))))

    const cell = (column, row, place) => {
      const value = row[column.key]
      const shown = show(column.kind, value)
      const href = value?.href ?? (place === 0 ? row.href : null)
      return [
        href ? h("a", {href}, shown) : shown,
        value?.note ? h("span.note", null, value.note) : null,
        value?.copy ? copying(value.copy) : null,
      ]
    }

    const draw = () => {
      wrap.setAttribute("aria-label", model.get("label") || "Table")
      const rows = model.get("rows")
      if (!rows.length) {
        const empty = model.get("empty")
        lines = new Map()
        return replace(wrap, h(`div.empty${empty.late ? ".late" : ""}`, null, h("strong", null, empty.title ?? "Nothing here"), empty.text ?? "", empty.code ? h("pre", null, empty.code) : null))
      }
      at = Math.min(at, rows.length - 1)
      drawHead()
      const now = JSON.stringify(model.get("columns"))
      const kept = now === columns ? lines : new Map()
      columns = now
      lines = new Map(rows.map((row) => {
        const told = JSON.stringify(row), before = kept.get(row.id)
        return [row.id, before?.told === told ? before : {told, element: line(row)}]
      }))
      const wanted = [...lines.values()].map(({element}) => element)
      for (const each of [...body.children]) if (!wanted.includes(each)) each.remove()
      wanted.forEach((element, place) => { if (body.children[place] !== element) body.insertBefore(element, body.children[place] ?? null) })
      if (table.parentNode !== wrap) replace(wrap, table)
      mark()
    }
    const drawHead = () => {
      const now = JSON.stringify([model.get("columns"), model.get("sort"), selectable()])
      if (now === heading) return
      const sorting = table.tHead.contains(wrap.getRootNode().activeElement)
      heading = now
      table.replaceChild(head(), table.tHead)
      if (sorting) table.tHead.querySelector("[aria-sort] button")?.focus()
    }
    const mark = () => {
      const ids = chosen(), rows = model.get("rows")
      rows.forEach(({id}, place) => {
        const element = lines.get(id)?.element
        if (!element) return
        element.classList.toggle("at", place === at)
        ids.has(id) ? element.setAttribute("aria-selected", "true") : element.removeAttribute("aria-selected")
        const box = element.querySelector(".check input")
        if (box) box.checked = ids.has(id)
      })
      const all = table.tHead.querySelector(".check input"), some = rows.filter(({id}) => ids.has(id)).length
      if (all) Object.assign(all, {checked: some > 0 && some === rows.length, indeterminate: some > 0 && some < rows.length})
    }

    const press = (event) => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.composedPath()[0].tagName) && event.composedPath()[0].type !== "checkbox") return
      if (event.metaKey || event.ctrlKey || event.altKey) return
      const rows = model.get("rows")
      const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key]
      if (step) {
        event.preventDefault()
        at = Math.max(0, Math.min(rows.length - 1, at + step))
        mark()
        wrap.querySelector("tr.at")?.scrollIntoView({block: "nearest"})
        model.send({at: rows[at]?.id})
      } else if (event.key === "Enter" && rows[at] && event.target === wrap) {
        const link = wrap.querySelector("tr.at a")
        link ? link.click() : model.send({open: rows[at].id})
      } else if (event.key === "x" && rows[at] && selectable()) {
        tick(rows[at].id, !chosen().has(rows[at].id))
      }
    }
    const click = (event) => {
      const row = event.target.closest?.("tr[data-id]")
      if (row && !event.target.closest("a, input, button") && !String(getSelection())) model.send({open: row.dataset.id})
    }
    const reach = (event) => {
      if (!model.get("leads") || event.defaultPrevented || event.composedPath()[0] !== document.body || !/^[jk]$/.test(event.key)) return
      wrap.focus({preventScroll: true})
      press(event)
    }
    // Times go on.
    const clock = setInterval(() => {
      for (const each of body.querySelectorAll("[data-from]")) each.textContent = words.duration(Date.now() - Number(each.dataset.from))
      for (const each of body.querySelectorAll("[data-since]")) each.textContent = words.since(Number(each.dataset.since))
    }, 1000)
    wrap.addEventListener("keydown", press)
    document.addEventListener("keydown", reach)
    wrap.addEventListener("click", click)
    for (const each of ["rows", "columns", "sort", "empty", "label"]) model.on(`change:${each}`, draw)
    model.on("change:chosen", mark)
    draw()
    el.append(wrap)
    return () => {
      clearInterval(clock)
      document.removeEventListener("keydown", reach)
    }
  },
}

const right = (column) => ["duration", "money", "count"].includes(column.kind) || column.align === "right" ? ".number" : ""
const spare = (column) => column.spare ? `.spare${column.spare}` : ""
const plain = (value) => value !== null && typeof value === "object" ? value.text : value
const title = (value) => value?.title ?? (typeof plain(value) === "string" ? plain(value) : null)

function show(kind, value) {
  const text = plain(value)
  if (value?.from) return h("span", {"data-from": value.from}, words.duration(Date.now() - value.from))
  if (text === undefined || text === null || text === "") return h("span.muted", null, "–")
  switch (kind) {
    case "status": return status(text, value?.said ?? undefined)
    case "duration": return words.duration(text)
    case "money": return words.money(text, value?.unknown)
    case "count": return value?.tone ? h("span.status", {"data-status": value.tone}, words.count(text)) : words.count(text)
    case "clock": case "since": {
      const whole = new Date(text), same = {datetime: whole.toISOString(), title: whole.toLocaleString("en-GB")}
      return h("time", kind === "since" ? {...same, "data-since": ms_of(text)} : same, words[kind](text))
    }
    case "mono": return h("code", null, text)
    case "chip": return h("span.chip", {"data-status": value?.tone}, text)
    case "bar": return h("span.bar", {title: value?.title}, h("span", {style: `width:${Math.max(1, Math.min(100, 100 * (value?.share ?? 0)))}%`}), h("em", null, text))
    default: return value?.tone ? h("span.status", {"data-status": value.tone}, text) : String(text)
  }
}

const SHEETS = "M9 9h11v11H9zM15 9V4H4v11h5", TICK = "M5 13l4 4L19 7"

function copying(text) {
  const path = h("svg:path", {d: SHEETS})
  return h("button.copy", {title: `Copy ${text}`, "aria-label": `Copy ${text}`, onclick: async () => {
    await navigator.clipboard.writeText(text)
    path.setAttribute("d", TICK)
    setTimeout(() => path.setAttribute("d", SHEETS), 1200)
  }}, h("svg:svg", {viewBox: "0 0 24 24", "aria-hidden": "true"}, path))
}
