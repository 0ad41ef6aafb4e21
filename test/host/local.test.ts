import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FailingDocument } from '../../src/health/explanation.ts'
import type { StartupDocument, TraceDocument } from '../../src/health/trace-document.ts'
import { setFaults } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, invocationOf, show, start, startToReady, stop, toMicroseconds } from './machine.ts'

const MODELS = 'comfy-install-models.service'

// One machine: a start that becomes ready, and one whose model is wrong.
describe('what the host tells of its starts without any collector', () => {
  let host: Host
  let good: string
  let bad: string
  let modelTimes: readonly number[]

  beforeAll(async () => {
    host = await bootMachine('local')
    await startToReady(host)
    good = await invocationOf(host)
    const times = await show(host, MODELS, 'InactiveExitTimestamp', 'ActiveEnterTimestamp')
    modelTimes = [times['InactiveExitTimestamp'] ?? '', times['ActiveEnterTimestamp'] ?? ''].map(toMicroseconds)
    await stop(host)
    await configure(host, { COMPONENTS: 'demo,large' })
    await setFaults(host, 'models', { match: 'large', kind: 'hash' })
    expect((await start(host)).code).not.toBe(0)
    bad = await invocationOf(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  const read = async <T>(command: string): Promise<T> => JSON.parse((await host.exec(command)).stdout) as T

  test('lists both, the newest first', async () => {
    const list = await read<readonly StartupDocument[]>('comfy-machine trace --list --json')
    expect(list.map(({ trace_id, outcome, failing_code }) => [trace_id, outcome, failing_code])).toEqual([
      [bad, 'failed', 'CM1804'],
      [good, 'ready', null],
    ])
  })

  test('draws the earlier one with all its steps, to the microsecond', async () => {
    const text = await host.must(`comfy-machine trace ${good.slice(0, 8)}`)
    for (let step = 1; step <= 21; step += 1)
      expect(text).toMatch(new RegExp(`^  ${String(step).padStart(2)} \\w`, 'm'))
    const document = await read<TraceDocument>('comfy-machine trace --last 2 --json')
    expect(document).toMatchObject({ trace_id: good, missing_steps: [] })
    expect([document.critical_path[0], ...document.critical_path.slice(-3)]).toEqual([1, 19, 20, 21])
    const models = document.spans.find(({ step_number }) => step_number === 18)
    expect([models?.start_us, (models?.start_us ?? 0) + (models?.duration_us ?? 0)]).toEqual(modelTimes)
  })

  test('shows what failed in the last one, and ends with 1', async () => {
    const { code, stdout } = await host.exec('comfy-machine trace')
    expect(code).toBe(1)
    expect(stdout).toMatch(/18 Models Installation .* ! .*\n(.*\n)*? +CM1804 .*large\.safetensors.*sha256.*\n +hint: /)
    const svg = await host.exec('comfy-machine trace --svg')
    expect(svg.code).toBe(1)
    expect(svg.stdout).toMatch(/^<svg .*CM1804.*<\/svg>\n$/s)
  })

  test('explains it with commands that find its journal', async () => {
    const { failing } = await read<{ readonly failing: readonly FailingDocument[] }>(
      'comfy-machine explain --last --json',
    )
    const models = failing.find(({ unit }) => unit === MODELS)
    expect(models).toMatchObject({ code: 'CM1804', step: 18 })
    const commands = (models?.run ?? []).filter((command) => command.startsWith('journalctl'))
    expect(commands.length).toBeGreaterThanOrEqual(3)
    await host.must('journalctl --sync')
    for (const command of commands) expect(await host.must(`${command} -q --no-pager`), command).toContain('large')
    expect(commands.join('\n')).toContain(await invocationOf(host, MODELS))
  })
})
