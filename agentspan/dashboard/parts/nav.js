// The pages as links, with what waits for a person beside the inbox.

export default {
  render({model, el}) {
    const nav = h("nav", {"aria-label": "Pages"})
    const draw = () => replace(nav, model.get("groups").map((group) => h("ul", null, group.map(item))))
    const item = ({path, name, icon}) => {
      const place = model.get("place").split("?")[0]
      const current = path === "/" ? place === "/" : place === path || place.startsWith(`${path}/`)
      const badge = model.get("badges")[path]
      return h("li", null, h("a", {href: model.get("base") + path, "aria-current": current ? "page" : null},
        h("svg:svg", {viewBox: "0 0 24 24", "aria-hidden": "true"}, h("svg:path", {d: icon})),
        h("span", null, name),
        badge ? h("span.badge", {"aria-label": `${badge} waiting`}, badge) : null))
    }
    for (const each of ["groups", "place", "badges"]) model.on(`change:${each}`, draw)
    draw()
    el.append(nav)
  },
}
