import { expect, vi } from 'vitest'
import { type ErrorCode, stepOfCode } from '../../src/errors.ts'
import { stepOf } from '../../src/steps.ts'
import type { Host } from './host.ts'
import {
  installedThings,
  readJournal,
  readReady,
  readStatus,
  start,
  startToReady,
  stop,
  waitForTrace,
} from './machine.ts'

/** How a start is expected to fail. */
export interface ExpectedFailure {
  readonly code: ErrorCode
  /** The unit whose step fails; the controller where it is left out. */
  readonly unit?: string
  /** What the message says of this very case. */
  readonly says: RegExp
  /** false: the health port is not the machine's, so /ready is not asked. */
  readonly hasReady?: boolean
  /** false: no start of this boot has come far enough to render the delivery; the spans follow with the next start. */
  readonly isDelivered?: boolean
}

/** Starts the machine, expects it to fail in the given way in every place where an operator looks, and stops it. Returns the trace id. */
export async function expectFailure(host: Host, expected: ExpectedFailure): Promise<string> {
  const { code, unit = 'comfy-machine.service', says } = expected
  const step = stepOfCode(code)
  expect((await start(host)).code).not.toBe(0)
  expect((await host.exec('systemctl is-active --quiet comfy-machine')).code).not.toBe(0)

  const status = await readStatus(host)
  expect(status.phase).toBe('failed')
  expect(status.steps[step - 1]).toMatchObject({ number: step, state: 'failed' })
  expect(status.steps[20]?.state).not.toBe('done')
  const failing = status.failing.find((each) => each.code === code && each.unit === unit)
  expect(failing).toMatchObject({ step })
  const hint = failing?.hint ?? 'no hint'
  expect(hint).toMatch(/^[A-Z].*\.$/)
  const table = await host.exec('comfy-machine status')
  expect(table.code).toBe(1)
  expect(table.stdout).toContain(code)
  expect(table.stdout).toMatch(says)
  expect(table.stdout).toContain(hint)

  if (expected.hasReady !== false) {
    const ready = await readReady(host)
    expect(ready).toMatchObject({ code: 503, ready: false })
    const entry = ready.failing.find((each) => each.code === code && each.unit === unit)
    expect(entry).toMatchObject({ step, unit })
    expect(entry?.message).toMatch(says)
    expect(entry?.hint).toBe(hint)
  }
  await expectJournal(host, status.trace_id, { ...expected, unit, hint })
  if (expected.isDelivered !== false) await expectFailureSpan(host, status.trace_id, expected)
  await stop(host)
  return status.trace_id
}

async function expectJournal(
  host: Host,
  trace: string,
  { code, unit, says, hint }: ExpectedFailure & { readonly unit: string; readonly hint: string },
): Promise<void> {
  const lines = await readJournal(
    host,
    '-p',
    'err',
    `COMFY_TRACE_ID=${trace}`,
    `COMFY_ERROR_CODE=${code}`,
    '_SYSTEMD_UNIT=comfy-machine.service',
  )
  const line = lines.find((each) => each['COMFY_EVENT'] === 'machine.step.failure' && each['COMFY_UNIT'] === unit)
  expect(line, `journal line of ${code}`).toBeDefined()
  expect(line?.['MESSAGE']).toMatch(says)
  expect(line?.['MESSAGE']).toContain(hint)
  expect(line?.['COMFY_STEP']).toBe(String(stepOfCode(code)))
}

/** Expects the failure in the span of its step, and the root of the trace to be an error. */
export async function expectFailureSpan(host: Host, trace: string, expected: ExpectedFailure): Promise<void> {
  const { code, unit = 'comfy-machine.service', says } = expected
  const step = stepOf(stepOfCode(code))
  // The root may come a moment before a step whose unit's last lines were waited for.
  const spans = await vi.waitUntil(
    async () => {
      const all = await waitForTrace(host, trace)
      return all.some(({ name }) => name === step.event) && all
    },
    { timeout: 20_000, interval: 200 },
  )
  const root = spans.filter((span) => span.parentSpanId === '')
  expect(root.map(({ name, status }) => [name, status.code])).toEqual([['machine.startup', 'error']])
  const own = spans.find((span) => span.name === step.event)
  expect(own?.status.code).toBe('error')
  expect(own?.status.message).toContain(code)
  const failure = own?.events.find(
    ({ name, attributes }) => name === 'machine.step.failure' && attributes['unit'] === unit,
  )
  expect(failure?.attributes).toMatchObject({
    step_number: step.number,
    step_name: step.title,
    error_type: expect.stringMatching(/^[a-z_]+$/) as string,
    error_message: expect.stringMatching(says) as string,
    error_code: code,
    unit,
    hint: expect.stringMatching(/^\S.*\.$/) as string,
  })
  expect(failure?.attributes['retry_attempt']).toBeGreaterThanOrEqual(1)
  expect(failure?.attributes['duration_ms']).toBeGreaterThanOrEqual(0)
}

/** Starts the machine again after the cause is gone: it becomes ready, and everything installed before is still the same. */
export async function expectToGoOn(host: Host, installed: ReadonlyMap<string, string>): Promise<void> {
  await startToReady(host)
  const now = await installedThings(host)
  for (const [name, identity] of installed) expect(now.get(name), name).toBe(identity)
  const status = await readStatus(host)
  expect(status).toMatchObject({ phase: 'ready', failing: [] })
  expect(await readReady(host)).toMatchObject({ code: 200, ready: true, failing: [] })
  await stop(host)
}
