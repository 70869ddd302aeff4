// A table of at most a few hundred rows: links, sorting, choosing, keys j, k and Enter. Paging is its owner's.
//
// columns: [{key, name, kind?, align?, width?, sortable?}], kind: text, mono, status, kind, duration, money, count, clock, since,
// chip, bar. rows: [{id, href?, ...values by key}], a value may be {text, href?, title?, tone?}.

export default {
  render({model, el}) {
    let at = -1
    const wrap = h("div.scroll", {tabindex: "0", role: "region"})
    const selectable = () => model.get("selectable")
    const chosen = () => new Set(model.get("chosen"))
    const choose = (ids) => { model.set("chosen", [...ids]); model.save_changes() }

    const head = () => h("thead", null, h("tr", null,
      selectable() ? h("th.check", null, h("input", {
        type: "checkbox", "aria-label": "All on this page", checked: model.get("rows").length > 0 && model.get("rows").every((row) => chosen().has(row.id)),
        onchange: (event) => choose(event.target.checked ? model.get("rows").map((row) => row.id) : []),
      })) : null,
      model.get("columns").map((column) => {
        const [by, direction] = (model.get("sort") || "").split(":")
        const sorted = by === column.key ? (direction === "ASC" ? "ascending" : "descending") : null
        const turn = sorted === "descending" ? "ASC" : "DESC"
        const label = column.sortable
          ? h("button.sort", {onclick: () => { model.set("sort", `${column.key}:${turn}`); model.save_changes() }},
            column.name, sorted ? h("span", {"aria-hidden": "true"}, sorted === "ascending" ? " ↑" : " ↓") : null)
          : column.name
        return h(`th${right(column)}`, {scope: "col", "aria-sort": sorted, style: column.width ? `width:${column.width}` : null}, label)
      })))

    const line = (row, index) => h("tr", {"data-id": row.id, "aria-selected": chosen().has(row.id) ? "true" : null, class: index === at ? "at" : null},
      selectable() ? h("td.check", null, h("input", {
        type: "checkbox", "aria-label": `Choose ${row.id}`, checked: chosen().has(row.id),
        onchange: (event) => { const ids = chosen(); event.target.checked ? ids.add(row.id) : ids.delete(row.id); choose(ids) },
      })) : null,
      model.get("columns").map((column, place) => h(`td${right(column)}${column.wrap ? "" : ".cut"}`, {title: title(row[column.key])}, cell(column, row, place))))

    const cell = (column, row, place) => {
      const value = row[column.key]
      const shown = show(column.kind, value)
      const href = value?.href ?? (place === 0 ? row.href : null)
      return href ? h("a", {href}, shown) : shown
    }

    const draw = () => {
      wrap.setAttribute("aria-label", model.get("label") || "Table")
      const rows = model.get("rows")
      if (!rows.length) {
        const empty = model.get("empty")
        return replace(wrap, h("div.empty", null, h("strong", null, empty.title ?? "Nothing here"), empty.text ?? "", empty.code ? h("pre", null, empty.code) : null))
      }
      at = Math.min(at, rows.length - 1)
      replace(wrap, h("table", null, head(), h("tbody", null, rows.map(line))))
    }

    const press = (event) => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.composedPath()[0].tagName) || event.metaKey || event.ctrlKey) return
      const rows = model.get("rows")
      const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key]
      if (step) {
        event.preventDefault()
        at = Math.max(0, Math.min(rows.length - 1, at + step))
        draw()
        wrap.querySelector("tr.at")?.scrollIntoView({block: "nearest"})
        model.send({at: rows[at]?.id})
      } else if (event.key === "Enter" && rows[at]) {
        const link = wrap.querySelector("tr.at a")
        link ? link.click() : model.send({open: rows[at].id})
      } else if (event.key === "x" && rows[at] && selectable()) {
        const ids = chosen()
        ids.has(rows[at].id) ? ids.delete(rows[at].id) : ids.add(rows[at].id)
        choose(ids)
      }
    }
    const click = (event) => {
      const row = event.target.closest?.("tr[data-id]")
      if (row && !event.target.closest("a, input, button")) model.send({open: row.dataset.id})
    }
    wrap.addEventListener("keydown", press)
    wrap.addEventListener("click", click)
    for (const each of ["rows", "columns", "sort", "chosen", "empty", "label"]) model.on(`change:${each}`, draw)
    draw()
    el.append(wrap)
  },
}

const right = (column) => ["duration", "money", "count"].includes(column.kind) || column.align === "right" ? ".number" : ""
const plain = (value) => value !== null && typeof value === "object" ? value.text : value
const title = (value) => value?.title ?? (typeof plain(value) === "string" ? plain(value) : null)

function show(kind, value) {
  const text = plain(value)
  if (text === undefined || text === null || text === "") return h("span.muted", null, "–")
  switch (kind) {
    case "status": return status(text)
    case "duration": return words.duration(text)
    case "money": return words.money(text, value?.unknown)
    case "count": return words.count(text)
    case "clock": case "since": {
      const whole = new Date(text).toISOString()
      return h("time", {datetime: whole, title: whole}, words[kind](text))
    }
    case "mono": return h("code", null, text)
    case "chip": return h("span.chip", {"data-status": value?.tone}, text)
    case "bar": return h("span.bar", {title: value?.title}, h("span", {style: `width:${Math.max(1, Math.min(100, 100 * (value?.share ?? 0)))}%`}), h("em", null, text))
    default: return value?.tone ? h("span.status", {"data-status": value.tone}, text) : String(text)
  }
}
