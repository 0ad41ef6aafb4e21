import { afterAll, beforeAll, expect, test } from 'vitest'
import { setFaults } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, get } from './machine.ts'

const BYTES = 16 * 1024 * 1024
const TERMINAL = 'stty columns 100 rows 60'

/** The progress of step 18 as `/status` shows it. */
interface Progress {
  readonly done: number
  readonly total: number
  readonly bytes: number
  readonly total_bytes: number
  readonly bytes_per_second: number | null
  readonly remaining_ms: number | null
  readonly current: readonly string[]
}

let host: Host

beforeAll(async () => {
  host = await bootMachine('progress', { COMPONENTS: 'large' })
  await setFaults(host, 'models', { match: 'large', kind: 'rate', rate: 1_000_000 })
  await host.must('systemctl start --no-block comfy-machine')
  await host.waitFor('systemctl show -P StatusText comfy-install-models | grep " [1-9].*/16.8 MB"', 60_000)
})

afterAll(async () => {
  await host.stop()
})

async function readModels(): Promise<{ readonly state: string; readonly progress: Progress | null }> {
  const { body } = await get(host, '/status')
  const { steps } = JSON.parse(body) as { steps: { number: number; state: string; progress: Progress | null }[] }
  const step = steps.find(({ number }) => number === 18)
  if (step === undefined) throw new Error('there is no step 18')
  return step
}

// One download is looked at in all of these ways while it goes on, in this order.
test('a download shows how far it is in every place', async () => {
  const first = await readModels()
  expect(first).toMatchObject({ state: 'running', progress: { done: 0, total: 1, total_bytes: BYTES } })
  expect(first.progress?.current).toEqual(['large.safetensors'])
  expect(first.progress?.bytes_per_second).toBeGreaterThan(0)
  expect(first.progress?.remaining_ms).toBeGreaterThan(0)

  const unit = await host.exec('systemctl status --no-pager comfy-install-models')
  expect(unit.stdout).toMatch(/Status: "0\/1 models, \d+\.\d\/16\.8 MB, \d+\.\d MB\/s, \d+ s left"/)

  const plain = await host.exec('comfy-machine status')
  expect(plain.stdout).toMatch(/\n {4}\[#+-+\] +\d+% {2}0\/1 models, \d+\.\d\/16\.8 MB, \d+\.\d MB\/s, \d+ s left\n/)

  const watch = `${TERMINAL}; timeout 3 comfy-machine status --watch`
  const { stdout } = await host.exec(['script', '-qec', watch, '/dev/null'])
  const shares = [...stdout.matchAll(/[█░] +(\d+)% {2}0\/1 models/g)].map(([, share]) => Number(share))
  expect(new Set(shares).size).toBeGreaterThan(1)
  expect(shares).toEqual([...shares].sort((a, b) => a - b))

  const events = await host.exec('curl -sN --max-time 2.5 http://127.0.0.1:9090/events')
  const told = [...events.stdout.matchAll(/event: step\ndata: (.*)/g)].map(([, data = '']) => JSON.parse(data))
  const bytes = told.filter(({ number }) => number === 18).map(({ progress }) => Number(progress.bytes))
  expect(bytes.length).toBeGreaterThan(0)
  expect(bytes[0]).toBeGreaterThan(first.progress?.bytes ?? BYTES)

  expect((await get(host, '/')).body).toMatch(/<progress value="0\.\d+"><\/progress>/)
  expect((await readModels()).progress?.bytes).toBeGreaterThan(bytes[0] ?? BYTES)
})

test('the progress is gone when the step has ended', async () => {
  await host.waitFor('systemctl is-active comfy-install-models', 60_000)
  await host.waitFor('curl -s http://127.0.0.1:9090/status | grep -q \'"number":18.*"state":"done".*"number":19\'')
  expect(await readModels()).toMatchObject({ state: 'done', progress: null })
  expect((await get(host, '/')).body).not.toContain('<progress value')
})
