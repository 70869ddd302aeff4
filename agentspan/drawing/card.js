// The card of one request to a person: what is asked, and the ways to answer. The same in a notebook (anywidget) and in
// the dashboard. It shows `request` or, once there is one, `decision`; it sets `answer` and sends nothing by itself.

const KINDS = {
  approval: "Approval wanted", question: "Question", review: "Review wanted", selection: "Who is next?",
  message: "Message wanted", turn: "Your turn",
};
const STATES = { expired: "Expired", canceled: "No longer asked" };
const SAME = new Set(["approved", "reason", "arguments", "edited_output", "selected"]);

function render({ model, el }) {
  const view = { open: "", problem: "", clicks: 0 };
  const root = h("div", { class: "asc", tabindex: "0", role: "group" });
  const draw = () => {
    const decision = model.get("decision");
    root.replaceChildren(...(decision ? decided(model.get("request") || {}, decision) : open(model, view, send, draw)));
    root.setAttribute("aria-label", title(model.get("request") || {}));
    root.dataset.request = (model.get("request") || {}).requestId || "";
    root.setAttribute("aria-busy", model.get("busy") ? "true" : "false");
    root.dataset.state = decision ? decision.status || "answered" : model.get("busy") ? "busy" : "open";
  };
  const send = (answer) => {
    if (model.get("busy") || model.get("decision")) return;
    view.clicks += 1;
    model.set("answer", { requestId: (model.get("request") || {}).requestId, answer, click: view.clicks });
    model.save_changes();
  };
  const soon = () => {  // what was typed is kept: only the buttons and what is told change
    if (model.get("decision")) return;
    const busy = !!model.get("busy");
    root.setAttribute("aria-busy", String(busy));
    root.dataset.state = busy ? "busy" : "open";
    root.querySelectorAll("button").forEach((each) => { each.disabled = busy; });
    root.querySelector(".asc-told").replaceChildren(...told(model));
  };
  const anew = () => { view.open = ""; draw(); };
  const key = (event) => {
    if (event.target !== root || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = root.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (button) { event.preventDefault(); event.stopPropagation(); button.click(); }
  };
  el.replaceChildren(h("style", {}, STYLE), root);
  draw();
  root.addEventListener("keydown", key);
  const names = { request: anew, decision: draw, busy: soon, error: soon, note: soon, locked: draw };
  for (const [name, listener] of Object.entries(names)) model.on(`change:${name}`, listener);
  return () => { for (const [name, listener] of Object.entries(names)) model.off?.(`change:${name}`, listener); };
}

// An open request

function open(model, view, send, draw) {
  const request = model.get("request") || {};
  const busy = !!model.get("busy");
  const show = (name) => () => {
    view.open = view.open === name ? "" : name;
    draw();
  };
  const button = (words, key, act, kind = "") =>
    h("button", { class: `asc-button ${kind}`, type: "button", "data-key": key, disabled: busy || null, onclick: act,
      title: key ? `key: ${key}` : null }, words);
  return [
    head(request, "◆", "asc-amber"),
    about(request),
    ...(model.get("locked") ? locked(request, model.get("locked"))
      : (FORMS[request.kind] || FORMS.question)({ request, view, send, show, button, busy })),
    h("div", { class: "asc-told" }, ...told(model)),
    foot(request),
  ].filter(Boolean);
}

// What is asked, for who may not answer it: `locked` says why.
function locked(request, why) {
  return [
    request.kind === "approval" && values(request.arguments || {}),
    h("div", { class: "asc-note" }, why),
  ].filter(Boolean);
}

function told(model) {
  return [
    model.get("error") && h("div", { class: "asc-error", role: "alert" }, model.get("error")),
    model.get("busy") && h("div", { class: "asc-faint", role: "status" }, "Sending …"),
    model.get("note") && h("div", { class: "asc-note" }, model.get("note")),
  ].filter(Boolean);
}

const FORMS = {
  approval: ({ request, view, send, show, button, busy }) => [
    view.open === "edit" ? null : values(request.arguments || {}),
    h("div", { class: "asc-row" },
      button("Approve", "a", () => send({ approved: true }), view.open ? "" : "asc-yes"),
      button("Edit …", "e", show("edit")),
      button("Reject …", "r", show("reject"), "asc-no")),
    view.open === "edit" &&
      form(formOf(request.argumentsSchema, request.arguments), request.arguments || {}, "Approve with these arguments", busy,
        (given) => send({ approved: true, arguments: given })),
    view.open === "reject" && words("Why? The model is told.", "Reject", busy, (reason) => send({ approved: false, reason }), true),
  ].filter(Boolean),
  review: ({ request, view, send, show, button, busy }) => [
    h("div", { class: "asc-row" },
      button("Let pass", "a", () => send({ approved: true }), view.open ? "" : "asc-yes"),
      button("Edit …", "e", show("edit")),
      button("Reject …", "r", show("reject"), "asc-no")),
    view.open === "edit" &&
      words("What is to pass instead", "Let this pass", busy, (text) => send({ approved: true, edited_output: text }), false, text(request.content)),
    view.open === "reject" && words("Why?", "Reject", busy, (reason) => send({ approved: false, reason }), true),
  ].filter(Boolean),
  selection: ({ request, send, button }) => {
    const names = (((request.responseSchema || {}).properties || {}).selected || {}).enum || [];
    return [h("div", { class: "asc-row" },
      ...names.map((name) => button(name === "DONE" ? "Nobody: end here" : name, "", () => send({ selected: name }), name === "DONE" ? "" : "asc-yes")))];
  },
  question: ({ request, send, busy }) => {
    const schema = request.responseSchema || {};
    const keys = Object.keys(schema.properties || {});
    const only = keys.length === 1 ? plain(schema.properties[keys[0]]) : null;
    if (only && only.type === "string" && !only.enum)
      return [words(only.title || only.description || "Your answer", "Send", busy, (said) => send({ [keys[0]]: said }))];
    if (keys.length) return [form(schema, {}, "Send", busy, send)];
    return [words("Your answer", "Send", busy, (said) => send({ message: said }))];
  },
  message: ({ send, busy }) => [words("Your message", "Send", busy, (said) => send({ message: said }))],
  turn: ({ send, busy }) => [words("What you say", "Send", busy, (said) => send({ message: said }))],
};

function head(request, sign, colour) {
  const path = (request.path || []).length ? request.path.join(" / ") : request.agentName || "";
  return h("div", { class: "asc-head" },
    h("span", { class: `asc-sign ${colour}`, "aria-hidden": "true" }, sign),
    h("span", { class: "asc-title" }, title(request)),
    h("span", { class: "asc-faint asc-path", title: path }, path),
    h("span", { class: "asc-faint asc-due" }, due(request)));
}

function about(request) {
  if (request.content === null || request.content === undefined || request.content === "") return null;
  return h("div", { class: "asc-content" }, text(request.content));
}

function foot(request) {
  if (!request.link && !request.command) return null;
  return h("div", { class: "asc-foot asc-faint" },
    request.link && h("a", { href: request.link, target: "_blank", rel: "noopener" }, "Open in the inbox"),
    request.link && request.command && " · ",
    request.command && h("code", {}, request.command));
}

// A decision, for good

function decided(request, decision) {
  const answer = decision.answer || {};
  const [sign, colour, said] = verdict(request, decision, answer);
  const who = [decision.decidedBy && `by ${decision.decidedBy}`, when(decision.decidedAt)].filter(Boolean).join(" · ");
  const rest = Object.fromEntries(Object.entries(answer).filter(([key]) => !SAME.has(key)));
  return [
    h("div", { class: "asc-head" },
      h("span", { class: `asc-sign ${colour}`, "aria-hidden": "true" }, sign),
      h("span", { class: "asc-title" }, said),
      h("span", { class: "asc-faint asc-due" }, who)),
    values(answer.arguments || (request.kind === "approval" ? request.arguments : null) || {}),
    answer.reason && h("div", { class: "asc-content" }, text(answer.reason)),
    answer.edited_output !== undefined && h("div", { class: "asc-content" }, text(answer.edited_output)),
    Object.keys(rest).length ? values(rest) : null,
  ].filter(Boolean);
}

function verdict(request, decision, answer) {
  const what = request.tool ? ` ${request.tool}` : "";
  if (STATES[decision.status]) return ["■", "asc-grey", `${STATES[decision.status]}:${what || ` ${KINDS[request.kind] || ""}`}`];
  if (request.kind === "approval" || request.kind === "review") {
    if (answer.approved === false) return ["✕", "asc-red", `Rejected${what}`];
    return ["✓", "asc-green", `${answer.arguments ? "Approved with changes" : "Approved"}${what}`];
  }
  if (request.kind === "selection") return ["✓", "asc-green", answer.selected === "DONE" ? "Nobody is next" : `${answer.selected} is next`];
  return ["✓", "asc-green", `Answered${what}`];
}

// Fields

function form(schema, value, label, busy, send) {
  const fields = Object.entries(schema.properties || {}).map(([name, each]) =>
    field(name, plain(each), value[name], (schema.required || []).includes(name)));
  const raw = h("textarea", { class: "asc-input asc-code", rows: "6", "aria-label": "The arguments as JSON", spellcheck: "false" });
  const problem = h("div", { class: "asc-error", role: "alert", hidden: "" });
  const inputs = h("div", { class: "asc-fields" }, ...fields.map((each) => each.el));
  const rawBox = h("div", { hidden: "" }, raw);
  let asJson = fields.length === 0;
  const known = new Set(Object.keys(schema.properties || {}));
  const extra = Object.fromEntries(Object.entries(value).filter(([name]) => !known.has(name)));
  const read = () => {
    if (asJson) {
      const given = parse(raw.value, "this");
      if (given === null || typeof given !== "object" || Array.isArray(given)) throw new Error("this must be a JSON object");
      return given;
    }
    const given = { ...extra };
    for (const each of fields) { const found = each.read(); if (found !== undefined) given[each.name] = found; }
    return given;
  };
  const attempt = (act) => {
    try { problem.hidden = true; act(); } catch (wrong) { problem.textContent = wrong.message; problem.hidden = false; }
  };
  const turn = () => attempt(() => {
    if (!asJson) raw.value = JSON.stringify(read(), null, 2);
    asJson = !asJson;
    inputs.hidden = asJson; rawBox.hidden = !asJson; toggle.setAttribute("aria-pressed", String(asJson));
  });
  const toggle = h("button", { class: "asc-button asc-quiet", type: "button", "aria-pressed": "false", onclick: turn }, "as JSON");
  if (asJson) { raw.value = JSON.stringify(value, null, 2); rawBox.hidden = false; }
  return h("form", { class: "asc-form", onsubmit: (event) => { event.preventDefault(); attempt(() => send(read())); } },
    inputs, rawBox, problem,
    h("div", { class: "asc-row" },
      h("button", { class: "asc-button asc-yes", type: "submit", disabled: busy || null }, label), fields.length ? toggle : null));
}

function field(name, schema, value, required) {
  const id = `asc-${Math.random().toString(36).slice(2)}`;
  const [input, read] = (INPUTS[kindOf(schema, value)])(id, name, schema, value, required);
  const label = h("label", { for: id }, schema.title || name, required ? null : h("span", { class: "asc-faint" }, " (optional)"));
  const hint = schema.description ? h("div", { class: "asc-faint asc-hint" }, schema.description) : null;
  return { name, read, el: h("div", { class: "asc-field" }, label, input, hint) };
}

const INPUTS = {
  boolean: (id, name, schema, value) => {
    const input = h("input", { id, type: "checkbox", checked: value === true || (value === undefined && schema.default === true) || null });
    return [input, () => input.checked];
  },
  number: (id, name, schema, value, required) => {
    const input = h("input", { id, class: "asc-input", type: "number", step: schema.type === "integer" ? "1" : "any",
      required: required || null, value: value ?? schema.default ?? "" });
    return [input, () => (input.value === "" ? undefined : checked(input, name))];
  },
  choice: (id, name, schema, value, required) => {
    const options = schema.enum.map((each, place) => h("option", { value: String(place), selected: each === (value ?? schema.default) || null }, text(each)));
    const none = required ? [] : [h("option", { value: "" }, "–")];
    const input = h("select", { id, class: "asc-input" }, ...none, ...options);
    return [input, () => (input.value === "" ? undefined : schema.enum[Number(input.value)])];
  },
  string: (id, name, schema, value, required) => {
    const shown = value ?? schema.default ?? "";
    const isLong = String(shown).length > 60 || String(shown).includes("\n");
    const input = h(isLong ? "textarea" : "input", { id, class: "asc-input", rows: isLong ? "4" : null });
    input.value = shown;
    return [input, () => (input.value === "" && !required && value === undefined ? undefined : input.value)];
  },
  json: (id, name, schema, value) => {
    const input = h("textarea", { id, class: "asc-input asc-code", rows: "3", spellcheck: "false" });
    input.value = value === undefined && schema.default === undefined ? "" : JSON.stringify(value ?? schema.default, null, 2);
    return [input, () => (input.value.trim() === "" ? undefined : parse(input.value, name))];
  },
};

function kindOf(schema, value) {
  if (Array.isArray(schema.enum)) return "choice";
  if (schema.type === "boolean") return "boolean";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "string" && (value === undefined || typeof value === "string")) return "string";
  return "json";
}

