// The run as a graph: its agents from left to right and the tools of each, with how often each ran; who runs now is lit.

const CARD = {width: 208, height: 58, across: 64, down: 18, tool: 30}

function asran({select}) {
  const element = h("div.asran", {role: "img", "aria-label": "The agents and tools of this run"})
  let print = ""
  const update = (run) => {
    if (!run?.start) return
    const top = grown(run)
    const now = JSON.stringify(top, (key, value) => key === "took" ? undefined : value)
    if (now === print) return
    print = now
    const nodes = [], edges = []
    settle(top, 0, 4, nodes, edges)
    const height = room(top)
    const width = Math.max(...nodes.map((node) => node.x)) + CARD.width + 16
    replace(element, h("svg:svg", {style: `max-width:${width}px;min-width:${Math.round(0.55 * width)}px`, viewBox: `0 0 ${width} ${height}`}, edges.map(edge), nodes.map((node) => card(node, select))))
  }
  return {element, update}
}

// Agents by their place in the definition, with what ran of each.
function grown(run) {
  const plan = run.about?.agent ?? {}
  const at = new Map()
  const node = (path, name, kind) => {
    const key = path.join("/")
    if (!at.has(key)) {
      at.set(key, {name, kind, path, runs: 0, open: 0, failed: 0, seq: 0, model: "", below: [], under: ""})
      const parent = path.length ? node(path.slice(0, -1), path.at(-2) ?? run.name, "agent") : null
      parent?.below.push(at.get(key))
    }
    return at.get(key)
  }
  const planned = (config, path) => {
    const own = node(path, config.name ?? run.name, "agent")
    own.model = config.model ?? ""
    own.under = config.strategy ?? ""
    for (const each of config.agents ?? []) planned(each, [...path, each.name])
    for (const tool of config.tools ?? []) if (tool.name && tool.toolType !== "agent_tool") node([...path, `${tool.name}()`], tool.name, "tool")
  }
  const depth = run.executions.get(run.root)?.path?.length ?? 0
  planned(plan, [])
  for (const execution of run.executions.values()) {
    const own = node((execution.path ?? []).slice(depth), execution.agentName, "agent")
    own.runs += 1
    own.model ||= execution.model
    own.open += execution.status === "RUNNING" || execution.status === "PAUSED" ? 1 : 0
    own.failed += FAILED.has(execution.status) ? 1 : 0
    own.seq ||= Number(execution.parentTaskId.split(".t").at(-1)) || 0
  }
  for (const span of run.spans.values()) {
    if (span.purpose !== "act" || span.child) continue
    const home = run.executions.get(span.execution)?.path?.slice(depth) ?? []
    const own = node([...home, `${span.name}()`], span.name, "tool")
    own.runs += 1
    own.open += span.endedAt === null ? 1 : 0
    own.failed += FAILED.has(span.status) ? 1 : 0
    own.seq = span.seq
  }
  const root = at.get("")
  root.name = run.name
  return root
}

const tall = (node) => node.kind === "tool" ? CARD.tool : CARD.height
const room = (node) => Math.max(tall(node) + CARD.down, node.below.reduce((sum, child) => sum + room(child), 0))

// Each node stands in the middle of what is below it; gives its place.
function settle(node, depth, top, nodes, edges) {
  const own = {...node, x: 8 + depth * (CARD.width + CARD.across), y: top + (room(node) - CARD.down - tall(node)) / 2, tall: tall(node)}
  nodes.push(own)
  let y = top + (room(node) - node.below.reduce((sum, child) => sum + room(child), 0)) / 2
  for (const child of node.below) {
    edges.push([own, settle(child, depth + 1, y, nodes, edges)])
    y += room(child)
  }
  return own
}

function edge([from, to]) {
  const x1 = from.x + CARD.width, y1 = from.y + from.tall / 2, y2 = to.y + to.tall / 2, half = CARD.across / 2
  return h(`svg:path.edge${to.runs ? ".ran" : ""}`, {d: `M${x1} ${y1}C${x1 + half} ${y1} ${to.x - half} ${y2} ${to.x} ${y2}`})
}

function card(node, select) {
  const said = node.kind === "tool" ? times(node) : [node.model?.split("/").at(-1) || (node.under && node.below.length ? node.under : ""), times(node)].filter(Boolean).join(" · ")
  const inside = [
    h("svg:rect", {width: CARD.width, height: node.tall, rx: node.kind === "tool" ? 15 : 10}),
    h("svg:text.name", {x: 14, y: node.kind === "tool" ? 19.500 : 25}, words.short(node.name, node.kind === "tool" ? 18 : 24)),
    node.kind === "tool" ? h("svg:text.times", {x: CARD.width - 14, y: 19.500, "text-anchor": "end"}, said) : h("svg:text.times", {x: 14, y: 43}, words.short(said, 30)),
    h("svg:title", null, node.name),
  ]
  const state = node.open ? "open" : node.failed ? "failed" : node.runs ? "ran" : "idle"
  return h(`svg:g.node.${node.kind}.${state}`, {
    transform: `translate(${node.x} ${node.y})`, "data-node": node.name, tabindex: node.seq ? "0" : null, role: node.seq ? "button" : null, "aria-label": `${node.name}, ${said}`,
    onclick: () => node.seq && select(node.seq), onkeydown: (event) => { if (event.key === "Enter" && node.seq) select(node.seq) },
  }, inside)
}

const times = (node) => node.failed ? node.runs === 1 ? "failed" : `${words.count(node.failed)} of ${words.count(node.runs)} failed` : node.runs ? `${words.count(node.runs)}×` : "not run"
