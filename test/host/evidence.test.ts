import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { EvidenceDocument } from '../../src/worker/evidence-document.ts'
import { expectFailure } from './failure.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  configure,
  get,
  installedThings,
  readJournal,
  readReady,
  readStatus,
  startToReady,
  stop,
  WORKSPACE,
  waitForTrace,
} from './machine.ts'

const UNIT = 'comfyui@gpu0.service'
const INSTANCE = `${WORKSPACE}/instances/gpu0`
const MODEL = `${WORKSPACE}/models/vae/ae.safetensors`
const FORGET = '/srv/forget-class'
const MODULE = 'fixture_package_that_nobody_installs'
const ORDINARY = { MOCK_GPU_NUM: '1', COMPONENTS: 'demo,evidence' }
const ALL_CODES = ['CM1902', 'CM1903', 'CM1904', 'CM1905']
/** What fails once fails always here: systemd need not try it four times. */
const ONCE = '/etc/systemd/system/comfyui@.service.d/once.conf'
const HUB_LOG = '/var/tmp/hub.log'

const GAPS = {
  model: `ExecStartPre=+/bin/rm -f ${MODEL}`,
  bytes: `ExecStartPre=+/bin/sh -c 'printf x | dd of=${MODEL} conv=notrunc status=none'`,
  prompt: `ReadOnlyPaths=${INSTANCE}/output`,
} as const

interface Degraded {
  readonly step: number
  readonly code: string
  readonly component: string
  readonly unit: string
  readonly gpu: string
  readonly message: string
  readonly hint: string
}

