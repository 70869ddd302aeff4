// The versions of an agent: which two are compared, what differs line by line, and the way back to an old one.
//
// versions: [{version, at, same, href, runs}], the newest first; before, after: numbers;
// changes: [{path, what, rows: [{mark, left, right, count}]}] or null while they are read. It sends {compare: [before, after]} and {back: version}.

export default {
  render({model, el}) {
    const list = h("div"), different = h("div.different")
    let armed = 0
    const pick = (side, {version}) => h("td.check", null, h("input", {
      type: "radio", name: side, checked: model.get(side) === version, "aria-label": `${side === "before" ? "From" : "To"} version ${version}`, "data-focus": `${side}${version}`,
      onchange: () => model.send({compare: side === "before" ? [version, model.get("after")] : [model.get("before"), version]}),
    }))
    const back = (each, place) => {
      if (!place) return h("span.chip", null, "latest")
      if (!model.get("may").includes("roll back")) return null
      if (each.same) return h("span.muted", null, "same as the latest")
      if (armed !== each.version) return h("button", {"data-focus": `back${each.version}`, "aria-label": `Roll back to version ${each.version}`, onclick: () => { armed = each.version; draw(); list.querySelector("[data-confirm]").focus() }}, "Roll back…")
      const latest = model.get("versions")[0].version
      return [
        h("span.muted", null, `Makes version ${latest + 1} with what was version ${each.version}. Runs under way keep theirs. `),
        h("button.primary", {"data-confirm": each.version, onclick: () => { armed = 0; model.send({back: each.version}); draw() }}, "Roll back"), " ",
        h("button", {onclick: () => { armed = 0; draw() }}, "Not now"),
      ]
    }
    const draw = () => {
      const versions = model.get("versions"), several = versions.length > 1
      const focused = list.getRootNode().activeElement?.getAttribute?.("data-focus")
      replace(list, h("div.scroll.every", null, h("table", {"aria-label": "Versions"},
        h("thead", null, h("tr", null, several ? [h("th.check", {scope: "col"}, "From"), h("th.check", {scope: "col"}, "To")] : null, ["Version", "Deployed", "Content", ""].map((name) => h("th", {scope: "col"}, name)))),
        h("tbody", null, versions.map((each, place) => h("tr", {"data-version": each.version},
          several ? [pick("before", each), pick("after", each)] : null,
          h("td", null, h("a", {href: each.href}, `v${each.version}`)),
          h("td", null, h("time", {datetime: new Date(each.at).toISOString(), title: new Date(each.at).toLocaleString("en-GB")}, words.since(each.at))),
          h("td", null, h("code.muted", {title: each.checksum}, each.checksum.slice(0, 10))),
          h("td.number", null, back(each, place))))))))
      if (focused) list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus()
    }
    const compare = () => {
      const changes = model.get("changes"), [before, after] = [model.get("before"), model.get("after")]
      if (model.get("versions").length < 2) return replace(different, h("p.muted", null, "There is one version. A deployment that differs from it makes the next, and this shows what changed."))
      replace(different, h("h2", null, `From v${before} to v${after}`),
        changes === null ? h("p.muted.late", null, "Loading…")
          : !changes.length ? h("p.muted", null, before === after ? "Choose two versions." : "They are the same.")
          : changes.map(({path, what, rows}) => h("section.change", {"aria-label": path},
            h("h3", null, h("code", null, path), h(`span.chip.${what}`, null, what)), side_by_side(rows, before, after, path))))
    }
    const side_by_side = (rows, before, after, path) => h("div.scroll", null, h("table.beside", {"aria-label": `${path}: version ${before} and version ${after}`},
      h("colgroup", null, ["sign", "text", "sign", "text"].map((name) => h(`col.${name}`))),
      h("tbody", null, rows.map((row) => row.mark === "skip"
        ? h("tr.skip", null, h("td", {colspan: 4}, `${row.count} ${row.count === 1 ? "line" : "lines"} the same`))
        : h("tr", {"data-mark": row.mark}, side(row.left, row.mark, "gone", "−"), side(row.right, row.mark, "new", "+"))))))
    const side = (pieces, mark, name, sign) => pieces === null ? [h("td.sign.none"), h("td.none")] : [
      h(`td.sign${mark === "same" ? "" : `.${name}`}`, {"aria-label": mark === "same" ? null : name === "gone" ? "before" : "after"}, mark === "same" ? "" : sign),
      h(`td${mark === "same" ? "" : `.${name}`}`, null, pieces.map(([text, differs]) => differs ? h("mark", null, text) : text)),
    ]
    model.on("change:versions", () => { draw(); compare() })
    for (const each of ["before", "after"]) model.on(`change:${each}`, () => { draw(); compare() })
    model.on("change:may", draw)
    model.on("change:changes", compare)
    draw()
    compare()
    el.append(list, different)
  },
}
