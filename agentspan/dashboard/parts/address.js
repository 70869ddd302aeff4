// The address bar: links stay in the app, back and forward work, keys lead to pages, and `ready` marks a page as shown.

const KEYS = {o: "/", r: "/runs", i: "/inbox", a: "/agents", h: "/chat", w: "/workers", c: "/costs", s: "/settings"}

export default {
  render({model, el}) {
    // Panel names its files relative to the first address; they must not move with it.
    if (!document.querySelector("base")) {
      document.head.prepend(h("base", {href: location.origin + location.pathname}))
    }
    const base = () => model.get("base")
    // Below `/ui` places are paths; alone, where only one path is served, they are in its query: `/dashboard?at=/runs&page=2`.
    const address = (place) => base() + (base().includes("?") ? place.replace("?", "&") : place)
    const below = (url) => {
      const whole = url.pathname + url.search
      if (!whole.startsWith(base())) return url.pathname === base().split("?")[0] ? "/" : null
      const [, path, query] = /^([^?&]*)[?&]?(.*)$/.exec(whole.slice(base().length))
      return !path || path[0] === "/" ? (path.replace(/\/$/, "") || "/") + (query && `?${query}`) : null
    }
    const here = () => below(location) ?? "/"
    const tell = () => { model.set("place", here()); model.save_changes() }
    const go = (path) => { history.pushState({}, "", address(path)); tell(); scrollTo(0, 0) }

    const click = (event) => {
      if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return
      const link = event.composedPath().find((each) => each.localName === "a" && each.hasAttribute("href"))  // in a drawing as well
      if (!link || link.hasAttribute("target") || link.hasAttribute("download")) return
      const to = new URL(link.getAttribute("href"), document.baseURI)
      const place = below(to)
      if (to.origin !== location.origin || place === null) return
      event.preventDefault()
      go(place)
    }

    let leading = 0
    const press = (event) => {
      const at = event.composedPath()[0]
      if (event.metaKey || event.ctrlKey || event.altKey || at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName)) return
      if (event.key === "?") { event.preventDefault(); toggle() }
      else if (event.key === "Escape" && sheet.open) sheet.close()
      else if (event.key === "/") {
        const search = find(document, "[data-search]")
        if (search) { event.preventDefault(); search.focus() }
      } else if (event.key === "g") leading = Date.now()
      else if (KEYS[event.key] && Date.now() - leading < 1200) { leading = 0; event.preventDefault(); go(KEYS[event.key]) }
    }

    const sheet = help()
    const toggle = () => sheet.open ? sheet.close() : sheet.showModal()
    const settle = () => {
      document.title = model.get("title") ? `${model.get("title")} · agentspan` : "agentspan"
      document.body.dataset.ready = model.get("ready")
      document.body.dataset.shade = model.get("shade")
    }
    const follow = () => {
      const wanted = model.get("place")
      if (wanted === here()) return
      history[model.get("keeps") ? "replaceState" : "pushState"]({}, "", address(wanted))
    }
    const system = matchMedia("(prefers-color-scheme: dark)")
    const shade = () => {
      if (model.get("theme") || model.get("dark") === system.matches) return
      model.set("dark", system.matches)
      model.save_changes()
    }
    const keep = () => {
      document.cookie = `agentspan-theme=${model.get("theme")};path=${base().split("?")[0] || "/"};max-age=31536000;samesite=lax`
    }
    const moved = () => tell()
    document.addEventListener("click", click)
    document.addEventListener("keydown", press)
    addEventListener("popstate", moved)
    model.on("change:place", follow)
    model.on("change:shade", settle)
    model.on("change:theme", keep)
    system.addEventListener("change", shade)
    // Not before the page is there: what Panel is told while it still builds the page may be lost.
    const first = () => { if (model.get("ready")) { shade(); return true } }
    if (!first()) model.on("change:ready", first)
    model.on("change:title", settle)
    model.on("change:ready", settle)
    el.append(sheet)
    settle()
    return () => {
      document.removeEventListener("click", click)
      document.removeEventListener("keydown", press)
      removeEventListener("popstate", moved)
      system.removeEventListener("change", shade)
    }
  },
}

function help() {
  const rows = [
    ["g then o, r, i, a, h, w, c, s", "overview, runs, inbox, agents, chat, workers, costs, settings"],
    ["/", "search"], ["j, k", "next, previous"], ["Enter", "open"], ["x", "choose a run"],
    ["←, →, n", "in a run: fold, unfold, next failure"], ["a, r, e", "in the inbox: approve, reject, edit"], ["Enter, Shift+Enter", "in a chat: send, new line"], ["?", "this list"], ["Esc", "close"],
  ]
  return h("dialog.help", {"aria-label": "Keyboard shortcuts"},
    h("h2", null, "Keyboard"),
    h("table", null, rows.map(([keys, what]) => h("tr", null, h("td", null, h("code", null, keys)), h("td", null, what)))),
    h("form", {method: "dialog"}, h("button", null, "Close")))
}