function checked(input, name) {
  const number = Number(input.value);
  if (!Number.isFinite(number) || (input.step === "1" && !Number.isInteger(number)))
    throw new Error(`${name} must be a ${input.step === "1" ? "whole number" : "number"}`);
  return number;
}

function plain(schema) {  // what may also be null is what it is otherwise
  const choices = (schema || {}).anyOf || (schema || {}).oneOf;
  if (!choices) return Array.isArray((schema || {}).type) ? { ...schema, type: schema.type.find((each) => each !== "null") } : schema || {};
  const rest = choices.filter((each) => each.type !== "null");
  return rest.length === 1 ? { ...schema, anyOf: undefined, ...rest[0] } : { ...schema, anyOf: undefined };
}

function formOf(schema, value) {  // without a schema the values say what they are
  if (schema && schema.properties) return schema;
  const types = Object.entries(value || {}).map(([name, each]) =>
    [name, { type: { string: "string", boolean: "boolean", number: "number" }[typeof each] }]);
  return { properties: Object.fromEntries(types), required: Object.keys(value || {}) };
}

function words(label, verb, busy, send, mayBeEmpty = false, value = "") {
  const id = `asc-${Math.random().toString(36).slice(2)}`;
  const input = h("textarea", { id, class: "asc-input", rows: "3" });
  input.value = value;
  const submit = (event) => {
    event.preventDefault();
    if (mayBeEmpty || input.value.trim()) send(input.value.trim()); else input.focus();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) submit(event);
    event.stopPropagation();
  });
  return h("form", { class: "asc-form", onsubmit: submit },
    h("label", { for: id }, label), input,
    h("div", { class: "asc-row" }, h("button", { class: "asc-button asc-yes", type: "submit", disabled: busy || null }, verb)));
}

