// A row of numbers with names: figures [{name, value, kind?, note?, href?, tone?, unknown?, title?}], kind: count, duration, money, share.

export default {
  render({model, el}) {
    const list = h("dl.sums")
    const figure = ({name, value, kind, note, href, tone, unknown, title}) => {
      const shown = h("strong", {"data-status": tone, class: tone ? "tone" : null}, sized(text(kind, value, unknown)))
      const body = [h("dt", null, name), h("dd", null, shown, note ? h("small", null, note) : null)]
      const exact = kind === "count" || !kind ? value >= 1e6 ? words.count(value) : null : null
    return h("div", {title: title ?? exact, "data-figure": name}, href ? h("a", {href}, body) : body)
    }
    const draw = () => replace(list, model.get("figures").map(figure))
    model.on("change:figures", draw)
    draw()
    el.append(h("div.sums-frame", null, list))
  },
}

function text(kind, value, unknown) {
  if (value === null || value === undefined) return "–"
  switch (kind) {
    case "duration": return words.duration(value)
    case "money": return words.money(value, unknown)
    case "share": return value === 1 ? "100%" : `${(100 * value).toFixed(value > 0.995 || value < 0.1 ? 1 : 0)}%`
    default: return value >= 1e6 ? `${+(value / 1e6).toFixed(value < 1e8 ? 1 : 0)}M` : words.count(value)
  }
}

// Units smaller than the numbers before them.
const sized = (text) => text.split(/(?<=\d )(ms|s|min|h|d)\b/).map((piece, place) => place % 2 ? h("span.unit", null, piece) : piece)
