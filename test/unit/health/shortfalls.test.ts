import { expect, it } from 'vitest'
import { hubMessage } from '../../../src/emit/hub-message.ts'
import { journalLine } from '../../../src/emit/journal-lines.ts'
import { startupSpan } from '../../../src/emit/root-spans.ts'
import { statusText } from '../../../src/emit/status-text.ts'
import { diffSightings } from '../../../src/health/changes.ts'
import { NO_MEASURES } from '../../../src/health/measures.ts'
import { collectFamilies, renderFamilies } from '../../../src/health/metrics.ts'
import { renderPage } from '../../../src/health/page.ts'
import { readyReport, statusReport } from '../../../src/health/reports.ts'
import { statusLines } from '../../../src/health/text.ts'
import { inPhase, shortfallAt } from '../observe/build-machine.ts'
import { BEGUN_US, buildReady, seen } from './build-state.ts'

const shortfalls = [
  shortfallAt(),
  shortfallAt({ gpu: 'gpu1', unit: 'comfyui@gpu1.service' }),
  shortfallAt({ component: 'model <ae>', code: 'CM1905', message: 'model ae: it is not there' }),
]
const whole = seen(buildReady())
const short = seen(buildReady({ shortfalls }))
const ready = inPhase('ready')
const machine = { ...ready, state: { ...ready.state, shortfalls } }
const context = { traceId: ready.state.traceId, resource: {} }

it('a machine that goes on without a part is ready and says so to every reader', () => {
  const { status, body } = readyReport(short)
  expect([status, body['ready'], body['failing']]).toEqual([200, true, []])
  expect(body['reason']).toBe('every wanted unit is active, but without custom node face (CM1902), model <ae> (CM1905)')
  expect(body['degraded']).toMatchObject([
    { code: 'CM1902', step: 19, unit: 'comfyui@gpu0.service', gpu: 'gpu0', component: 'custom node face' },
    { code: 'CM1902', gpu: 'gpu1' },
    { code: 'CM1905', message: 'model ae: it is not there', hint: expect.stringMatching(/\.$/) },
  ])
  expect(statusReport(short, BEGUN_US).body['degraded']).toEqual(body['degraded'])
  expect(statusReport(short, BEGUN_US).body['phase']).toBe('ready')

  const text = statusLines(short, BEGUN_US, { colour: false }).join('\n')
  expect(text).toContain(
    'degraded\nCM1902  without custom node face, comfyui@gpu0.service\n        custom node face: Mod',
  )
  const page = renderPage(short, BEGUN_US)
  expect(page).toContain('<h2>Degraded</h2>')
  expect(page).toContain('model &lt;ae&gt;')
  const metrics = renderFamilies(collectFamilies(short, BEGUN_US, NO_MEASURES))
  expect(metrics).toContain('comfy_machine_shortfalls{code="CM1902"} 2\ncomfy_machine_shortfalls{code="CM1905"} 1\n')
})

it('a machine that has all says nothing of it', () => {
  expect(readyReport(whole).body).toEqual({ ready: true, reason: 'every wanted unit is active', failing: [] })
  expect(statusLines(whole, BEGUN_US, { colour: false }).join('\n')).not.toContain('degraded')
  expect(renderPage(whole, BEGUN_US)).not.toContain('Degraded')
  expect(renderFamilies(collectFamilies(whole, BEGUN_US, NO_MEASURES))).not.toContain('comfy_machine_shortfalls{')
})

it('a part that is lost or back is an event of the page', () => {
  const [event] = diffSightings(whole, short, BEGUN_US)
  expect(event?.event).toBe('machine')
  expect(JSON.parse(event?.data ?? '{}')).toMatchObject({ ready: true, degraded: [{ code: 'CM1902' }, {}, {}] })
  expect(diffSightings(short, short, BEGUN_US)).toEqual([])
})

it('the controller tells it in the journal, its status, the hub and the root of the trace', () => {
  const without = 'custom node face (CM1902), model <ae> (CM1905)'
  expect(journalLine(machine, { kind: 'phase-changed', phase: 'ready' })).toMatchObject({
    message: `the machine is ready: 2 workers, but without ${without}`,
    priority: 'warning',
  })
  expect(journalLine(machine, { kind: 'shortfall', shortfall: shortfallAt() })).toMatchObject({
    message:
      "step 19/21 ComfyUI Server Start gpu0: goes on without custom node face: CM1902 custom node face: ModuleNotFoundError: No module named 'cv2'. " +
      shortfallAt().hint,
    priority: 'warning',
    fields: { COMFY_ERROR_CODE: 'CM1902', COMFY_UNIT: 'comfyui@gpu0.service', COMFY_GPU: 'gpu0' },
  })
  expect(statusText(machine)).toBe(`ready: 2 workers, but without ${without}`)
  expect(startupSpan(machine, BEGUN_US, context).attributes['machine.shortfalls']).toBe(without)
  const hub = { healthUrl: '', nowUs: BEGUN_US, activity: new Map() }
  expect(hubMessage(machine.state, 'periodic', hub)['status']).toMatchObject({
    machine: { phase: 'ready', degraded: [{ code: 'CM1902', component: 'custom node face' }, {}, {}] },
  })
  expect(hubMessage(ready.state, 'periodic', hub)['status']).not.toHaveProperty('machine.degraded')
  expect(startupSpan(ready, BEGUN_US, context).attributes).not.toHaveProperty('machine.shortfalls')
})
