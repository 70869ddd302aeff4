// A list of thousands of rows of one height, of which only those in sight are in the page.
//
// render(row) makes an element, whose `refresh(row)` may be called each time it is shown. Rows have a `key`; a row with the
// same `key` and `print` keeps its element.

function windowed({height, render, label, role, item}) {
  const inner = h("div.inner", {role: "presentation"})
  const list = h("div.window", {tabindex: "0", role, "aria-label": label}, inner)
  const shown = new Map()
  let rows = [], waiting = false

  const draw = () => {
    waiting = false
    const from = Math.max(0, Math.floor(list.scrollTop / height) - 8)
    const to = Math.min(rows.length, Math.ceil((list.scrollTop + (list.clientHeight || 600)) / height) + 8)
    const wanted = new Set()
    for (let index = from; index < to; index += 1) {
      const row = rows[index]
      wanted.add(row.key)
      let have = shown.get(row.key)
      if (!have || have.print !== row.print) {
        have?.element.remove()
        have = {print: row.print, element: render(row)}
        have.element.classList.add("row")
        have.element.setAttribute("role", item)
        have.element.id = `row-${row.key}`
        shown.set(row.key, have)
        inner.append(have.element)
      }
      have.element.style.top = `${index * height}px`
      have.element.refresh?.(row)
    }
    for (const [key, have] of shown) if (!wanted.has(key)) { have.element.remove(); shown.delete(key) }
  }
  const soon = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw) } }
  list.addEventListener("scroll", soon, {passive: true})
  const watcher = new ResizeObserver(soon)
  watcher.observe(list)

  return {
    element: list,
    draw,
    end: () => watcher.disconnect(),
    at: (event) => {
      const place = Math.floor((event.clientY - inner.getBoundingClientRect().top) / height)
      return place >= 0 && place < rows.length ? rows[place] : undefined
    },
    set(given) {
      rows = given
      inner.style.height = `${rows.length * height}px`
      draw()
    },
    reach(index) {
      const top = index * height
      if (top < list.scrollTop + height) list.scrollTop = Math.max(0, top - height)
      else if (top > list.scrollTop + list.clientHeight - 2 * height) list.scrollTop = top - list.clientHeight + 2 * height
      draw()
    },
    is_at_end: () => list.scrollTop + list.clientHeight >= list.scrollHeight - 2 * height,
    to_end: () => { list.scrollTop = list.scrollHeight; draw() },
  }
}

const brief_id = (id) => id.length > 20 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id
