// A few choices side by side, each a link: choices [{name, href, current?, title?}].

export default {
  render({model, el}) {
    const group = h("div.picks", {role: "group"})
    const draw = () => {
      group.setAttribute("aria-label", model.get("label"))
      const focused = [...group.children].indexOf(group.getRootNode().activeElement)
      replace(group, model.get("choices").map(({name, href, current, title}) =>
        h("a", {href, title, "aria-current": current ? "true" : null}, name)))
      group.children[focused]?.focus()
    }
    for (const each of ["choices", "label"]) model.on(`change:${each}`, draw)
    draw()
    el.append(group)
  },
}
