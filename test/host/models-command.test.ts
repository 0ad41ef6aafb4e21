import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  clearFaults,
  clearRequests,
  fixtureUrls,
  readComponents,
  readRequests,
  setFaults,
  writeComponents,
} from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, readReady, startToReady, stop, WORKSPACE } from './machine.ts'

interface Row {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
  readonly state: string
  readonly arrived_bytes: number | null
  readonly pinned: boolean
  readonly wanted_by: readonly string[]
}
interface List {
  readonly models_path: string
  readonly disk_bytes: number
  readonly models: readonly Row[]
}

const MODELS = `${WORKSPACE}/models`
const DEMO = 'checkpoints/demo.safetensors'
const LARGE = 'checkpoints/large.safetensors'
const AE = 'vae/ae.safetensors'
const PINNED = 'vae/pinned.safetensors'
const LARGE_BYTES = 16_777_216

// One machine goes through these in this order.
describe('comfy-machine models', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('models-command', { COMPONENTS: 'demo,large' })
    await startToReady(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  const list = async (): Promise<List> => JSON.parse(await host.must('comfy-machine models list --json')) as List
  const rowOf = async (path: string): Promise<Row> => {
    const row = (await list()).models.find((each) => each.path === path)
    if (row === undefined) throw new Error(`${path} is not listed`)
    return row
  }
  const states = async (): Promise<Readonly<Record<string, string>>> =>
    Object.fromEntries((await list()).models.map(({ path, state }) => [path, state]))
  const blob = (sha256: string): string => `${MODELS}/.store/blobs/sha256/${sha256}`
  const downloads = async (): Promise<readonly string[]> =>
    (await readRequests(host, 'models')).filter(({ method }) => method === 'GET').map(({ path }) => path)
  const hashSeenByComfyUI = async (path: string): Promise<string> => {
    const seen = `/proc/$(systemctl show -P MainPID comfyui@gpu0)/root${MODELS}/${path}`
    return (await host.must(`sha256sum ${seen}`)).split(' ')[0] ?? ''
  }

  test('list says for everybody what is where, who wants it, and what it takes once', async () => {
    const { models, disk_bytes, models_path } = await list()
    expect(models_path).toBe(MODELS)
    expect(models.map(({ path, state }) => [path, state])).toEqual([
      [DEMO, 'in_place'],
      [LARGE, 'in_place'],
      [AE, 'in_place'],
    ])
    expect(disk_bytes).toBeGreaterThanOrEqual(models.reduce((sum, { bytes }) => sum + bytes, 0))
    expect(disk_bytes).toBeLessThan(models.reduce((sum, { bytes }) => sum + bytes, 4096))
    const current = (await host.must(`basename $(readlink ${WORKSPACE}/comfyui/current)`)).trim()
    for (const { wanted_by } of models) expect(wanted_by).toEqual(['machine', current])
    const text = await host.must('setpriv --reuid=nobody --regid=nogroup --clear-groups comfy-machine models list')
    expect(text).toContain('3 models, ')
    expect(text).toMatch(/^checkpoints\/demo\.safetensors +1\.0 MB +[0-9a-f]{12} +in place +machine [0-9a-f]{8}$/m)
  })

  test('verify finds nothing where nothing is wrong', async () => {
    expect(await host.must('comfy-machine models verify')).toContain('3 files are read')
  })

  test('verify names rot, and --repair mends it under the running ComfyUI', async () => {
    const { sha256 } = await rowOf(DEMO)
    await host.must(`printf X | dd of=${blob(sha256)} bs=1 seek=1000 conv=notrunc status=none`)
    const found = await host.exec('comfy-machine models verify')
    expect(found.code).toBe(1)
    expect(found.stderr).toMatch(new RegExp(`${DEMO}: sha256 is [0-9a-f]{64}, expected ${sha256}; wanted by machine`))
    expect(found.stderr).toContain(`comfy-machine: CM1812 ${DEMO} is damaged`)
    expect(await hashSeenByComfyUI(DEMO)).not.toBe(sha256)
    await clearRequests(host, 'models')
    const mended = await host.exec('comfy-machine models verify --repair')
    expect(mended, mended.stderr).toMatchObject({ code: 0 })
    expect(await hashSeenByComfyUI(DEMO)).toBe(sha256)
    expect([...new Set(await downloads())]).toHaveLength(1)
    expect((await host.exec('comfy-machine models verify')).code).toBe(0)
    expect((await rowOf(DEMO)).state).toBe('in_place')
    expect((await host.must(`stat -c '%U:%G %a' ${blob(sha256)}`)).trim()).toBe('comfy-install:comfy 444')
  })

  test('gc removes what was put aside, and nothing that is wanted', async () => {
    const plan = await host.exec('comfy-machine models gc --plan')
    expect(plan.code).toBe(2)
    expect(plan.stdout).toMatch(/^- \.store\/damaged\/[0-9a-f]{64} +1\.0 MB/m)
    const done = JSON.parse(await host.must('comfy-machine models gc --json')) as { freed_bytes: number }
    expect(done.freed_bytes).toBe(1_048_576)
    expect(await host.exec('comfy-machine models gc --plan')).toMatchObject({ code: 0, stdout: 'nothing to remove\n' })
    expect(await states()).toEqual({ [DEMO]: 'in_place', [LARGE]: 'in_place', [AE]: 'in_place' })
  })

  test('gc removes a model with the component that wanted it, and not what people put there', async () => {
    await host.write(`${MODELS}/loras/own.safetensors`, 'mine')
    await stop(host)
    await configure(host)
    await startToReady(host)
    const plan = await host.exec('comfy-machine models gc --plan --json')
    expect(plan.code).toBe(2)
    expect(JSON.parse(plan.stdout)).toMatchObject({ removed: false, freed_bytes: LARGE_BYTES })
    expect(await host.must(`stat -c %s ${MODELS}/${LARGE}`)).toBe(`${LARGE_BYTES}\n`)
    const unit = await host.exec('setpriv --reuid=nobody --regid=nogroup --clear-groups comfy-machine models gc')
    expect(unit).toMatchObject({ code: 64 })
    const before = await host.must(`df --output=avail -B1 ${MODELS} | tail -1`)
    expect(await host.must('comfy-machine models gc')).toContain('2 names removed, free now: 16.8 MB')
    const after = await host.must(`df --output=avail -B1 ${MODELS} | tail -1`)
    expect(Number(after) - Number(before)).toBeGreaterThan(LARGE_BYTES / 2)
    expect(await states()).toEqual({ [DEMO]: 'in_place', [AE]: 'in_place' })
    expect(await host.read(`${MODELS}/loras/own.safetensors`)).toBe('mine')
    expect(await readReady(host)).toMatchObject({ code: 200, failing: [] })
  })

  test('a set goes to a host without a network', async () => {
    const before = await list()
    expect(await host.must('comfy-machine models export /srv/set')).toMatch(/^2 models: 2 files written/)
    expect(await host.must('comfy-machine models export /srv/set')).toMatch(/^2 models: 0 files written.*2 were there/)
    await host.must('cp -r /srv/set /root/set && chmod -R a+rX /root/set')
    await stop(host)
    await host.must(`systemctl stop fixture-models; rm -r ${MODELS} ${WORKSPACE}/models.json`)
    await host.must(`install -d -o comfy-install -g comfy -m 775 ${MODELS}`)
    const wrong = before.models[0]?.sha256 ?? ''
    await host.must(`printf X | dd of=/root/set/blobs/sha256/${wrong} bs=1 seek=9 conv=notrunc status=none`)
    const failed = await host.exec('comfy-machine models import /root/set')
    expect(failed.code).toBe(1)
    expect(failed.stderr).toContain(`CM1804 model demo.safetensors: blobs/sha256/${wrong}: sha256 is`)
    expect(await states()).toEqual({ [DEMO]: 'missing', [AE]: 'in_place' })
    expect(await host.must('comfy-machine models import /srv/set')).toContain('1 files taken')
    expect((await list()).models).toEqual(before.models)
    expect(await host.must('comfy-machine models import /srv/set')).toContain('0 files taken')
    expect((await host.must(`find ${MODELS} ! -user comfy-install`)).trim()).toBe('')
    await startToReady(host)
    await host.must('systemctl start fixture-models')
    expect(await host.exec('comfy-machine models import /root')).toMatchObject({ code: 78 })
  })

  test('pull brings what a lock names, and nothing twice', async () => {
    await host.must('comfy-machine lock --out /root/machine.lock.json')
    const { sha256 } = await rowOf(AE)
    await host.must(`rm ${MODELS}/${AE} ${blob(sha256)}`)
    expect((await rowOf(AE)).state).toBe('missing')
    await clearRequests(host, 'models')
    await host.must('comfy-machine models pull --lock /root/machine.lock.json')
    expect((await rowOf(AE)).state).toBe('in_place')
    expect(new Set(await downloads()).size).toBe(1)
    await clearRequests(host, 'models')
    await host.must('comfy-machine models pull')
    expect(await downloads()).toEqual([])
    expect(await host.exec('comfy-machine models pull nothing')).toMatchObject({ code: 64 })
  })

  test('a model without a declared hash is held to what its source served first, until that is accepted', async () => {
    const workflows = (await readComponents(host, 'workflows')) as Record<string, object>
    const url = `${fixtureUrls.models}/models/pinned.safetensors?size=65536`
    const model = { name: 'pinned.safetensors', downloadUrl: url, saveTo: `models/${PINNED}`, fileSize: 65536 }
    const pinned = { workflow_id: 'pinned', workflow_name: 'pinned', models: [model], custom_nodes: [] }
    await writeComponents(host, 'workflows', { ...workflows, pinned })
    await configure(host, { COMPONENTS: 'demo,pinned' })
    await stop(host)
    await startToReady(host)
    const first = await rowOf(PINNED)
    expect(first).toMatchObject({ state: 'in_place', pinned: true })
    await host.must(`rm ${MODELS}/${PINNED} ${blob(first.sha256)}`)
    await setFaults(host, 'models', { match: 'pinned', kind: 'hash' })
    const held = await host.exec('comfy-machine models pull')
    expect(held.code).toBe(1)
    expect(held.stderr).toContain('CM1804')
    expect(await host.exec(`comfy-machine models pull --accept ${DEMO}`)).toMatchObject({ code: 64 })
    const accepted = await host.exec('comfy-machine models pull --accept pinned.safetensors')
    expect(accepted, accepted.stderr).toMatchObject({ code: 0 })
    const second = await rowOf(PINNED)
    expect(second).toMatchObject({ state: 'in_place', pinned: true })
    expect(second.sha256).not.toBe(first.sha256)
    await clearFaults(host, 'models')
    await host.must('comfy-machine models pull')
    expect((await rowOf(PINNED)).sha256).toBe(second.sha256)
  })

  test('a pull that is stopped goes on the next time, and nobody else works on the models meanwhile', async () => {
    await configure(host, { COMPONENTS: 'demo,large', MODEL_RATE_LIMIT: '500K' })
    await host.must('systemctl restart --no-block comfy-machine')
    await host.waitFor(`ls ${MODELS}/.store/partial/*.map`, 60_000)
    const busy = await host.exec('comfy-machine models gc')
    expect(busy.code).toBe(1)
    expect(busy.stderr).toMatch(/CM1809 comfy-machine install models \(PID \d+\) works on the models/)
    await stop(host)
    await host.must(
      "setsid sh -c 'comfy-machine models pull > /root/pull 2>&1; echo $? > /root/code' > /dev/null 2>&1 &",
    )
    await host.waitFor('grep -q pull /var/lib/comfy-machine/models/.store/lock')
    const second = await host.exec('comfy-machine models pull')
    expect(second.stderr).toMatch(/CM1809 comfy-machine models pull \(PID \d+\) works on the models/)
    await host.waitFor(`[ "$(comfy-machine models list --json | grep -c '"arrived_bytes": [1-9]')" = 1 ]`)
    expect(await rowOf(LARGE)).toMatchObject({ state: 'partial', bytes: LARGE_BYTES })
    await host.must(`kill -INT $(sed -E 's/.*"pid":([0-9]+).*/\\1/' ${MODELS}/.store/lock)`)
    await host.waitFor('test -s /root/code')
    expect([await host.read('/root/code'), await host.read('/root/pull')]).toEqual([
      '1\n',
      expect.stringContaining('goes on with it'),
    ])
    await configure(host, { COMPONENTS: 'demo,large' })
    await host.must('comfy-machine models pull')
    expect((await rowOf(LARGE)).state).toBe('in_place')
    expect(await host.must(`ls ${MODELS}/.store/partial`)).toBe('')
  })
})
