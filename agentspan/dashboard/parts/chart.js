// Stacked bars over time: series [{key, name, status?}], buckets [{at, href?, values: {key: n}}], each `length` ms long.
// The arrow keys go from bar to bar; what a bar says stands in a box beside the pointer.

const HEIGHT = 168, LEFT = 44, RIGHT = 4, TOP = 10, BOTTOM = 24

export default {
  render({model, el}) {
    const said = h("div.said", {hidden: true, role: "status"})
    const plot = h("div.plot")
    const legend = h("ul.legend")
    const chart = h("div.plotted", null, plot, said, legend)
    let at = -1, shown = 0, wide = 0

    const draw = () => {
      if (!wide) return
      const [series, buckets] = [model.get("series"), model.get("buckets")]
      const total = (bucket) => series.reduce((sum, {key}) => sum + (bucket.values[key] ?? 0), 0)
      const ticks = scale(Math.max(0, ...buckets.map(total)), model.get("kind") === "count")
      const top = ticks.at(-1) || 1, step = (wide - LEFT - RIGHT) / Math.max(1, buckets.length)
      const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)
      if (at >= 0) at = buckets.findIndex((bucket) => bucket.at === shown)  // bars move on as time does
      const had = plot.contains(plot.getRootNode().activeElement)
      replace(plot, h("svg:svg", {width: wide, height: HEIGHT, role: "group", "aria-label": model.get("label")},
        ticks.map((tick) => [
          h("svg:line", {x1: LEFT, x2: wide - RIGHT, y1: y(tick), y2: y(tick), class: tick ? "grid" : "ground"}),
          h("svg:text", {x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end"}, amount(tick)),
        ]),
        labels(buckets, step).map(([place, text]) => h("svg:text", {x: LEFT + place * step, y: HEIGHT - 6}, text)),
        buckets.map((bucket, place) => bar(bucket, place, step, y))))
      replace(legend, series.filter(({key}) => buckets.some(({values}) => values[key])).map((each) =>
        h("li", {"data-status": each.status}, h("i"), each.name)))
      legend.hidden = legend.children.length < 2
      if (had) focus(Math.max(0, at))
      else if (at >= 0) tell(at)
    }

    const bar = (bucket, place, step, y) => {
      const x = LEFT + place * step, gap = step > 6 ? 2 : step > 3 ? 1 : 0
      let below = 0
      const pieces = model.get("series").filter(({key}) => bucket.values[key] > 0).map(({key, status}) => {
        const from = below
        below += bucket.values[key]
        const high = Math.max(1, y(from) - y(below))
        return h("svg:rect", {x: x + gap / 2, y: y(below), width: Math.max(1, step - gap), height: high, "data-status": status, class: "piece"})
      })
      return h("svg:a", {
        href: bucket.href && below ? bucket.href : null, class: "bar-at", "data-at": bucket.at, role: "link",
        tabindex: place === Math.max(0, at) ? "0" : "-1", "aria-label": line(bucket).join(", "),
        onpointerenter: () => { at = place; tell(place) }, onpointerleave: () => { said.hidden = true; at = -1 },
        onfocus: () => { at = place; tell(place) }, onblur: () => { said.hidden = true },
      }, h("svg:rect", {x, y: TOP, width: step, height: HEIGHT - TOP - BOTTOM, class: "hit"}), pieces)
    }

    const line = (bucket) => [span(bucket.at, model.get("length")), ...model.get("series")
      .filter(({key}) => bucket.values[key]).map(({key, name}) => `${amount(bucket.values[key])} ${name}`)]
    const amount = (value) => model.get("kind") === "money" ? words.money(value) : brief(value)
    const tell = (place) => {
      const [bucket, step] = [model.get("buckets")[place], (wide - LEFT - RIGHT) / model.get("buckets").length]
      if (!bucket) return void (said.hidden = true)
      shown = bucket.at
      const pieces = model.get("series").filter(({key}) => bucket.values[key]).reverse()
      replace(said, h("b", null, span(bucket.at, model.get("length"))),
        pieces.map(({key, name, status}) => h("div", {"data-status": status}, h("i"), h("span", null, name), h("em", null, amount(bucket.values[key])))),
        pieces.length ? null : h("div.muted", null, "nothing"))
      said.hidden = false
      const middle = LEFT + (place + .5) * step
      said.style.left = `${Math.min(Math.max(0, middle - said.offsetWidth / 2), Math.max(0, wide - said.offsetWidth))}px`
    }
    const focus = (place) => plot.querySelectorAll(".bar-at")[place]?.focus()

    plot.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key]
      if (!step) return
      event.preventDefault()
      const next = Math.max(0, Math.min(model.get("buckets").length - 1, at + step))
      const bars = plot.querySelectorAll(".bar-at")
      bars[at]?.setAttribute("tabindex", "-1")
      bars[next]?.setAttribute("tabindex", "0")
      focus(next)
    })
    const seen = new ResizeObserver(([entry]) => {
      if (Math.abs(entry.contentRect.width - wide) < 1) return
      wide = Math.floor(entry.contentRect.width)
      requestAnimationFrame(draw)
    })
    seen.observe(chart)
    for (const each of ["series", "buckets", "kind", "label"]) model.on(`change:${each}`, draw)
    el.append(chart)
    return () => seen.disconnect()
  },
}

// From nought to a round number that is enough for `most`, in two to five steps.
function scale(most, whole) {
  if (!most) return [0]
  const rough = most / 3, power = 10 ** Math.floor(Math.log10(rough))
  const step = Math.max([1, 2, 5, 10].find((each) => each * power >= rough) * power, whole ? 1 : 0)
  return Array.from({length: Math.ceil(most / step - 1e-9) + 1}, (_, place) => place * step)
}

// Where times stand below the bars: [place, text].
function labels(buckets, step) {
  if (!buckets.length) return []
  const long = buckets.at(-1).at - buckets[0].at > 2 * 86400000
  const found = buckets.map(({at}, place) => [place, (long ? day : hours)(new Date(at))])
    .filter(([place, text]) => !long || (place && text !== day(new Date(buckets[place - 1].at))))
  const every = Math.max(1, Math.ceil(84 * found.length / (step * buckets.length)))
  return found.filter(([place], nth) => nth % every === 0 && (buckets.length - place) * step > 44)
}

function span(at, width) {
  const [from, to] = [new Date(at), new Date(at + width)]
  if (width >= 86400000) return day(from)
  return `${day(from)} ${hours(from)} – ${hours(to)}`
}

const day = (date) => date.toLocaleDateString("en-GB", {day: "numeric", month: "short"})
const hours = (date) => date.toLocaleTimeString("en-GB", {hour: "2-digit", minute: "2-digit"})
const brief = (n) => n >= 1e6 ? `${+(n / 1e6).toFixed(1)}M` : n >= 1e4 ? `${+(n / 1e3).toFixed(1)}k` : words.count(n)
