import { describe, expect, it } from 'vitest'
import { hubMessage } from '../../../src/emit/hub-message.ts'
import { journalLine } from '../../../src/emit/journal-lines.ts'
import { laterModelsSpans } from '../../../src/emit/later-models-spans.ts'
import { statusText } from '../../../src/emit/status-text.ts'
import { diffSightings } from '../../../src/health/changes.ts'
import { explainShortfall } from '../../../src/health/explanation.ts'
import { collectFamilies, renderFamilies } from '../../../src/health/metrics.ts'
import { renderPage } from '../../../src/health/page.ts'
import { readyReport, statusReport } from '../../../src/health/reports.ts'
import { statusLines } from '../../../src/health/text.ts'
import type { Happening, Machine } from '../../../src/observe/machine.ts'
import type { MachineState } from '../../../src/observe/state.ts'
import { LATER_MODELS } from '../../../src/plan/plan.ts'
import type { ReportLine } from '../../../src/report.ts'
import { rootSpanId } from '../../../src/trace-context.ts'
import { childOf, factOf, foldRun, PROGRESS, runOf, SAID } from '../observe/build-later-models.ts'
import { at, foldAll, inPhase, invocationOf } from '../observe/build-machine.ts'
import { BEGUN_US, buildReady, seen } from './build-state.ts'

const begin = foldRun(runOf.running(1, { statusText: SAID }), [], PROGRESS)
const ended = (unit: ReturnType<typeof runOf.done>, ...lines: readonly ReportLine[]) =>
  foldAll(inPhase('ready'), [begin, foldRun(unit, lines)])
const downloaded = factOf({ 'models.wanted': 3, 'models.downloaded': 2, 'models.downloaded_bytes': 40e9 })
const brought = ended(runOf.done(), childOf('wan', 'done'), childOf('old', 'skipped'), downloaded)
const broken = ended(runOf.failed(), childOf('wan', 'done'), childOf('lora', 'failed'))
const loadingOf = ({ state }: Machine): Pick<MachineState, 'laterModels' | 'shortfalls'> =>
  ({ laterModels: state.laterModels, shortfalls: state.shortfalls }) as MachineState

const whole = seen(buildReady())
const loading = seen(buildReady(loadingOf(begin(inPhase('ready')).machine)))
const failed = seen(buildReady(loadingOf(broken.machine)))
const done = seen(buildReady(loadingOf(brought.machine)))
const linesOf = (sighting: typeof whole, rows?: number): readonly string[] =>
  statusLines(sighting, BEGUN_US, { colour: false, ...(rows === undefined ? {} : { rows, columns: 80 }) })
const metricsOf = (sighting: typeof whole): string => renderFamilies(collectFamilies(sighting, BEGUN_US))

describe('while models are loaded after the start', () => {
  it('the machine is ready and says so', () => {
    expect(readyReport(loading)).toMatchObject({
      status: 200,
      body: { ready: true, reason: 'every wanted unit is active, and further models are loaded', failing: [] },
    })
    expect(readyReport(loading).body).not.toHaveProperty('degraded')
  })

  it('the status has one line below the steps, with a bar', () => {
    expect(linesOf(loading).slice(-3)).toEqual([
      ...['', `loading after the start: ${SAID}`, '    [######--------------] 30%'],
    ])
    expect(linesOf(whole).at(-1)).toMatch(/^21 {2}/)
    expect(linesOf(done)).toEqual(linesOf(whole))
  })

  it('a terminal with room has a bar for each file', () => {
    const [bar, first, second] = linesOf(loading, 60).slice(-3)
    expect(bar).toMatch(/^ {4}█+░+ +30%$/)
    expect(first).toMatch(/^ {6}█+░+ +50% {2}wan\.safetensors, 200 MB\/s, 45 s left$/)
    expect(second).toMatch(/^ {6}░+ +0% {2}lora\.safetensors$/)
    expect(linesOf(loading, 20).join('\n')).not.toContain('wan.safetensors')
  })

  it('/status, the page, the events, the metrics and the hub have the numbers', () => {
    const report = statusReport(loading, BEGUN_US).body['later_models']
    expect(report).toMatchObject({
      ...{ unit: LATER_MODELS, state: 'running', detail: SAID, end: null },
      progress: {
        done: 1,
        total: 3,
        files: [{ name: 'wan.safetensors', bytes: 9e9, total_bytes: 18e9, bytes_per_second: 200e6 }, {}],
      },
    })
    expect(statusReport(whole, BEGUN_US).body['later_models']).toBeNull()
    expect(renderPage(loading, BEGUN_US)).toContain(`loading after the start: ${SAID}<progress value="0.300">`)
    expect(renderPage(whole, BEGUN_US)).not.toContain('After the start')
    const [event] = diffSightings(whole, loading, BEGUN_US)
    expect(JSON.parse(event?.data ?? '{}')).toMatchObject({ later_models: report })
    const metrics = metricsOf(loading)
    expect(metrics).toContain('comfy_machine_later_models_state{state="running"} 1\n')
    expect(metrics).toContain('comfy_machine_later_models_wanted 3\n')
    expect(metrics).toContain('comfy_machine_later_models_installed 1\n')
    expect(metrics).toContain('comfy_machine_later_models_processed_bytes 12000000000\n')
    expect(metrics).toContain('comfy_machine_later_models_bytes_per_second 212000000\n')
    expect(metricsOf(whole)).not.toContain('later_models')
    const hub = { healthUrl: '', nowUs: BEGUN_US, activity: new Map() }
    const told = ({ state }: typeof whole) => hubMessage(state ?? buildReady(), 'periodic', hub)['status']
    expect(told(loading)).toMatchObject({ machine: { phase: 'ready', loading: { done: 1, total: 3, bytes: 12e9 } } })
    expect(told(done)).not.toHaveProperty('machine.loading')
  })

  it('systemctl status and the journal say it', () => {
    const { machine, happenings } = begin(inPhase('ready'))
    expect(statusText(machine)).toBe(`ready: 2 workers, loading after the start: ${SAID}`)
    expect(happenings.map((each) => journalLine(machine, each))).toMatchObject([
      { message: '3 models (40.0 GB) are loaded after the start', fields: { TRACE_ID: invocationOf(LATER_MODELS) } },
    ])
  })
})

