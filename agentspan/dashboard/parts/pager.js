// From page to page: links to the newer and the older one, each null at an end.

export default {
  render({model, el}) {
    const nav = h("div.leafing", {role: "navigation", "aria-label": "Pages of the list"})
    const turn = (name, href, text) => href
      ? h("a.button", {href, "data-page": name}, text) : h("span.button", {"aria-disabled": "true"}, text)
    const draw = () => {
      nav.hidden = !model.get("newer") && !model.get("older")
      replace(nav, h("span.muted", null, model.get("place")),
        turn("newer", model.get("newer"), model.get("first") ? "↑ First page" : "← Back"), turn("older", model.get("older"), "More →"))
    }
    for (const each of ["newer", "older", "place", "first"]) model.on(`change:${each}`, draw)
    draw()
    el.append(nav)
  },
}
