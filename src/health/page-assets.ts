/** The page's style sheet. */
export const PAGE_STYLE = `
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:1.5rem 0 .3rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.15rem .7rem .15rem 0;vertical-align:top}
tr+tr td{border-top:1px solid #8883}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 1rem;margin:0}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}
progress{display:block;width:100%;height:.5rem;accent-color:#0b68cb}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
.done{color:#18794e}.running{color:#0b68cb}.failed{color:#c62a2f}.pending,.skipped{opacity:.6}
@media(prefers-color-scheme:dark){.done{color:#3dd68c}.running{color:#70b8ff}.failed{color:#ff9592}}
footer{margin-top:2rem;opacity:.7}`

/** The page's script: at every event the server's own rendering is fetched and put in place, at most five times a second. */
export const PAGE_SCRIPT = `
let waiting = false
const refresh = async () => {
  waiting = false
  const answer = await fetch('/', { cache: 'no-store' })
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
  document.title = page.title
  document.querySelector('main').replaceWith(page.querySelector('main'))
}
const later = () => {
  if (waiting) return
  waiting = true
  setTimeout(() => refresh().catch(() => { waiting = false }), 200)
}
const events = new EventSource('/events')
for (const name of ['snapshot', 'machine', 'step', 'unit']) events.addEventListener(name, later)
`

/** Content-Security-Policy source of the script: the SHA-256 of its text (w3.org/TR/CSP3). */
export const PAGE_SCRIPT_SOURCE = 'sha256-l6VvCauJmoDw3wUkcWfb+ncrf2BOh1KeCkH2/4B7/oA='
