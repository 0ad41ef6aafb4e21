import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ReceivedSpan, readSpans } from '../fixtures/spans.ts'
import {
  BROKEN,
  HOME,
  makeGeneration,
  point,
  readAllPointers,
  readRollout,
  readRolloutLines,
  startWatching,
  stopWatching,
  waitForRollout,
} from './generations.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, invocationOf, readReady, readStatus, show, startToReady, stop } from './machine.ts'

const GPUS = ['gpu0', 'gpu1', 'gpu2'] as const
const GOOD = 'a'.repeat(16)
const BETTER = 'b'.repeat(16)
const BAD = 'c'.repeat(16)
const WORSE = 'd'.repeat(16)
const WORST = 'e'.repeat(16)
const SEED = Number(process.env['COMFY_TEST_SEED'] ?? Date.now() % 1_000_000)
const SECONDS = 5

const WORKFLOW = {
  '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
  '2': { class_type: 'FixtureSleep', inputs: { image: ['1', 0], seconds: SECONDS } },
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'test' } },
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const on = (generation: string): Readonly<Record<string, string>> =>
  Object.fromEntries(['current', ...GPUS].map((pointer) => [pointer, generation]))

const DROP_IN = 'service.d/play.conf'

/** Makes the first generation and its pointers; from then on installers leave them as they are, whatever the machine wants. */
async function startFirst(host: Host): Promise<void> {
  await startToReady(host)
  for (const name of ['comfy-install-comfyui', 'comfy-install-nodes', 'comfy-collect'])
    await host.write(`/etc/systemd/system/${name}.${DROP_IN}`, '[Service]\nExecStart=\nExecStart=/bin/true\n')
  await host.must('systemctl daemon-reload')
}

