// A list of things with what can be done to each, and the form that makes another one. All of it is told from outside.
//
// columns: [{key, name, kind?}], kind: text, code, since, until, chips; rows: [{id, acts: [key], given: {field: value}, ...values by key}],
//   a value may be {text, note?, tone?, href?, title?}.
// acts: {key: {name, title, says, verb, danger, fields}}, "{}" in words is the row's name; one without says and fields is done at once.
// make: the same for a new one. A field: {name, label, kind?, options?, value?, hint?, needed?, when?: [field, value]}.
// It sends {do: key, id, values}, "make" for a new one. The answer is a message: {done}, {problem}, or {made: {title, says, text}}: a text
// that is shown now, and kept nowhere.

export default {
  render({model, el}) {
    const list = h("div"), top = h("div.begin"), dialog = h("dialog.roster")
    let problem = null, go = null

    // What is told arrives piece by piece: the rows of one list may be there before the actions of it.
    const draw = () => {
      const rows = model.get("rows"), acts = model.get("acts"), columns = model.get("columns"), make = model.get("make"), empty = model.get("empty")
      const focused = el.getRootNode().activeElement?.getAttribute?.("data-focus")
      replace(top, make.name ? h("button.primary", {"data-focus": "make", onclick: () => ask("make", make, null)}, make.name) : null)
      replace(list, rows.length
        ? h("div.scroll", {role: "region", "aria-label": model.get("label"), tabindex: "0"}, h("table", {"aria-label": model.get("label")},
          h("thead", null, h("tr", null, columns.map(({name}) => h("th", {scope: "col"}, name)), h("th", {scope: "col", "aria-label": "Actions"}))),
          h("tbody", null, rows.map((row) => h("tr", {"data-id": row.id, class: row.gone ? "gone" : null},
            columns.map((column) => h("td", null, cell(column.kind, row[column.key]))),
            h("td.number.acts", null, row.acts.filter((key) => acts[key]).map((key) => button(key, acts[key], row))))))))
        : !empty.title ? null : h("div.empty", null, h("strong", null, empty.title), empty.text ?? ""))
      if (focused) el.getRootNode().querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus()
    }
    const button = (key, act, row) => h(`button${act.danger ? ".danger" : ""}`, {
      "data-focus": `${key} ${row.id}`, "aria-label": `${act.name.replace("…", "")} ${named(row)}`,
      onclick: () => act.says || act.fields ? ask(key, act, row) : model.send({do: key, id: row.id, values: {}}),
    }, act.name)
    const named = (row) => row.named ?? row.id

    const ask = (key, act, row) => {
      const told = (text) => (text ?? "").replaceAll("{}", row ? named(row) : "")
      const fields = (act.fields ?? []).map((each) => asked({...each, value: row?.given?.[each.name] ?? each.value}))
      const settle = () => {
        const now = Object.fromEntries(fields.map((each) => [each.name, each.read()]))
        for (const each of fields) each.element.hidden = Boolean(each.when) && now[each.when[0]] !== each.when[1]
      }
      problem = h("div.error", {role: "alert", hidden: true})
      go = h(`button.primary${act.danger ? ".danger" : ""}`, {type: "submit", "data-sure": key}, told(act.verb ?? act.name))
      replace(dialog, h("h2", null, told(act.title ?? act.name)), act.says ? h("p.muted", null, told(act.says)) : null,
        h("form.asked", {oninput: settle, onsubmit: (event) => {
          event.preventDefault()
          problem.hidden = true
          go.disabled = true
          model.send({do: key, id: row?.id ?? "", values: Object.fromEntries(fields.filter((each) => !each.element.hidden).map((each) => [each.name, each.read()]))})
        }}, fields.map((each) => each.element), problem, h("div.actions", null, h("button", {type: "button", onclick: () => dialog.close()}, "Not now"), go)))
      dialog.setAttribute("aria-label", told(act.title ?? act.name))
      settle()
      dialog.showModal()
      ;(dialog.querySelector("input, select") ?? go).focus()
    }
    const hear = ({done, problem: wrong, made}) => {
      if (wrong && dialog.open) { go.disabled = false; problem.hidden = false; replace(problem, wrong) }
      if (done) dialog.close()
      if (made) show(made)
    }
    const show = ({title, says, text}) => {
      const field = h("input", {value: text, readonly: true, "aria-label": title, onfocus: () => field.select()})
      const copy = h("button.primary", {type: "button", onclick: async () => { await written(text, field); replace(copy, "Copied"); setTimeout(() => replace(copy, "Copy"), 1500) }}, "Copy")
      replace(dialog, h("h2", null, title), h("p.muted", null, says), h("div.made", null, field, copy), h("div.actions", null, h("button", {type: "button", onclick: () => dialog.close()}, "I have kept it")))
      if (!dialog.open) dialog.showModal()
      field.focus()
    }
    // What was typed or shown is in no page any more once its dialog is closed.
    dialog.addEventListener("close", () => replace(dialog))
    const clock = setInterval(() => { for (const each of list.querySelectorAll("[data-since]")) each.textContent = words.since(Number(each.dataset.since)) }, 1000)
    for (const each of ["rows", "columns", "make", "acts", "empty", "label"]) model.on(`change:${each}`, draw)
    model.on("msg:custom", hear)
    draw()
    el.append(list, top, dialog)
    return () => clearInterval(clock)
  },
}

