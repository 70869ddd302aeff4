// A field that narrows what is below it, while one types; "/" leads here.

export default {
  render({model, el}) {
    let later = 0
    const tell = () => { clearTimeout(later); model.set("text", input.value); model.save_changes() }
    const input = h("input", {
      type: "search", value: model.get("text"), placeholder: model.get("label"), "aria-label": model.get("label"), "data-search": true, style: "width:100%",
      oninput: () => { clearTimeout(later); later = setTimeout(tell, 150) },
      onkeydown: (event) => { if (event.key === "Enter") tell(); else if (event.key === "Escape") { input.value = ""; tell(); input.blur() } },
    })
    model.on("change:text", () => { if (model.get("text") !== input.value && input.getRootNode().activeElement !== input) input.value = model.get("text") })
    el.append(input)
    return () => clearTimeout(later)
  },
}
