// Fields of a form: each checks itself, and says what is wrong right below it.

// kind: line, text, json (an object), lines (addresses), number.
function entry({name, label, kind = "line", hint, placeholder, rows, min, step, value, required, list}) {
  const id = `f-${Math.random().toString(36).slice(2)}`
  const many = kind === "text" || kind === "json" || kind === "lines"
  const input = h(many ? "textarea" : "input", {
    id, name, placeholder, value: value ?? "", rows: many ? rows ?? 2 : null, type: kind === "number" ? "number" : null, min, step, list,
    class: kind === "text" ? "prose" : null, spellcheck: kind === "text" ? "true" : "false", autocomplete: "off", "aria-describedby": `${id}-said`,
  })
  const said = h("p.said", {id: `${id}-said`}, hint)
  const element = h("div.entry", {"data-field": name}, h("label", {for: id}, label, required ? null : h("span.muted", null, " optional")), input, said)
  const tell = (problem) => {
    replace(said, problem || hint || "")
    element.classList.toggle("wrong", Boolean(problem))
    problem ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid")
  }
  input.addEventListener("input", () => tell(""))
  return {
    name, element, input, tell,
    // What was given, or undefined; throws what is wrong.
    read() {
      const text = kind === "text" ? input.value : input.value.trim()
      if (!text.trim()) {
        if (kind === "number" && input.validity.badInput) throw new Error("This is no number.")
        if (required) throw new Error(required)
        return undefined
      }
      return READ[kind](text, input)
    },
  }
}

const READ = {
  line: (text) => text,
  text: (text) => text,
  lines: (text) => text.split("\n").map((each) => each.trim()).filter(Boolean).map((each) => {
    if (!/^(https?|data|s3|gs|file):/i.test(each)) throw new Error(`${words.short(each, 60)} is no address: it begins with https: or data:`)
    return each
  }),
  json: (text) => {
    let value
    try { value = JSON.parse(text) } catch (error) { throw new Error(`This is no JSON: ${error.message}`) }
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error('This must be a JSON object, such as {"order": 17}.')
    return value
  },
  number: (text, input) => {
    const value = Number(text)
    if (!Number.isFinite(value) || value < Number(input.min || 0)) throw new Error("This must be a number of 0 or more.")
    if (input.step === "1" && !Number.isInteger(value)) throw new Error("This must be a whole number.")
    return value
  },
}

// What all fields hold, by name; null if one is wrong, which then says so and has the focus.
function gathered(fields) {
  const given = {}
  let wrong = null
  for (const each of fields) {
    try {
      each.tell("")
      const value = each.read()
      if (value !== undefined) given[each.name] = value
    } catch (error) {
      each.tell(error.message)
      wrong ??= each
    }
  }
  wrong?.input.focus()
  return wrong ? null : given
}