function cell(kind, value) {
  const text = value !== null && typeof value === "object" && !Array.isArray(value) ? value.text : value
  const note = value?.note ? h("span.note", null, value.note) : null
  if (kind === "chips") return h("span.chips", null, (text ?? []).map((each) => h("span.chip", null, each)))
  if (!text) return [h("span.muted", null, kind === "until" ? "never" : "–"), note]
  if (kind === "since" && typeof text === "number") return h("time", {datetime: new Date(text).toISOString(), title: new Date(text).toLocaleString("en-GB"), "data-since": text}, words.since(text))
  if (kind === "until" && typeof text === "number") return h("time", {datetime: new Date(text).toISOString(), title: new Date(text).toLocaleString("en-GB")}, text < Date.now() ? "expired" : words.clock(text))
  const shown = kind === "code" ? h("code", null, text) : value.tone ? h("span.status", {"data-status": value.tone}, text) : String(text)
  return [value.href ? h("a", {href: value.href, title: value.title}, shown) : h("span", {title: value.title}, shown), note]
}

// A field of a form: `read` gives what it holds.
function asked({name, label, kind, options, value, hint, needed, when}) {
  if (kind === "checks") {
    const boxes = options.map(([key, text]) => h("input", {type: "checkbox", name, value: key, checked: (value ?? []).includes(key), "aria-label": key, title: text}))
    const lines = boxes.map((box, place) => h("label.check", null, box, " ", h("code", null, options[place][0]), h("span.muted", null, ` ${options[place][1]}`)))
    return {name, when, element: h("fieldset.entry", null, h("legend", null, label), lines), read: () => boxes.filter((box) => box.checked).map((box) => box.value)}
  }
  const input = kind === "select"
    ? h("select", {name}, options.map(([key, text]) => h("option", {value: key, selected: String(key) === String(value ?? "")}, text)))
    : h("input", {name, type: kind ?? "text", value: value ?? "", required: needed, min: kind === "number" ? 0 : null, step: kind === "number" ? "any" : null, maxlength: kind === "number" ? null : 200,
      autocomplete: kind === "password" ? name === "old" ? "current-password" : "new-password" : "off", spellcheck: "false"})
  return {name, when, element: h("label.entry", null, h("span", null, label), input, hint ? h("span.hint.muted", null, hint) : null), read: () => input.value}
}

// The clipboard is closed to pages that came without encryption from another machine.
async function written(text, field) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text)
  field.select()
  document.execCommand("copy")
}
