type Colour = 'paper' | 'ink' | 'soft' | 'line' | 'work' | 'path' | 'bad' | 'gone'
type Palette = Readonly<Record<Colour, string>>

const LIGHT: Palette = {
  paper: '#ffffff',
  ink: '#1f2328',
  soft: '#59636e',
  line: '#e4e7eb',
  work: '#9db8dd',
  path: '#1f5fbf',
  bad: '#cf222e',
  gone: '#818b98',
}
const DARK: Palette = {
  paper: '#0d1117',
  ink: '#e6edf3',
  soft: '#9198a1',
  line: '#262c36',
  work: '#3b5478',
  path: '#6cb0ff',
  bad: '#ff6a62',
  gone: '#6e7681',
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'

const LAYOUT = `
.wf text { font-family: ${FONT}; font-size: 12px; }
.wf .head { font-size: 18px; font-weight: 600; }
.wf .tick { font-size: 11px; text-anchor: middle; }
.wf .number, .wf .took { text-anchor: end; }
.wf .part, .wf .note, .wf .hint { font-size: 11px; }
.wf .path .name, .wf .path .took, .wf .failed .name, .wf .failed .took { font-weight: 600; }
.wf .skipped .bar { fill: none; stroke-dasharray: 2 2; }`

// Colours stand in each rule, because converters to other formats do not know CSS variables.
function colours({ paper, ink, soft, line, work, path, bad, gone }: Palette): string {
  return `
.wf text { fill: ${ink}; }
.wf .paper { fill: ${paper}; }
.wf .grid { stroke: ${line}; }
.wf .soft, .wf .tick, .wf .number, .wf .took, .wf .hint { fill: ${soft}; }
.wf .path .took { fill: ${ink}; }
.wf .failed .name, .wf .failed .took, .wf .bad, .wf .note { fill: ${bad}; }
.wf .skipped .name, .wf .skipped .took { fill: ${gone}; }
.wf .bar { fill: ${work}; }
.wf .path .bar { fill: ${path}; }
.wf .failed .bar, .wf .mark { fill: ${bad}; }
.wf .all .bar { fill: ${soft}; }
.wf .mark { stroke: ${paper}; }
.wf .skipped .bar { fill: none; stroke: ${gone}; }`
}

/** Style sheet of the waterfall: light, and dark where the reader prefers it. No font is loaded. */
export const SVG_STYLE = `${LAYOUT}${colours(LIGHT)}
@media (prefers-color-scheme: dark) {${colours(DARK)}
}
`
