import { laterModelsSentence } from '../emit/later-models-words.ts'
import type { MachineState, StepState } from '../observe/state.ts'
import type { Progress } from '../report.ts'
import { formatDuration, formatTime } from './format.ts'
import { PAGE_SCRIPT, PAGE_STYLE } from './page-assets.ts'
import { fractionOf } from './progress-bar.ts'
import type { Sighting } from './record.ts'
import { durationMs, knownUntilUs } from './reports.ts'
import { finishedCount, judge } from './standing.ts'

/** `GET /`: the status page for people, complete in itself; its script follows `/events` and fetches the page anew. */
export function renderPage(sighting: Sighting, nowUs: number): string {
  const { state } = sighting
  const title = state === undefined ? 'comfy-machine' : `${state.machineId} · comfy-machine`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style>
<noscript><meta http-equiv="refresh" content="5"></noscript>
</head>
<body>
<main>
${header(sighting, nowUs)}
${state === undefined ? '' : body(state, knownUntilUs(state, sighting.alive, nowUs))}
</main>
<footer><a href="/status">status</a> <a href="/health">health</a> <a href="/ready">ready</a> <a href="/metrics">metrics</a></footer>
<script>${PAGE_SCRIPT}</script>
</body>
</html>
`
}

/** Text made safe for HTML content and quoted attributes. */
function escapeHtml(text: string): string {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;')
}

function header(sighting: Sighting, nowUs: number): string {
  const { phase, ready, healthy, reason } = judge(sighting)
  const { state } = sighting
  const mood = ready ? 'done' : healthy && phase === 'starting' ? 'running' : 'failed'
  const heading = `<h1>${escapeHtml(state?.machineId ?? 'comfy-machine')} <b class="${mood}">${phase}</b></h1>`
  if (state === undefined) return `${heading}\n<p>${escapeHtml(reason)}</p>`
  const tookUs = (state.readyUs ?? knownUntilUs(state, sighting.alive, nowUs)) - state.startedUs
  const facts = [
    ['steps', `${finishedCount(state)} of ${state.steps.length}`],
    [state.readyUs === undefined ? 'starting for' : 'ready after', formatDuration(tookUs / 1000)],
    ['started', formatTime(state.startedUs).replace('T', ' ').slice(0, 19)],
    ['version', state.version],
    ['gpus', state.gpus.map((gpu) => `${gpu.name} ${gpu.model}`).join(', ') || 'none yet'],
    ['workers', state.workers.map((worker) => worker.id).join(', ') || 'none yet'],
    ['trace', state.traceId],
  ] as const
  const list = facts.map(([name, value]) => `<dt>${name}</dt><dd>${escapeHtml(value)}</dd>`).join('')
  return `${heading}\n<p>${escapeHtml(reason)}</p>\n<dl>${list}</dl>`
}

function body(state: MachineState, untilUs: number): string {
  return [
    failing(state),
    degraded(state),
    warnings(state),
    steps(state, untilUs),
    later(state),
    units(state),
    evidence(state),
  ]
    .filter((part) => part !== '')
    .join('\n')
}

function failing(state: MachineState): string {
  if (state.failing.length === 0) return ''
  const items = state.failing.map(
    (item) =>
      `<li><b class="failed">${item.code}</b> step ${item.step} ${escapeHtml(item.stepName)}, ${escapeHtml(item.unit)}<br>` +
      `${escapeHtml(item.message)}<br>${escapeHtml(item.hint)}<br><code>${escapeHtml(item.run)}</code></li>`,
  )
  return `<h2>Failing</h2>\n<ul>${items.join('\n')}</ul>`
}

function degraded(state: MachineState): string {
  if (state.shortfalls.length === 0) return ''
  const items = state.shortfalls.map(
    (item) =>
      `<li><b class="failed">${item.code}</b> without ${escapeHtml(item.component)}, ${escapeHtml(item.unit)}<br>` +
      `${escapeHtml(item.message)}<br>${escapeHtml(item.hint)}<br><code>${escapeHtml(item.run)}</code></li>`,
  )
  return `<h2>Degraded</h2>\n<ul>${items.join('\n')}</ul>`
}

function warnings(state: MachineState): string {
  if (state.warnings.length === 0) return ''
  const items = state.warnings.map((warning) => `<li>${escapeHtml(warning)}</li>`)
  return `<h2>Warnings</h2>\n<ul>${items.join('\n')}</ul>`
}

function steps(state: MachineState, untilUs: number): string {
  const rows = state.steps.map((step) => stepRow(step, untilUs)).join('\n')
  return `<h2>Steps</h2>\n<table><thead><tr><th>#<th>step<th>state<th>time<th>unit</tr></thead><tbody>\n${rows}\n</tbody></table>`
}

function stepRow(step: StepState, untilUs: number): string {
  const ms = durationMs(step, untilUs)
  const about = [step.unit ?? '', step.state === 'done' ? '' : (step.detail ?? '')].filter((text) => text !== '')
  const cells = [
    `<td class="n">${step.number}`,
    `<td>${escapeHtml(step.title)}`,
    `<td class="${step.state}">${step.state}`,
    `<td class="n">${ms === null ? '' : escapeHtml(formatDuration(ms))}`,
    `<td>${about.map(escapeHtml).join(' · ')}${bar(step.progress)}`,
  ]
  return `<tr>${cells.join('')}</tr>`
}

function bar(progress: Progress | undefined): string {
  return progress === undefined ? '' : `<progress value="${fractionOf(progress).toFixed(3)}"></progress>`
}

function later({ laterModels }: MachineState): string {
  const sentence = laterModelsSentence(laterModels)
  if (sentence === undefined) return ''
  return `<h2>After the start</h2>\n<p>${escapeHtml(sentence)}${bar(laterModels?.progress)}</p>`
}

function units(state: MachineState): string {
  if (state.units.length === 0) return ''
  const rows = state.units.map((unit) => {
    const mood = unit.activeState === 'active' ? 'done' : unit.activeState === 'failed' ? 'failed' : 'pending'
    return (
      `<tr><td>${escapeHtml(unit.name)}<td class="${mood}">${escapeHtml(`${unit.activeState} (${unit.subState})`)}` +
      `<td class="n">${unit.restarts}<td>${escapeHtml(unit.statusText)}</tr>`
    )
  })
  return `<h2>Units</h2>\n<table><thead><tr><th>unit<th>state<th>restarts<th>says</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table>`
}

function evidence(state: MachineState): string {
  const entries = Object.entries(state.evidence)
  if (entries.length === 0) return ''
  const rows = entries.map(
    ([name, value]) => `<tr><td>${escapeHtml(name)}<td><code>${escapeHtml(String(value))}</code></tr>`,
  )
  return `<h2>Evidence</h2>\n<table><tbody>\n${rows.join('\n')}\n</tbody></table>`
}