describe('the evidence of a ComfyUI', () => {
  let host: Host
  let installed: ReadonlyMap<string, string>

  const disturb = async (...gaps: readonly (keyof typeof GAPS)[]): Promise<void> => {
    const lines = gaps.map((name) => GAPS[name])
    await host.write(`/etc/systemd/system/${UNIT}.d/disturb.conf`, ['[Service]', ...lines, ''].join('\n'))
  }
  const readEvidence = async (file = '/run/comfy-machine/comfyui@gpu0/evidence.json'): Promise<EvidenceDocument> =>
    JSON.parse(await host.read(file)) as EvidenceDocument
  const listPictures = async (): Promise<string> => host.must(`find ${INSTANCE}/output -mindepth 1`)

  const expectGap = async (code: (typeof ALL_CODES)[number], says: RegExp): Promise<void> => {
    await expectFailure(host, { code: code as 'CM1902', unit: UNIT, says })
    const document = await readEvidence(`${INSTANCE}/evidence/${(await readEvidence()).generation}.json`)
    expect(document.gaps.map((gap) => gap.code)).toEqual([code])
    expect(await listPictures()).toBe('')
  }

  beforeAll(async () => {
    host = await bootMachine('evidence', { ...ORDINARY, COMPONENTS: 'demo,evidence,broken-import' })
  })

  afterAll(async () => {
    await host.stop()
  })

  test('fails a first start with the exception and the module of a node that is not imported: CM1902', async () => {
    const says = new RegExp(`node-broken-import: ModuleNotFoundError: No module named '${MODULE}'`)
    await expectGap('CM1902', says)
    const [line] = await readJournal(host, 'COMFY_ERROR_CODE=CM1902', 'COMFY_EVENT=machine.step.failure')
    expect(line?.['COMFY_HINT']).toContain(`the package that has the Python module ${MODULE}`)
    await host.write(ONCE, '[Service]\nRestart=no\n')
    await configure(host, ORDINARY)
    await startToReady(host)
    installed = await installedThings(host)
  })

  test('is complete: imports, classes, models and a picture, which is gone again', async () => {
    const document = await readEvidence()
    expect(document).toMatchObject({ schema: 1, gpu: 'gpu0', isComplete: true, gaps: [], notes: [] })
    expect(document.nodes.find(({ name }) => name === 'node-forgetful')).toMatchObject({
      imported: true,
      classes: ['FixtureForgotten', 'FixtureKept'],
      missing: [],
    })
    expect(document.nodes.find(({ name }) => name === 'node-web')).toMatchObject({ classes: [], web: true })
    expect(document.nodes.every(({ imported }) => imported === true)).toBe(true)
    expect(document.models).toEqual({ wanted: 2, displaced: [] })
    expect(await readEvidence(`${INSTANCE}/evidence/${document.generation}.json`)).toEqual(document)
    const running = await host.must(`cd ${WORKSPACE}/comfyui && (readlink -e gpu0 || readlink -e current)`)
    expect(running).toContain(document.generation)

    expect(await listPictures()).toBe('')
    expect(JSON.parse(await host.must('curl -sS http://127.0.0.1:8188/history'))).toEqual({})
    const step = (await readStatus(host)).steps[18]
    expect(step?.attributes).toMatchObject({ 'evidence.complete': true, 'evidence.gaps': 0, 'evidence.models': 2 })
    expect(step?.attributes['evidence.prompt_ms']).toBeGreaterThan(0)
    const ready = JSON.parse((await get(host, '/ready')).body) as object
    expect(ready).not.toHaveProperty('degraded')
    process.stdout.write(`the evidence of one ComfyUI takes ${document.durations['all']} ms: ${said(document)}\n`)
  })

  describe('that is not complete fails the start', () => {
    const expectReady = async (): Promise<void> => {
      await host.must(`rm -rf /etc/systemd/system/${UNIT}.d ${FORGET}`)
      await configure(host, ORDINARY)
      await startToReady(host)
      expect(await readEvidence()).toMatchObject({ isComplete: true })
      await stop(host)
    }

    test('CM1903: with the class that a node had at this commit, at every start without it', async () => {
      await stop(host)
      await host.write(FORGET, '')
      const says = /node-forgetful: FixtureForgotten is not in \/object_info/
      await expectGap('CM1903', says)
      await expectGap('CM1903', says)
      await expectReady()
    })

    test('CM1903: with the class that the component source says a node has', async () => {
      await configure(host, { ...ORDINARY, COMPONENTS: 'demo,evidence,announced' })
      await expectGap('CM1903', /node-forgetful: FixtureAnnounced is not in \/object_info/)
      await expectReady()
    })

    test('CM1905: with the model that is gone, or other bytes, since it was installed', async () => {
      await disturb('model')
      await expectGap('CM1905', /ae\.safetensors is not there/)
      await disturb('bytes')
      await expectGap('CM1905', /ae\.safetensors has the sha256 [0-9a-f]{64}, expected [0-9a-f]{64}/)
      await expectReady()
    })

    test('CM1904: with what ComfyUI says of a prompt that fails', async () => {
      await disturb('prompt')
      await expectGap('CM1904', /SaveImage \(node 2\): OSError: \[Errno 30\] Read-only file system/)
      await expectReady()
    })

    test('with every gap in one sentence', async () => {
      await disturb('model', 'prompt')
      await expectFailure(host, { code: 'CM1905', unit: UNIT, says: /ae\.safetensors is not there; CM1904 EmptyImage/ })
      await expectReady()
      expect([...(await installedThings(host))].filter(([name]) => !name.includes('ae.safetensors'))).toEqual(
        [...installed].filter(([name]) => !name.includes('ae.safetensors')),
      )
    })
  })

  describe('that is not complete, with COMPONENT_FAILURE_POLICY=degraded', () => {
    const COMPONENTS = 'demo,evidence,broken-import'
    const readDegraded = async (): Promise<readonly Degraded[]> => {
      const { code, body } = await get(host, '/ready')
      const { ready, degraded = [] } = JSON.parse(body) as { ready: boolean; degraded?: readonly Degraded[] }
      expect([code, ready]).toEqual([200, true])
      return degraded
    }
    const codesOf = (list: readonly Degraded[]): readonly string[] => list.map(({ code }) => code).toSorted()

    beforeAll(async () => {
      await host.must(`systemd-run --quiet sh -c 'redis-cli SUBSCRIBE machine:status:test-machine > ${HUB_LOG}'`)
      await host.must(['rm', ONCE])
      await host.write(FORGET, '')
      await disturb('model', 'prompt')
      await configure(host, { ...ORDINARY, COMPONENTS, COMPONENT_FAILURE_POLICY: 'degraded' })
      await startToReady(host)
    })

    test('is ready, and says what it is without in every place where an operator looks', async () => {
      const degraded = await readDegraded()
      expect(codesOf(degraded)).toEqual(ALL_CODES)
      const broken = degraded.find(({ code }) => code === 'CM1902')
      expect(broken).toMatchObject({ step: 19, unit: UNIT, gpu: 'gpu0', component: 'custom node node-broken-import' })
      expect(broken?.message).toContain(MODULE)

      const status = (await readStatus(host)) as unknown as { phase: string; degraded: readonly Degraded[] }
      expect(status.phase).toBe('ready')
      expect(status.degraded).toEqual(degraded)
      const text = await host.exec('comfy-machine status')
      expect(text.code).toBe(0)
      const explained = await host.must('comfy-machine explain --last')
      const page = (await get(host, '/')).body
      const metrics = (await get(host, '/metrics')).body
      const [ready] = (await readJournal(host, 'COMFY_STATE=ready', '_SYSTEMD_UNIT=comfy-machine.service')).slice(-1)
      const { trace_id: trace } = await readStatus(host)
      const root = (await waitForTrace(host, trace)).find(({ parentSpanId }) => parentSpanId === '')
      const unit = await host.must('systemctl show -P StatusText comfy-machine')
      for (const code of ALL_CODES) {
        expect(text.stdout, code).toMatch(new RegExp(`${code}  without (custom node|model|prompt)`))
        expect(explained, code).toContain(code)
        expect(page, code).toContain(code)
        expect(metrics, code).toContain(`comfy_machine_shortfalls{code="${code}"} 1`)
        expect(ready?.['MESSAGE'], code).toContain(`(${code})`)
        expect(root?.attributes['machine.shortfalls'], code).toContain(`(${code})`)
        expect(unit, code).toContain(`(${code})`)
        const warned = await readJournal(host, `COMFY_ERROR_CODE=${code}`, `COMFY_TRACE_ID=${trace}`)
        expect(warned.map((line) => [line['PRIORITY'], line['COMFY_UNIT']])).toEqual([['4', UNIT]])
        expect(warned[0]?.['MESSAGE']).toMatch(/^step 19\/21 ComfyUI Server Start gpu0: goes on without /)
        const own = await host.must(['journalctl', '-b', '-q', '-u', UNIT, '-p', '4..4', '-g', `^${code}: `])
        expect(own, code).toContain('COMPONENT_FAILURE_POLICY=degraded')
      }
      expect(root?.status.code).not.toBe('error')
      const messages = (await host.read(HUB_LOG)).split('\n').filter((line) => line.startsWith('{'))
      const told = messages.map((line) => JSON.parse(line) as { update_type: string; status: { machine: object } })
      expect(told.find(({ update_type: type }) => type === 'machine_ready')?.status.machine).toMatchObject({
        phase: 'ready',
        degraded: expect.arrayContaining([expect.objectContaining({ code: 'CM1902', unit: UNIT })]) as unknown,
      })
    })

    test('says so again when its controller was killed', async () => {
      const before = await readDegraded()
      const { agent } = await readStatus(host)
      await host.must(`kill -9 ${agent.pid}`)
      await host.waitFor(
        `comfy-machine status --json | grep -q '"alive":true' && [ "$(systemctl show -P MainPID comfy-machine)" != ${agent.pid} ]`,
      )
      await host.waitFor('curl -fsS http://127.0.0.1:9090/ready')
      expect(await readDegraded()).toEqual(before)
    })

    test('says no longer what is there again when its ComfyUI was started anew', async () => {
      await host.must(`rm -rf /etc/systemd/system/${UNIT}.d ${FORGET} && systemctl daemon-reload`)
      await host.must('systemctl restart comfy-install-models.service', { timeoutMs: 60_000 })
      await host.must(`kill -9 $(systemctl show -P MainPID ${UNIT})`)
      await host.waitFor(`curl -fsS http://127.0.0.1:9090/ready | grep -v CM1904`)
      expect(codesOf(await readDegraded())).toEqual(['CM1902'])
      expect((await readReady(host)).failing).toEqual([])
    })

    test('has its evidence, locks and rollout in the support bundle', async () => {
      await host.must('comfy-machine report --out /root/report.tar.gz')
      const names = await host.must('tar tzf /root/report.tar.gz')
      expect(names).toMatch(/evidence\/gpu0\/[^/]+\.json/)
    })
  })
})

function said({ durations }: EvidenceDocument): string {
  return Object.entries(durations)
    .map(([name, ms]) => `${name} ${ms} ms`)
    .join(', ')
}
