"""The pages that the server has of its own, for when the dashboard is not there or not yet allowed: each in one piece,
light and dark, without a script where that can be and without anything from elsewhere."""

from html import escape
from urllib.parse import urlencode

STYLE = """
:root { color-scheme: light dark; --paper: #f6f7f9; --card: #ffffff; --ink: #1c2230; --soft: #5b6475; --line: #d9dde5;
  --edge: #868fa1; --accent: #3f5bd9; --on-accent: #ffffff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #12151c; --card: #1b202a; --ink: #e7eaf0; --soft: #a0a8b8;
  --line: #333a48; --edge: #727d92; --accent: #8fb0ff; --on-accent: #0f1a36; --bad: #ff9a92; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; padding: 24px; }
main { width: 100%; max-width: 400px; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 32px; }
.mark { font-weight: 600; letter-spacing: .01em; color: var(--soft); margin: 0 0 20px; }
h1 { font-size: 22px; line-height: 1.3; margin: 0 0 8px; font-weight: 600; }
p { margin: 0 0 16px; color: var(--soft); overflow-wrap: anywhere; }
p:last-child { margin-bottom: 0; }
label { display: block; font-size: 14px; font-weight: 500; margin: 16px 0 4px; }
.hint { font-weight: 400; color: var(--soft); }
input { width: 100%; font: inherit; color: inherit; background: transparent; border: 1px solid var(--edge);
  border-radius: 8px; padding: 9px 12px; }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button { width: 100%; margin-top: 24px; font: inherit; font-weight: 600; border: 0; border-radius: 8px; padding: 10px;
  background: var(--accent); color: var(--on-accent); cursor: pointer; }
.bad { color: var(--bad); }
a.button { display: block; text-align: center; font-weight: 600; text-decoration: none; border: 1px solid var(--edge);
  border-radius: 8px; padding: 9px; color: var(--ink); overflow-wrap: anywhere; }
a.button:hover { background: var(--paper); }
h1 + a.button, .bad + a.button { margin-top: 16px; }
.or { display: flex; align-items: center; gap: 12px; margin: 20px 0 12px; font-size: 14px; }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line); }
a { color: var(--accent); }
code { font: 14px ui-monospace, SFMono-Regular, Menlo, monospace; color: var(--ink); }
.wait { height: 3px; border-radius: 2px; background: var(--line); overflow: hidden; margin-top: 24px; }
.wait i { display: block; height: 100%; width: 40%; border-radius: 2px; background: var(--accent);
  animation: go 1.4s ease-in-out infinite; }
@keyframes go { from { transform: translateX(-100%); } to { transform: translateX(250%); } }
@media (prefers-reduced-motion: reduce) { .wait i { animation: none; width: 100%; opacity: .5; } }
"""

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' height='32'"
    " rx='7' fill='%233f5bd9'/%3E%3Cpath d='M6 21c4-12 16-12 20 0' fill='none' stroke='white' stroke-width='2.6'"
    " stroke-linecap='round'/%3E%3Ccircle cx='6' cy='21' r='2.6' fill='white'/%3E%3Ccircle cx='16' cy='12' r='2.6'"
    " fill='white'/%3E%3Ccircle cx='26' cy='21' r='2.6' fill='white'/%3E%3C/svg%3E"
)

AGAIN = """
const state = %r, said = document.getElementById("said");
setInterval(async () => {
  const answer = await fetch(state, {cache: "no-store"}).catch(() => null);
  if (!answer) { said.textContent = "The server does not answer."; return; }
  const {word, sentence} = await answer.json();
  if (word !== "starting" && word !== "resting") location.reload();
  said.textContent = sentence;
}, 700);
"""

OR = '<p class="or">or</p>'

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'"
WAITING_POLICY = f"{POLICY}; script-src 'unsafe-inline'; connect-src 'self'"


def message(title: str, sentence: str) -> str:
    """A page that says one thing."""
    return _page(title, f"<h1>{escape(title)}</h1><p>{escape(sentence)}</p>")


def waiting(sentence: str, state: str) -> str:
    """A page that goes on by itself when the dashboard is there; `state`: the address that tells."""
    body = f"""<h1>One moment</h1><p id="said" role="status">{escape(sentence)}</p>
<div class="wait" aria-hidden="true"><i></i></div>
<noscript><meta http-equiv="refresh" content="2"></noscript><script>{AGAIN % state}</script>"""
    return _page("One moment", body)


def login(
    *, problem: str = "", name: str = "", key: str = "", after: str = "", is_open: bool = False, elsewhere: str = ""
) -> str:
    """The form by which a person shows the credentials, and says who they are; on an open server only the latter.
    `elsewhere`: the identity provider at which they may log in instead."""
    said = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    if is_open:
        title, why = "Who are you?", "Your name is kept with what you decide. This server asks for no credentials."
        fields, verb = _field("name", "Your name", name, "name", focus=True), "Continue"
    else:
        title, why = "Log in", "With your name and password, or with the key and the secret of this server."
        fields = "".join(
            [
                _field("key", "Name or key", key, "username", focus=not key, needed=True),
                _field(
                    "secret",
                    "Password or secret",
                    "",
                    "current-password",
                    focus=bool(key),
                    needed=True,
                    kind="password",
                ),
                _field("name", "Your name", name, "name", hint="kept with what you decide, if you log in with a key"),
            ]
        )
        verb = "Log in"
    there = f"login/oidc?{urlencode({'next': after})}"
    other = f'<a class="button" href="{escape(there)}">Log in with {escape(elsewhere)}</a>{OR}' if elsewhere else ""
    form = f"""<h1>{title}</h1>{said}{other}<p>{why}</p><form method="post" action="login">{fields}
<input type="hidden" name="next" value="{escape(after)}"><button>{verb}</button></form>"""
    return _page(title, form)


def _field(
    name: str,
    label: str,
    value: str,
    fill: str,
    *,
    focus: bool = False,
    needed: bool = False,
    kind: str = "text",
    hint: str = "",
) -> str:
    more = f' <span class="hint">({hint})</span>' if hint else ""
    marks = f"{' required' if needed else ''}{' autofocus' if focus else ''}"
    return (
        f'<label for="{name}">{label}{more}</label><input id="{name}" name="{name}" type="{kind}"'
        f' value="{escape(value)}" autocomplete="{fill}" maxlength="200"{marks}>'
    )


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - agentspan</title><link rel="icon" href="{ICON}"><style>{STYLE}</style></head>
<body><main><p class="mark">agentspan</p>{body}</main></body></html>
"""