// One machine goes through these in this order.
describe(`a rollout on a machine with three GPUs (COMFY_TEST_SEED=${SEED})`, () => {
  let host: Host
  let base: string

  beforeAll(async () => {
    host = await bootMachine('rollout', { MOCK_GPU_NUM: '3' })
    await host.write('/root/job.json', JSON.stringify(WORKFLOW))
    await startFirst(host)
    await waitForRollout(host)
    base = (await readAllPointers(host))['current'] ?? ''
    await makeGeneration(host, GOOD)
    await makeGeneration(host, BAD, 'broken')
  })

  afterAll(async () => {
    await host.stop()
  })

  const invocations = async (units: readonly string[]): Promise<readonly (string | undefined)[]> =>
    Promise.all(units.map(async (unit) => (await show(host, unit, 'InvocationID'))['InvocationID']))
  /** Has comfy-update.service run something else. */
  const playUpdate = async (command: string): Promise<void> => {
    await host.write(`/etc/systemd/system/comfy-update.${DROP_IN}`, `[Service]\nExecStart=\nExecStart=${command}\n`)
    await host.must('systemctl daemon-reload')
  }
  const expectAllOn = async (generation: string): Promise<void> => {
    expect(await readAllPointers(host)).toEqual(on(generation))
    const units = GPUS.flatMap((gpu) => [`comfyui@${gpu}`, `redis-worker@${gpu}`])
    expect(await host.must(['systemctl', 'is-active', ...units])).toBe('active\n'.repeat(units.length))
    const link = await host.must(
      'for p in $(systemctl show -P MainPID comfyui@gpu{0,1,2}); do readlink /proc/$p/cwd; done',
    )
    expect(new Set(link.trim().split('\n'))).toEqual(new Set([`${HOME}/generations/${generation}`]))
  }

  test('is proven by its first start', async () => {
    expect(await readRollout(host)).toEqual({ schema: 1, proven: [base], previous: null, rejected: {} })
    expect(await readStatus(host)).toMatchObject({ generations: { current: base, rollout: null } })
  })

  test('tries one GPU first, lets every job end, and takes one GPU at a time', async () => {
    const jobs = GPUS.map(() => host.exec('comfy-machine submit --wait /root/job.json', { timeoutMs: 60_000 }))
    await host.waitFor(
      `[ "$(for p in 8188 8189 8190; do curl -s http://127.0.0.1:$p/queue; echo; done | grep -c 'queue_running": *\\[\\[')" = 3 ]`,
    )
    const workers = GPUS.map((gpu) => `redis-worker@${gpu}`)
    const before = await invocations(workers)
    await startWatching(host, GPUS)
    await point(host, 'next', GOOD)
    for (const { code, stdout } of await Promise.all(jobs)) expect(code, stdout).toBe(0)
    await waitForRollout(host)
    const seen = await stopWatching(host)
    expect(seen.length).toBeGreaterThan(20)
    expect(Math.min(...seen.map(({ gpus }) => gpus.filter(Boolean).length))).toBe(2)
    expect(new Set(seen.map(({ ready }) => ready))).toEqual(new Set([200]))
    await expectAllOn(GOOD)
    for (const [index, id] of (await invocations(workers)).entries()) expect(id).not.toBe(before[index])
    expect(await readRolloutLines(host, GOOD)).toEqual([
      ...[
        'begun',
        'moving gpu0',
        'proven gpu0',
        'moved gpu0',
        'moving gpu1',
        'moved gpu1',
        'moving gpu2',
        'moved gpu2',
      ],
      'done',
    ])
    expect(await readRollout(host)).toMatchObject({ proven: [base, GOOD], previous: base, rejected: {} })
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [], generations: { rollout: null } })
    const lines = await host.must('journalctl -b -q -u "redis-worker@*" -g "returned|gave up" || true')
    expect(lines).toBe('')
  })

  test('sends a generation back that does not prove itself, and never stops the others', async () => {
    const others = ['gpu1', 'gpu2'].flatMap((gpu) => [`comfyui@${gpu}`, `redis-worker@${gpu}`])
    const before = await invocations(others)
    await startWatching(host, GPUS)
    const begunMs = Date.now()
    await point(host, 'next', BAD)
    await waitForRollout(host)
    process.stdout.write(`rollout: sent back in ${Date.now() - begunMs} ms\n`)
    const seen = await stopWatching(host)
    expect(seen.every(({ gpus, ready }) => gpus[1] === true && gpus[2] === true && ready === 200)).toBe(true)
    expect(await invocations(others)).toEqual(before)
    await expectAllOn(GOOD)
    const { proven, rejected } = await readRollout(host)
    expect(proven).toEqual([base, GOOD])
    expect(rejected[BAD]).toMatchObject({ gpu: 'gpu0', unit: 'comfyui@gpu0.service', code: 'CM1902' })
    expect(rejected[BAD]?.message).toContain('node-alpha')
    expect(rejected[BAD]?.lines.join('\n')).toContain(BROKEN)
    const status = await readStatus(host)
    expect(status).toMatchObject({ phase: 'ready', failing: [], generations: { rejected: { generation: BAD } } })
    expect(await readRolloutLines(host, BAD)).toEqual(['begun', 'moving gpu0', 'rejected gpu0'])
  })

  test('leaves a trace of each rollout, linked to the startup', async () => {
    const rollouts = async (): Promise<readonly ReceivedSpan[]> =>
      (await readSpans(host)).filter(({ name }) => name === 'machine.rollout')
    await expect.poll(async () => (await rollouts()).length, { timeout: 20_000 }).toBe(2)
    const startup = await invocationOf(host)
    const [done, back] = await rollouts()
    expect(done).toMatchObject({ attributes: { 'rollout.outcome': 'done' }, links: [{ traceId: startup }] })
    expect(back).toMatchObject({ attributes: { 'rollout.outcome': 'sent-back' }, status: { code: 'error' } })
    const moves = (await readSpans(host)).filter(({ name }) => name === 'machine.rollout.gpu')
    const told = moves.map(({ attributes }) => `${attributes['gpu.index']} ${attributes['rollout.direction']}`)
    expect(told).toEqual(['0 forward', '1 forward', '2 forward', '0 forward', '0 back'])
  })

  test('does not try it again unless an update asks for it', async () => {
    const units = GPUS.map((gpu) => `comfyui@${gpu}`)
    const before = await invocations(units)
    await point(host, 'next', BAD)
    await host.waitFor(`[ ! -L ${HOME}/next ]`)
    expect(await invocations(units)).toEqual(before)
    const { warnings } = JSON.parse(await host.must('comfy-machine status --json')) as { readonly warnings: string[] }
    expect(warnings.at(-1)).toMatch(
      new RegExp(`^generation ${BAD} is wanted and was sent back before: comfyui@gpu0.service CM1902`),
    )
    await playUpdate(`/bin/ln -sfn generations/${BAD} ${HOME}/next`)
    const { code, stderr } = await host.exec('comfy-machine update')
    expect(stderr).toMatch(
      new RegExp(`^comfy-machine: CM1910 generation ${BAD} was sent back: comfyui@gpu0.service CM1902: .*node-alpha`),
    )
    expect(code).toBe(1)
    expect((await invocations(units)).map((id, index) => id === before[index])).toEqual([false, true, true])
    await expectAllOn(GOOD)
  })

  test('is followed by `comfy-machine update`, which tells when there is nothing new', async () => {
    await playUpdate('/bin/true')
    const same = await host.exec('comfy-machine update --json')
    expect(JSON.parse(same.stdout)).toEqual({ outcome: 'same', generation: GOOD })
    await makeGeneration(host, BETTER)
    await playUpdate(`/bin/ln -sfn generations/${BETTER} ${HOME}/next`)
    const { code, stdout } = await host.exec('comfy-machine update')
    expect(stdout).toContain(`gpu1 is being moved to generation ${BETTER}\n`)
    expect(stdout).toMatch(new RegExp(`the machine is on generation ${BETTER}\\n$`))
    expect(code).toBe(0)
    await expectAllOn(BETTER)
    await playUpdate('/bin/false')
    const failed = await host.exec('comfy-machine update')
    expect(failed.stderr).toMatch(/^comfy-machine: CM1790 comfy-update.service ended without a result/)
    expect(failed.code).toBe(1)
    expect((await host.exec(['runuser', '-u', 'comfy', '--', 'comfy-machine', 'update'])).code).toBe(64)
  })

  test('goes back and there again with `comfy-machine rollback`', async () => {
    const { code, stdout } = await host.exec('comfy-machine rollback')
    expect(stdout).toMatch(
      new RegExp(`the machine is on generation ${GOOD}, and stays there until comfy-machine update\\n$`),
    )
    expect(code).toBe(0)
    await expectAllOn(GOOD)
    expect(await readRollout(host)).toMatchObject({
      previous: BETTER,
      pinned: { generation: GOOD, wish: BETTER },
    })
    const rows = JSON.parse(await host.must('comfy-machine generations --json')) as { id: string; states: string[] }[]
    expect(rows.find(({ id }) => id === GOOD)).toMatchObject({ states: ['current', 'pinned', 'proven'], gpus: GPUS })
    expect(rows.find(({ id }) => id === BAD)).toMatchObject({ states: ['rejected'], rejected: { code: 'CM1902' } })
    expect((await host.exec('comfy-machine rollback nowhere')).stderr).toContain('CM1911')
    expect((await host.exec(`comfy-machine rollback ${BAD}`)).stderr).toContain('CM1910')
    expect((await host.exec(`comfy-machine rollback ${BETTER}`)).code).toBe(0)
    await expectAllOn(BETTER)
    expect((await readRollout(host)).pinned).toBeUndefined()
  })

  test('ends on one generation when the controller is killed at any moment', async () => {
    const random = randomOf(SEED)
    const told: string[] = []
    for (let index = 0; index < 12; index += 1) {
      const goal = index % 2 === 0 ? GOOD : BETTER
      const moments = Array.from({ length: index % 3 === 2 ? 3 : 1 }, () => random() * 1.5)
      await point(host, 'next', goal)
      // One that has no process yet is waited for: it is killed in its very first moment.
      const kills = moments.map(
        (seconds) =>
          `sleep ${seconds.toFixed(3)}; until systemctl kill --signal=KILL --kill-whom=main comfy-machine 2>/dev/null; do sleep 0.005; done`,
      )
      await host.must(kills.join('; '))
      await host.waitFor(`[ ! -L ${HOME}/next ]`, 60_000)
      await waitForRollout(host)
      told.push(moments.map((seconds) => Math.round(seconds * 1000)).join('+'))
      await expectAllOn(goal)
      await host.must('systemctl reset-failed comfy-machine-revive 2>/dev/null || true')
    }
    process.stdout.write(`rollout: controller killed after ${told.join(', ')} ms\n`)
    // The last kill may have come after the end.
    await expect.poll(() => readReady(host), { timeout: 10_000 }).toMatchObject({ code: 200, failing: [] })
  })

  test('goes on after a reset in the middle', async () => {
    await host.must('systemctl enable comfy-machine')
    await point(host, 'next', GOOD)
    await host.waitFor(`[ "$(readlink ${HOME}/gpu0)" = generations/${GOOD} ]`)
    await host.must('sync')
    await host.reboot('reset')
    await host.waitFor('systemctl is-active comfy-machine', 60_000)
    await expectAllOn(GOOD)
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [], generations: { rollout: null } })
    await host.must('systemctl disable comfy-machine')
  })

  test('is finished by a start before its last step', async () => {
    await stop(host)
    await point(host, 'next', BETTER)
    await point(host, 'gpu0', BETTER)
    await startToReady(host)
    await expectAllOn(BETTER)
    const order = await host.must(
      `journalctl -b -q -u comfy-machine -o cat | grep -E "is on generation ${BETTER}|step 21/21" | tail -2`,
    )
    expect(order).toMatch(new RegExp(`^the machine is on generation ${BETTER}\\nstep 21/21`))
  })

  test('that a start began is sent back, and the start becomes ready', async () => {
    await stop(host)
    await makeGeneration(host, WORSE, 'broken')
    await point(host, 'next', WORSE)
    await point(host, 'gpu0', WORSE)
    await startToReady(host)
    await expectAllOn(BETTER)
    const status = await readStatus(host)
    expect(status).toMatchObject({
      ...{ phase: 'ready', failing: [] },
      generations: { current: BETTER, rejected: { generation: WORSE, gpu: 'gpu0', code: 'CM1902' } },
    })
    expect(status.steps[18]).toMatchObject({ state: 'done' })
    expect(status.steps[18]?.attempts).toBeGreaterThan(0)
    expect(await readReady(host)).toMatchObject({ code: 200, failing: [] })
    const table = await host.must('comfy-machine generations')
    expect(table).toMatch(new RegExp(`^${BETTER} .* gpu0 gpu1 gpu2 +current, .*proven$`, 'm'))
    expect(table).toMatch(new RegExp(`^${WORSE} was sent back by gpu0: CM1902 .*node-alpha`, 'm'))
  })

  test('of a machine that is stopped is planned by `comfy-machine rollback`', async () => {
    await stop(host)
    const { code, stdout } = await host.exec(`comfy-machine rollback ${GOOD}`)
    expect([code, stdout]).toEqual([0, `the next start is on generation ${GOOD}\n`])
    expect((await readRollout(host)).pinned).toEqual({ generation: GOOD, wish: BETTER })
    expect((await host.exec(`comfy-machine rollback ${BETTER}`)).stdout).toBe(
      `the next start is on generation ${BETTER}\n`,
    )
    expect((await readRollout(host)).pinned).toBeUndefined()
    expect((await host.exec('comfy-machine update')).stderr).toMatch(
      /^comfy-machine: CM1912 the machine is not running/,
    )
  })

  test('is sent back on a machine with one GPU as well', async () => {
    await configure(host, { MOCK_GPU_NUM: '1' })
    await makeGeneration(host, WORST, 'broken')
    await point(host, 'next', WORST)
    await point(host, 'gpu0', WORST)
    await startToReady(host)
    expect(await readAllPointers(host)).toMatchObject({ current: BETTER, gpu0: BETTER })
    expect((await readRollout(host)).rejected[WORST]).toMatchObject({ code: 'CM1902' })
    await point(host, 'next', GOOD)
    await waitForRollout(host)
    expect(await readAllPointers(host)).toMatchObject({ current: GOOD, gpu0: GOOD })
    const degraded = await host.must('journalctl -b -q -u comfy-machine -o cat -g "no longer ready"')
    expect(degraded).toContain(`the machine is no longer ready: gpu0 is being moved to generation ${GOOD}`)
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [] })
  })
})
