// The top of an agent's page: its name, the version one looks at, what it is, and the ways from here.
//
// about: {name, description, made, version, versions: [{version, at}], links: {name: href}, copies: [[name, text]]}, notice: a sentence,
// tabs: [{key, name, href, current, badge}]. It sends {version: number}, and in a cell {tab: key}. In copies {server} stands for the address of the API.

export default {
  render({model, el}) {
    const element = h("header.agenthead")
    const origin = () => model.get("base").startsWith("/") ? location.origin + model.get("base").replace(/\/ui$/, "") : model.get("server")
    const draw = () => {
      const about = model.get("about")
      if (!about.name) return replace(element)
      const focused = element.getRootNode().activeElement?.getAttribute?.("data-focus")
      replace(element,
        h("div.line", null, h("h1.cut", {title: about.name}, about.name), versions(about), h("span.muted.cut", {title: about.made}, about.made), h("span.room"),
          h("div.line", null, Object.entries(about.links).map(([name, href]) => h("a.button", {href}, name)), menu(about.copies))),
        about.description ? h("p.muted.described", null, about.description) : null,
        model.get("notice") ? h("p.notice", {role: "status"}, model.get("notice")) : null,
        h("div.tabs", {role: "navigation", "aria-label": "About this agent"}, model.get("tabs").map(({key, name, href, current, badge}) =>
          h("a", {href, "data-tab": key, "data-focus": key, "aria-current": current ? "page" : null, onclick: (event) => turn(event, key)}, name, badge ? h("span.many", null, badge) : null))))
      if (focused) element.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus()
    }
    // In a cell no address bar follows the links of the page.
    const turn = (event, key) => {
      if (document.body.dataset.ready !== undefined) return
      event.preventDefault()
      model.send({tab: key})
    }
    const versions = ({version, versions}) => versions.length === 1
      ? h("span.chip", {title: `Deployed ${new Date(versions[0].at).toLocaleString("en-GB")}`}, `v${version}`)
      : h("select", {"aria-label": "Version", "data-focus": "version", onchange: (event) => model.send({version: Number(event.target.value)})},
        versions.map((each, place) => h("option", {value: each.version, selected: each.version === version}, `v${each.version}${place ? "" : " (latest)"} · ${words.since(each.at)}`)))
    const menu = (copies) => {
      const item = ([name, text]) => h("button", {"data-copy": name.toLowerCase(), onclick: async () => {
        await navigator.clipboard.writeText(text.replaceAll("{server}", origin()))
        replace(details.querySelector("summary"), `Copied as ${name}`)
        details.open = false
        setTimeout(() => replace(details.querySelector("summary"), "Copy"), 1500)
      }}, name)
      const details = h("details.menu", null, h("summary.button", null, "Copy"), h("div.items", null, copies.map(item)))
      details.addEventListener("focusout", (event) => { if (!details.contains(event.relatedTarget)) details.open = false })
      details.addEventListener("keydown", (event) => { if (event.key === "Escape") details.open = false })
      return details
    }
    for (const each of ["about", "notice", "tabs"]) model.on(`change:${each}`, draw)
    draw()
    el.append(element)
  },
}
