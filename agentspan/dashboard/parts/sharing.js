// The dialog that shares a run: a link for whoever is to see it, and those that there are, which can be revoked.
//
// It sends {share: {seconds, note}}, {unshare: id} and {shares: true}, which asks for those that there are.

const LASTS = [[86400, "1 day"], [7 * 86400, "7 days"], [30 * 86400, "30 days"], [0, "until it is revoked"]]

function sharing({send, origin}) {
  const dialog = h("dialog.share", {"aria-label": "Share the run"})
  const lasts = h("select", {"aria-label": "How long", name: "seconds"}, LASTS.map(([seconds, name]) => h("option", {value: seconds, selected: seconds === 7 * 86400}, name)))
  const note = h("input", {"aria-label": "Note", name: "note", maxlength: 200, autocomplete: "off", placeholder: "Who or what it is for"})
  const go = h("button.primary", {type: "submit"}, "Make a link")
  const problem = h("div.error", {role: "alert", hidden: true})
  const fresh = h("div.fresh", {"aria-live": "polite"}), kept = h("div.kept")
  const form = h("form", {onsubmit: (event) => {
    event.preventDefault()
    tell("")
    go.disabled = true
    send({share: {seconds: Number(lasts.value), note: note.value.trim()}})
  }}, note, lasts, go)
  const tell = (text) => { problem.hidden = !text; replace(problem, text) }

  const open = () => {
    tell("")
    replace(fresh)
    replace(kept)
    go.disabled = false
    send({shares: true})
    dialog.showModal()
    note.focus()
  }
  const hear = ({link, shares, problem: wrong}) => {
    go.disabled = false
    if (wrong) return tell(wrong)
    if (link) {
      const address = origin() + link
      const field = h("input", {value: address, readonly: true, "aria-label": "The link", onfocus: () => field.select()})
      const copy = h("button", {type: "button", onclick: async () => { await clip(address); replace(copy, "Copied"); setTimeout(() => replace(copy, "Copy"), 1500) }}, "Copy")
      replace(fresh, h("p", null, "This is the link. It is shown now and never again:"), h("div.line", null, field, copy))
      note.value = ""
      field.focus()
    }
    if (shares) draw(shares)
  }
  const draw = (shares) => replace(kept, shares.length ? [h("h3", null, "Links that open this run"), h("ul", null, shares.map((each) => h("li", {"data-share": each.id},
    h("span.said", null, each.note || "no note"), h("span.muted", null, `by ${each.createdBy || "somebody"} ${words.since(each.createdAt)}, ${each.expiresAt ? `until ${words.clock(each.expiresAt)}` : "until revoked"}`),
    h("button.danger", {type: "button", "aria-label": `Revoke the link ${each.note || each.id}`, onclick: () => send({unshare: each.id})}, "Revoke"))))] : null)
  add(dialog, [h("h2", null, "Share this run"),
    h("p.muted", null, "Whoever has the link sees this run and all below it, with every prompt and result, and changes nothing. They need no login."),
    form, problem, fresh, kept, h("form", {method: "dialog"}, h("button", null, "Close"))])
  return {element: dialog, open, hear}
}
