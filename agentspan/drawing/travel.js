// Travel through the log of a run: a slider over its events, the run as it stood at each, and a fork from there. The same
// in a notebook (anywidget) and in the dashboard. It shows `steps`, `moment` and `forks`; it sets `seq` and `wish`, and
// sends nothing by itself.

const TABS = [["messages", "Messages"], ["state", "State"], ["pending", "Open"]];
const SIGNS = {
  execution_started: "▸", thinking: "◌", answer: "●", call: "→", result: "←", request: "?", response: "!", failure: "✕",
  handoff: "⇢", reply: "⇠", execution_completed: "■", execution_failed: "✕",
};
const ANYWHERE = ["prompt", "model", "instructions"];
const LABELS = {
  prompt: "the prompt", model: "the model", instructions: "the instructions", answer: "the answer",
  tool_result: "the tool's result", output: "what came of it", arguments: "the arguments",
};
const ROLES = { system: "Instructions", user: "User", assistant: "Agent", tool: "Tool" };

function render({ model, el }) {
  const view = { tab: "messages", open: false, fields: {}, click: 0, timer: 0 };
  const parts = {
    head: h("div", { class: "ast-head" }), bar: h("div", { class: "ast-bar" }), line: h("div", { class: "ast-line" }),
    facts: h("div", { class: "ast-facts" }), tabs: h("div", { class: "ast-tabs", role: "tablist" }),
    body: h("div", { class: "ast-body", role: "tabpanel", tabindex: "0" }), fork: h("div", { class: "ast-fork" }),
    forks: h("div", { class: "ast-forks" }),
  };
  const root = h("div", { class: "ast", tabindex: "0", role: "group", "aria-label": "Travel through the run" }, ...Object.values(parts));
  const steps = () => model.get("steps") || [];
  const place = () => Math.max(0, steps().findIndex((each) => each.seq === model.get("seq")));
  const go = (to) => {
    const found = steps()[Math.min(Math.max(0, to), steps().length - 1)];
    if (!found || found.seq === model.get("seq")) return;
    model.set("seq", found.seq);
    clearTimeout(view.timer);  // only where the hand comes to rest is asked for
    view.timer = setTimeout(() => model.save_changes(), 60);
  };
  const slider = h("input", { type: "range", class: "ast-slider", min: "0", "aria-label": "Step", oninput: () => go(Number(slider.value)) });
  const back = h("button", { type: "button", class: "ast-button", "aria-label": "One step back", title: "key: ←", onclick: () => go(place() - 1) }, "‹");
  const next = h("button", { type: "button", class: "ast-button", "aria-label": "One step on", title: "key: →", onclick: () => go(place() + 1) }, "›");
  const count = h("span", { class: "ast-count" });
  parts.bar.append(back, slider, next, count);

  const at = () => {
    const here = place(), step = steps()[here] || {};
    slider.max = String(Math.max(0, steps().length - 1));
    slider.value = String(here);
    slider.setAttribute("aria-valuetext", `${here + 1} of ${steps().length}: ${told(step.kind)} ${step.summary || ""}`);
    back.disabled = here === 0;
    next.disabled = here >= steps().length - 1;
    count.textContent = `${here + 1} / ${steps().length}`;
    const path = (step.path || []).length ? step.path.join(" › ") : step.agent || "";
    parts.line.replaceChildren(
      h("span", { class: `ast-sign ${/fail|refused/.test(step.kind || "") ? "ast-red" : "ast-blue"}`, "aria-hidden": "true" }, SIGNS[step.kind] || "·"),
      h("b", {}, told(step.kind)), h("span", { class: "ast-summary", title: step.summary || "" }, step.summary || ""),
      h("span", { class: "ast-faint ast-path" }, path, step.turn ? ` · turn ${step.turn}` : ""));
  };
  const moment = () => {
    const now = model.get("moment") || {}, isHere = now.seq === model.get("seq");
    root.setAttribute("aria-busy", String(!isHere || model.get("busy")));
    parts.body.classList.toggle("ast-old", !isHere);
    parts.head.replaceChildren(h("span", { class: "ast-title" }, model.get("title") || "Run"), h("code", { class: "ast-faint" }, model.get("run") || ""));
    parts.facts.replaceChildren(...[["after", span(now.elapsedMs)], ["tokens", String((now.promptTokens || 0) + (now.completionTokens || 0))],
      ["cost", money(now.cost, now.costUnknown)], ["status", told(now.status)]].map(([name, value]) =>
      h("span", {}, h("span", { class: "ast-faint" }, `${name} `), value)));
    parts.tabs.replaceChildren(...TABS.map(([name, label]) => h("button", {
      type: "button", role: "tab", class: "ast-tab", "aria-selected": String(view.tab === name),
      onclick: () => { view.tab = name; moment(); },
    }, label, h("span", { class: "ast-faint" }, ` ${size(now, name)}`))));
    parts.body.replaceChildren(...BODIES[view.tab](now));
  };
  const fork = () => {
    const now = model.get("moment") || {}, isHere = now.seq === model.get("seq");
    const problem = model.get("error") ? h("div", { class: "ast-error", role: "alert" }, model.get("error")) : null;
    if (isHere && !now.forkable) {
      view.open = false;
      parts.fork.replaceChildren(h("span", { class: "ast-faint" }, "The run has ended here: fork it at an earlier step."), problem || "");
      return;
    }
    const open = h("button", { type: "button", class: "ast-button ast-main", "aria-expanded": String(view.open), disabled: isHere ? null : "",
      onclick: () => { view.open = !view.open; view.fields = {}; fork(); } }, "Fork here …");
    parts.fork.replaceChildren(h("div", { class: "ast-row" }, open,
      h("span", { class: "ast-faint" }, model.get("busy") ? "Working …" : "a run of its own; the past is shared")), problem || "", view.open && isHere ? editor(now) : "");
  };
  const editor = (now) => {
    const names = [...(now.edits || []).filter((name) => !(name === "output" && (now.edits || []).some((each) => each === "answer" || each === "tool_result"))), ...ANYWHERE];
    const wrong = h("div", { class: "ast-error", role: "alert" });
    const fields = h("div", { class: "ast-fields" }, ...Object.values(view.fields).map((each) => each.el));
    const add = (name) => () => {
      if (view.fields[name]) delete view.fields[name]; else view.fields[name] = field(name, before(now, name));
      fork();
      view.fields[name]?.input.focus();
    };
    const submit = (event) => {
      event.preventDefault();
      try {
        const edits = Object.fromEntries(Object.entries(view.fields).map(([name, each]) => [name, each.read()]));
        view.click += 1;
        view.open = false;
        model.set("wish", { seq: now.seq, edits, click: view.click });
        model.save_changes();
        fork();
      } catch (problem) { wrong.textContent = problem.message; }
    };
    return h("form", { class: "ast-form", onsubmit: submit },
      h("div", { class: "ast-row" }, h("span", {}, "Change"), ...names.map((name) => h("button", {
        type: "button", class: "ast-button ast-chip", "aria-pressed": String(!!view.fields[name]), onclick: add(name) }, LABELS[name] || name))),
      fields, wrong, h("div", { class: "ast-row" }, h("button", { type: "submit", class: "ast-button ast-go", disabled: model.get("busy") || null }, "Fork")));
  };
  const forks = () => parts.forks.replaceChildren(...(model.get("forks") || []).map((each) => h("div", { class: "ast-forked" },
    h("span", { class: STATES[each.status] || "ast-faint" }, told(each.status)), h("code", {}, each.executionId),
    h("span", { class: "ast-faint" }, `from step ${each.at}${each.edits.length ? `, with ${each.edits.map((name) => LABELS[name] || name).join(", ")} changed` : ""}`),
    each.answer ? h("div", { class: "ast-text" }, each.answer) : "")));
  const keys = (event) => {
    const to = { ArrowLeft: place() - 1, ArrowRight: place() + 1, Home: 0, End: steps().length - 1 }[event.key];
    const own = event.target === root || event.target === parts.body;
    if (to === undefined || !own || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    go(to);
  };
  const all = () => { at(); moment(); fork(); forks(); };
  const listeners = {
    steps: all, seq: () => { at(); moment(); fork(); }, moment: () => { view.fields = {}; moment(); fork(); },
    busy: fork, error: fork, forks, title: moment,
  };
  root.addEventListener("keydown", keys);
  el.replaceChildren(h("style", {}, STYLE), root);
  all();
  for (const [name, listener] of Object.entries(listeners)) model.on(`change:${name}`, listener);
  return () => { for (const [name, listener] of Object.entries(listeners)) model.off?.(`change:${name}`, listener); };
}

// What a moment shows

const BODIES = {
  messages: (now) => (now.messages || []).length ? now.messages.map(said) : [nothing("Nothing has been said yet.")],
  state: (now) => Object.keys(now.state || {}).length ? [h("pre", {}, text(now.state))] : [nothing("The shared state is empty.")],
  pending: (now) => (now.pending || []).length
    ? now.pending.map((each) => h("div", { class: "ast-said" }, h("b", {}, each.name), h("span", { class: "ast-faint" }, ` ${each.purpose} · ${each.kind}`),
      Object.keys(each.arguments || {}).length ? h("pre", {}, text(each.arguments)) : ""))
    : [nothing("Nothing is open.")],
};

function size(now, name) {
  if (name === "state") return Object.keys(now.state || {}).length;
  return (now[name] || []).length;
}

function said(message) {
  const calls = (message.tool_calls || []).map((call) => {
    const made = call.function || call, given = made.arguments ?? made.args ?? {};
    return h("div", { class: "ast-call" }, "→ ", h("b", {}, made.name || ""), "(", typeof given === "string" ? given : JSON.stringify(given), ")");
  });
  const content = message.content === null || message.content === undefined || message.content === "" ? "" : h("div", { class: "ast-text" }, words(message.content));
  return h("div", { class: `ast-said ast-${message.role}` }, h("div", { class: "ast-faint" }, ROLES[message.role] || message.role || ""), content, ...calls);
}

function words(content) {
  if (!Array.isArray(content)) return text(content);
  return content.map((each) => each.text ?? `[${each.type || "part"}]`).join("\n");
}

function nothing(said) {
  return h("div", { class: "ast-faint" }, said);
}

// What a fork changes

function before(now, name) {  // as it is, so that it can be changed and not only be written anew
  const last = (role) => [...(now.messages || [])].reverse().find((each) => each.role === role);
  const first = (role) => (now.messages || []).find((each) => each.role === role);
  const open = (now.pending || []).find((each) => each.taskId.endsWith(`.t${now.seq}`));
  const found = {
    prompt: () => first("user")?.content, instructions: () => first("system")?.content, answer: () => last("assistant")?.content,
    tool_result: () => last("tool")?.content, output: () => last("tool")?.content, arguments: () => open?.arguments ?? asked(last("assistant")),
  }[name]?.();
  return found === undefined || found === null ? "" : text(found);
}

function asked(answer) {  // the arguments of an answer's call; of several, by their tools
  const calls = (answer?.tool_calls || []).map((each) => ({ name: (each.function || each).name, given: (each.function || each).arguments ?? {} }))
    .map(({ name, given }) => [name, typeof given === "string" ? object(given) : given]);
  return calls.length === 1 ? calls[0][1] : Object.fromEntries(calls);
}

function field(name, value) {
  const id = `ast-${Math.random().toString(36).slice(2)}`;
  const isShort = name === "model";
  const input = h(isShort ? "input" : "textarea", { id, class: `ast-input ${name === "arguments" ? "ast-code" : ""}`, rows: isShort ? null : "4",
    placeholder: isShort ? "provider/model" : null, required: name === "model" || name === "prompt" || null, spellcheck: name === "arguments" ? "false" : null });
  input.value = value;
  return { input, read: () => READ[name]?.(input.value) ?? input.value, el: h("div", {}, h("label", { for: id }, LABELS[name] || name), input) };
}

const READ = {
  arguments: (given) => object(given),
  tool_result: (given) => perhaps(given),
  output: (given) => perhaps(given),
};

function object(given) {
  let found;
  try { found = JSON.parse(given); } catch (problem) { throw new Error(`the arguments are not JSON: ${problem.message}`); }
  if (found === null || typeof found !== "object" || Array.isArray(found)) throw new Error("the arguments must be a JSON object");
  return found;
}

function perhaps(given) {  // an object or a list as it is, any other text as text
  if (!/^\s*[[{]/.test(given)) return given;
  try { return JSON.parse(given); } catch { return given; }
}

// Words

const STATES = { COMPLETED: "ast-green", FAILED: "ast-red", TIMED_OUT: "ast-red" };

function told(word) {
  return String(word || "").toLowerCase().replaceAll("_", " ");
}

function text(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function span(ms) {
  if (ms === undefined || ms === null) return "";
  if (ms < 1000) return `${ms} ms`;
  const s = ms / 1000;
  return s < 60 ? `${s.toFixed(1)} s` : `${Math.floor(s / 60)} min ${String(Math.round(s % 60)).padStart(2, "0")} s`;
}

function money(usd, unknown) {
  if (unknown) return usd ? `≥ $${usd.toFixed(4)}` : "price unknown";
  return usd ? `$${usd < 0.1 ? usd.toFixed(4) : usd.toFixed(2)}` : "$0";
}

function h(name, attributes, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...content.flat().filter((each) => each !== null && each !== undefined && each !== "" && each !== false));
  return element;
}

const STYLE = `
.ast { font: 13px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: inherit; max-width: 960px; box-sizing: border-box;
  border: 1px solid color-mix(in srgb, currentColor 24%, transparent); border-radius: 8px; padding: 12px 16px; margin: 4px 0;
  display: flex; flex-direction: column; gap: 8px; }
.ast:focus-visible, .ast-button:focus-visible, .ast-input:focus-visible, .ast-tab:focus-visible, .ast-body:focus-visible { outline: 2px solid #2776d2; outline-offset: 1px; }
.ast-head, .ast-line, .ast-row, .ast-bar, .ast-facts { display: flex; gap: 8px; align-items: baseline; flex-wrap: wrap; }
.ast-title { font-weight: 600; } .ast-head code { margin-left: auto; }
.ast code, .ast-code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12px; background: none; color: inherit; }
.ast-bar { align-items: center; flex-wrap: nowrap; }
.ast-slider { flex: 1; min-width: 80px; accent-color: #2776d2; }
.ast-count { font-variant-numeric: tabular-nums; white-space: nowrap; }
.ast-line { flex-wrap: nowrap; }
.ast-summary { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; flex: 1; }
.ast-path { white-space: nowrap; }
.ast-facts { gap: 4px 24px; font-variant-numeric: tabular-nums; }
.ast-faint { opacity: .68; font-size: 12px; font-weight: 400; }
.ast-blue { color: #2776d2; } .ast-red { color: #d63d3e; } .ast-green { color: #03883d; }
.ast-tabs { display: flex; gap: 16px; border-bottom: 1px solid color-mix(in srgb, currentColor 16%, transparent); }
.ast-tab { font: inherit; color: inherit; background: none; border: 0; border-bottom: 2px solid transparent; padding: 4px 0; margin-bottom: -1px; cursor: pointer; }
.ast-tab[aria-selected="true"] { border-bottom-color: #2776d2; font-weight: 600; }
.ast-body { max-height: 340px; min-height: 96px; overflow: auto; transition: opacity .1s; } .ast-old { opacity: .5; }
.ast-said { padding: 4px 0 4px 12px; margin: 4px 0; border-left: 3px solid color-mix(in srgb, currentColor 24%, transparent); }
.ast-user { border-left-color: #2776d2; } .ast-assistant { border-left-color: #8e5bd4; } .ast-tool { border-left-color: #008389; }
.ast-text, .ast-call { white-space: pre-wrap; overflow-wrap: anywhere; }
.ast pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0; padding: 0; font-size: 12px; background: none; color: inherit; }
.ast-form, .ast-fields, .ast-forks, .ast-fork { display: flex; flex-direction: column; gap: 8px; }
.ast-form { margin: 0; } .ast-forks:empty { display: none; }
.ast-forked { display: flex; gap: 4px 8px; flex-wrap: wrap; align-items: baseline; border-top: 1px solid color-mix(in srgb, currentColor 16%, transparent); padding-top: 8px; }
.ast-forked .ast-text { flex-basis: 100%; }
.ast-button { font: inherit; font-weight: 500; color: inherit; background: transparent; cursor: pointer; padding: 2px 10px; min-height: 28px;
  border: 1px solid color-mix(in srgb, currentColor 32%, transparent); border-radius: 6px; }
.ast-button:hover:not(:disabled) { background: color-mix(in srgb, currentColor 8%, transparent); }
.ast-button:disabled { opacity: .45; cursor: default; }
.ast-chip { border-radius: 14px; font-weight: 400; } .ast-chip[aria-pressed="true"] { border-color: #2776d2; color: #2776d2; }
.ast-go { background: #2776d2; border-color: #2776d2; color: #fff; } .ast-go:hover:not(:disabled) { background: #1d62b3; }
.ast-input { font: inherit; color: inherit; background: color-mix(in srgb, currentColor 4%, transparent); width: 100%; box-sizing: border-box;
  padding: 4px 8px; border: 1px solid color-mix(in srgb, currentColor 28%, transparent); border-radius: 6px; }
.ast-input.ast-code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.ast label { font-weight: 500; } .ast-error { color: #d63d3e; overflow-wrap: anywhere; } .ast-error:empty { display: none; }
`;

export default { render };