describe('when they are there', () => {
  it('the journal and the metrics say so', () => {
    const messages = brought.happenings.map((each) => journalLine(brought.machine, each)?.message)
    expect(messages.at(-1)).toBe(
      'all 3 models that were to be loaded after the start are there: 2 downloaded (40.0 GB) in 10.0 s',
    )
    expect(metricsOf(done)).toContain('comfy_machine_later_models_state{state="done"} 1\n')
    expect(statusText(brought.machine)).toBe('ready: 2 workers')
  })

  it('nothing is said of a run that found everything in place', () => {
    const { machine, happenings } = foldRun(runOf.done(), [childOf('wan', 'skipped')])(inPhase('ready'))
    expect(happenings.flatMap((each) => journalLine(machine, each) ?? [])).toEqual([])
    expect(spansOf(machine, happenings)).toEqual([])
  })
})

describe('when one fails', () => {
  it('the machine is ready without it, and says so to every reader', () => {
    const { status, body } = readyReport(failed)
    expect([status, body['ready']]).toEqual([200, true])
    expect(body['reason']).toBe('every wanted unit is active, but without model lora (CM1802)')
    expect(body['degraded']).toMatchObject([{ code: 'CM1802', component: 'model lora', unit: LATER_MODELS }])
    expect(linesOf(failed).join('\n')).toContain('CM1802  without model lora, comfy-load-models.service')
    expect(statusText(broken.machine)).toBe('ready: 2 workers, but without model lora (CM1802)')
    const told = broken.happenings.map((each) => journalLine(broken.machine, each)?.message)
    expect(told).toContain(
      'step 18/21 Models Installation: goes on without model lora: CM1802 lora: 404. Check the URL.',
    )
    const [shortfall] = broken.machine.state.shortfalls
    const said = shortfall === undefined ? [] : explainShortfall(shortfall)
    expect(said).toContain('  without model lora, which is loaded after the start')
    expect(said).toContain('  run     journalctl -u comfy-load-models -b -e')
  })

  it('and systemd tries again, the status says that too', () => {
    const { machine } = ended(runOf.waiting(), childOf('lora', 'failed', 'CM1801'))
    expect(linesOf(seen(buildReady(loadingOf(machine)))).at(-1)).toBe(
      'loading after the start: it failed, and is tried again',
    )
  })
})

function spansOf(machine: Machine, happenings: readonly Happening[]) {
  const context = { traceId: machine.state.traceId, resource: { 'service.name': 'x' } }
  return happenings.flatMap((each) =>
    each.kind === 'later-models-ended' ? laterModelsSpans(machine, each, context) : [],
  )
}

describe('the trace of the loading', () => {
  const traceId = invocationOf(LATER_MODELS)

  it('is one of its own, linked to the startup, with a span per model', () => {
    const [first, second, root] = spansOf(brought.machine, brought.happenings)
    const startup = brought.machine.state.traceId
    expect(root).toMatchObject({
      ...{ traceId, spanId: traceId.slice(0, 16), name: 'machine.models.load', startUs: at(60), endUs: at(70) },
      links: [{ traceId: startup, spanId: rootSpanId(startup) }],
      attributes: { machine_id: 'm1', step_number: 18, 'models.downloaded': 2, 'systemd.unit': LATER_MODELS },
    })
    expect(root).not.toHaveProperty('error')
    expect([first, second]).toMatchObject([
      { traceId, parentSpanId: root?.spanId, name: 'model wan' },
      { traceId, parentSpanId: root?.spanId, name: 'model old' },
    ])
  })

  it('has the error of a run that failed, and of the model', () => {
    const spans = spansOf(broken.machine, broken.happenings)
    expect(spans.map(({ name, error }) => `${name}: ${error}`)).toEqual([
      ...['model wan: undefined', 'model lora: CM1802: lora: 404'],
      'machine.models.load: CM1890: comfy-load-models.service exited with status 1',
    ])
  })
})
