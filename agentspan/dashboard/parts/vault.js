// Credentials by name. A value is typed here, sent once as a message, and forgotten; nothing brings one back.
//
// credentials: [{name, partial, updated}], bindings: [{key, name}].
// Messages: {save: name, value}, {remove: name}, {bind: key, to: name}, {unbind: key}.

export default {
  render({model, el}) {
    let armed = ""
    const name = h("input", {name: "name", required: true, autocomplete: "off", spellcheck: "false", placeholder: "OPENAI_API_KEY", "aria-label": "Name"})
    const value = h("input", {name: "value", type: "password", required: true, autocomplete: "new-password", placeholder: "its value", "aria-label": "Value"})
    const form = h("form.vault", {onsubmit: (event) => {
      event.preventDefault()
      model.send({save: name.value.trim(), value: value.value})
      value.value = ""
    }}, name, value, h("button.primary", {type: "submit"}, "Save"))
    const key = h("input", {required: true, autocomplete: "off", spellcheck: "false", placeholder: "a name that tools ask for", "aria-label": "Name that tools ask for"})
    const to = h("select", {required: true, "aria-label": "Stored credential"})
    const binding = h("form.vault", {onsubmit: (event) => {
      event.preventDefault()
      model.send({bind: key.value.trim(), to: to.value})
      key.value = ""
    }}, key, h("span.muted", null, "stands for"), to, h("button", {type: "submit"}, "Bind"))
    const list = h("div"), bound = h("div")

    const removal = (what, send) => armed === what
      ? [h("button.danger", {"data-confirm": what, onclick: () => { armed = ""; send() }}, "Delete"), " ", h("button", {onclick: () => { armed = ""; draw() }}, "Keep")]
      : h("button", {"aria-label": `Delete ${what}`, onclick: () => { armed = what; draw(); el.querySelector("[data-confirm]")?.focus() }}, "Delete…")
    const again = (each) => h("button", {"aria-label": `Replace ${each.name}`, onclick: () => { name.value = each.name; value.focus() }}, "Replace…")
    const time = (at) => h("time", {datetime: at, title: at}, words.since(at))

    const draw = () => {
      const kept = model.get("credentials"), names = model.get("bindings")
      replace(list, kept.length
        ? h("div.scroll", null, h("table", {"aria-label": "Credentials"},
          h("thead", null, h("tr", null, ["Name", "Value", "Changed", ""].map((each) => h("th", {scope: "col"}, each)))),
          h("tbody", null, kept.map((each) => h("tr", {"data-id": each.name},
            h("td", null, h("code", null, each.name)), h("td.muted", null, h("code", null, each.partial)), h("td", null, time(each.updated)),
            h("td.number", null, again(each), " ", removal(each.name, () => model.send({remove: each.name}))))))))
        : h("div.empty", null, h("strong", null, "No credentials"), "A tool that declares a name is given the value that is kept for it here, and no history shows it."))
      const chosen = to.value
      replace(to, kept.map((each) => h("option", {value: each.name}, each.name)))
      if (kept.some((each) => each.name === chosen)) to.value = chosen
      binding.hidden = !kept.length
      replace(bound, names.length
        ? h("div.scroll", null, h("table", {"aria-label": "Bindings"}, h("tbody", null, names.map((each) => h("tr", {"data-id": each.key},
          h("td", null, h("code", null, each.key)), h("td.muted", null, "stands for"), h("td", null, h("code", null, each.name)),
          h("td.number", null, removal(each.key, () => model.send({unbind: each.key}))))))))
        : h("p.muted", null, "A name that tools ask for may stand for a credential that is kept under another."))
    }
    for (const each of ["credentials", "bindings"]) model.on(`change:${each}`, draw)
    draw()
    el.append(form, list, h("h3.vault", null, "Bindings"), bound, binding)
  },
}
