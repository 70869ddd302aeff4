// What a new server shows: how its first run is begun, with the lines to copy.

export default {
  render({model, el}) {
    const copied = h("button", {onclick: async () => {
      await navigator.clipboard.writeText(code)
      copied.textContent = "Copied"
      setTimeout(() => { copied.textContent = "Copy" }, 1500)
    }}, "Copy")
    const code = model.get("code").replace("{server}", location.origin)
    el.append(h("section.hello", {"aria-label": "The first run"},
      h("h2", null, "Nothing has run here yet"),
      h("p.muted", null, "Put this into a notebook cell or a file and run it. The run appears here while it works."),
      h("div.code", null, h("pre", {tabindex: "0"}, code), copied),
      h("p.muted", null, "No provider's key at hand? ", h("code", null, "agentspan model pull smollm2"), " fetches a small model that runs on this machine: ",
        h("code", null, 'model="local/smollm2"'), ".")))
  },
}