function values(given) {
  const rows = Object.entries(given);
  if (!rows.length) return null;
  return h("table", { class: "asc-values" }, h("tbody", {},
    ...rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, text(value))))));
}

// Words

function title(request) {
  const name = KINDS[request.kind] || "Request";
  return request.tool && request.kind !== "selection" && request.kind !== "turn" ? `${name}: ${request.tool}` : name;
}

function due(request) {
  if (request.deadline) return `until ${when(request.deadline)}`;
  return request.since ? `since ${when(request.since)}` : "";
}

function when(ms) {
  if (!ms) return "";
  const at = new Date(ms), two = (n) => String(n).padStart(2, "0");
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
  return `${day}${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

function text(value) {
  if (typeof value === "string") return value;
  const line = JSON.stringify(value) ?? "";
  return line.length <= 60 ? line : JSON.stringify(value, null, 2);
}

function parse(given, name) {
  try { return JSON.parse(given); } catch (wrong) { throw new Error(`${name} is not JSON: ${wrong.message}`); }
}

function h(name, attributes, ...content) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...content.flat().filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

const STYLE = `
.asc { font: 13px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: inherit; max-width: 720px;
  border: 1px solid color-mix(in srgb, currentColor 24%, transparent); border-left: 3px solid #af6300; border-radius: 8px;
  padding: 12px 16px; margin: 4px 0; display: flex; flex-direction: column; gap: 8px; box-sizing: border-box; }
.asc:focus-visible { outline: 2px solid #2776d2; outline-offset: 1px; }
.asc[data-state="answered"] { border-left-color: #03883d; }
.asc[data-state="expired"], .asc[data-state="canceled"] { border-left-color: #71767f; }
.asc [hidden], .asc-told:empty { display: none; }
.asc-head { display: flex; gap: 8px; align-items: baseline; flex-wrap: wrap; }
.asc-title { font-weight: 600; overflow-wrap: anywhere; }
.asc-path { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 50%; }
.asc-due { margin-left: auto; font-variant-numeric: tabular-nums; white-space: nowrap; }
.asc-faint { opacity: .68; font-size: 12px; }
.asc-amber { color: #af6300; } .asc-green { color: #03883d; } .asc-red { color: #d63d3e; } .asc-grey { color: #71767f; }
.asc-content { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 320px; overflow: auto; }
.asc-values { border-collapse: collapse; width: 100%; font-size: 12.5px; }
.asc-values th { text-align: left; font-weight: 500; opacity: .68; padding: 4px 16px 4px 0; vertical-align: top; white-space: nowrap; width: 1%; }
.asc-values td { text-align: left; padding: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.asc-values tr + tr > * { border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
.asc-row { display: flex; gap: 8px; flex-wrap: wrap; align-items: center; }
.asc-button { font: inherit; font-weight: 500; color: inherit; background: transparent; cursor: pointer; padding: 4px 12px; min-height: 30px;
  border: 1px solid color-mix(in srgb, currentColor 32%, transparent); border-radius: 6px; }
.asc-button:hover { background: color-mix(in srgb, currentColor 8%, transparent); }
.asc-button:focus-visible, .asc-input:focus-visible { outline: 2px solid #2776d2; outline-offset: 1px; }
.asc-button:disabled { opacity: .5; cursor: default; }
.asc-yes { background: #03883d; border-color: #03883d; color: #fff; }
.asc-yes:hover:not(:disabled) { background: #02702f; }
.asc-no { color: #d63d3e; border-color: color-mix(in srgb, #d63d3e 60%, transparent); }
.asc-quiet { border-color: transparent; opacity: .8; }
.asc-form { display: flex; flex-direction: column; gap: 8px; margin: 0; }
.asc-fields { display: flex; flex-direction: column; gap: 8px; }
.asc-field { display: flex; flex-direction: column; gap: 2px; }
.asc-field input[type="checkbox"] { align-self: flex-start; margin: 4px 0; }
.asc label { font-weight: 500; }
.asc-input { font: inherit; color: inherit; background: color-mix(in srgb, currentColor 4%, transparent); width: 100%; box-sizing: border-box;
  padding: 4px 8px; border: 1px solid color-mix(in srgb, currentColor 28%, transparent); border-radius: 6px; }
.asc-input option { color: #111; background: #fff; }
.asc-code, .asc-foot code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 12px; }
.asc-error { color: #d63d3e; overflow-wrap: anywhere; }
.asc-note { border-left: 2px solid #af6300; padding-left: 8px; }
.asc-foot { overflow-wrap: anywhere; } .asc-foot a { color: inherit; }
`;

export default { render };
