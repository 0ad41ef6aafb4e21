import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { STEPS } from '../../src/steps.ts'
import { clearRequests, readComponents, readRequests } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  get,
  installedThings,
  invocationOf,
  readJournal,
  readReady,
  readStatus,
  show,
  startToReady,
  stop,
  toMicroseconds,
  WANTED_UNITS,
  WORKSPACE,
} from './machine.ts'

const INSTALLERS = [
  'comfy-install-comfyui.service',
  'comfy-discover.service',
  'comfy-install-nodes.service',
  'comfy-install-models.service',
]
const SANDBOX = 'comfy-sandbox.socket'
const HUB_LOG = '/run/hub.log'
const workflow = {
  '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'test' } },
}

interface HubMessage {
  readonly machine_id: string
  readonly timestamp: string
  readonly update_type: string
  readonly structure: {
    readonly gpu_count: number
    readonly capabilities: readonly string[]
    readonly workers: Readonly<Record<string, unknown>>
    readonly services: Readonly<Record<string, unknown>>
  }
  readonly status: {
    readonly machine: { readonly phase: string; readonly uptime_ms: number }
    readonly workers: Readonly<Record<string, unknown>>
    readonly services: Readonly<Record<string, unknown>>
  }
  readonly health_url: string
}

// One machine goes through its first start, a job, a stop and a second start, in this order.
describe('a machine with two mock GPUs', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('startup')
    const subscribe = `redis-cli SUBSCRIBE machine:status:test-machine > ${HUB_LOG}`
    await host.must(['systemd-run', '--quiet', '--unit=hub-listener', '/bin/sh', '-c', subscribe])
    await host.waitFor(`grep -q subscribe ${HUB_LOG}`)
    await startToReady(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  const hubMessages = async (): Promise<readonly HubMessage[]> =>
    (await host.read(HUB_LOG))
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as HubMessage)

  test('has done its 21 steps', async () => {
    const status = await readStatus(host)
    expect(status.steps.map(({ number, event, state }) => [number, event, state])).toEqual(
      STEPS.map(({ number, event }) => [number, event, 'done']),
    )
    for (const step of status.steps) {
      expect(step.duration_ms, `step ${step.number}`).toBeGreaterThanOrEqual(0)
      expect(step.start, `step ${step.number}`).not.toBeNull()
    }
    expect(status).toMatchObject({ phase: 'ready', machine_id: 'test-machine', failing: [] })
    expect((await host.exec('comfy-machine status --wait --timeout 5')).code).toBe(0)
    const table = await host.must('comfy-machine status')
    for (const { number, title } of STEPS) expect(table).toMatch(new RegExp(`^ ?${number}  ${title} +done `, 'm'))
  })

  test('has every unit active, and systemd finds nothing wrong with them', async () => {
    const units = ['comfy-machine.service', 'comfy-machine.target', 'comfy-health.socket', SANDBOX, ...WANTED_UNITS]
    expect((await host.must(['systemctl', 'is-active', ...units])).trim().split('\n')).toEqual(
      units.map(() => 'active'),
    )
    const files = '/run/systemd/system/{comfy,redis-worker}* /usr/lib/systemd/system/comfy-*'
    const verified = await host.exec(`systemd-analyze verify --man=no ${files}`)
    expect(verified).toEqual({ code: 0, stdout: '', stderr: '' })
    expect((await readJournal(host, '_PID=1', '-g', '^Reloading finished')).length).toBe(1)
    expect((await show(host, 'comfyui@gpu0.service', 'NeedDaemonReload'))['NeedDaemonReload']).toBe('no')
  })

  test('has one ComfyUI per GPU, on a port and with directories of its own', async () => {
    for (const gpu of [0, 1]) {
      const unit = `comfyui@gpu${gpu}.service`
      const { Environment = '', ExecStart = '' } = await show(host, unit, 'Environment', 'ExecStart')
      expect(Environment.split(' ')).toContainEqual(expect.stringMatching(/^CUDA_VISIBLE_DEVICES=/))
      expect(ExecStart).toContain(`--port ${8188 + gpu} `)
      for (const name of ['output', 'temp', 'input', 'user'])
        expect(ExecStart).toContain(`--${name}-directory ${WORKSPACE}/instances/gpu${gpu}/${name}`)
      const stats = JSON.parse(await host.must(['curl', '-sf', `http://127.0.0.1:${8188 + gpu}/system_stats`])) as {
        readonly system: { readonly comfyui_version: string }
      }
      expect(stats.system.comfyui_version).toBe('0.3.1')
      expect(Number((await show(host, unit, 'MainPID'))['MainPID'])).toBeGreaterThan(1)
    }
  })

  test('has installed ComfyUI in a generation with its own packages', async () => {
    const current = (await host.must(['readlink', '-f', `${WORKSPACE}/comfyui/current`])).trim()
    expect(current).toMatch(new RegExp(`^${WORKSPACE}/comfyui/generations/[0-9a-f]{16}$`))
    const commit = (await host.must(['git', '-c', 'safe.directory=*', '-C', current, 'rev-parse', 'HEAD'])).trim()
    const wanted = await host.must(['git', '--git-dir=/srv/git/comfyui.git', 'rev-parse', 'v0.3.1'])
    expect(commit).toBe(wanted.trim())
    const program = 'import sys, torch, fixture_alpha; print(sys.prefix, torch.__version__, fixture_alpha.__version__)'
    expect((await host.must([`${current}/venv/bin/python`, '-c', program])).trim()).toBe(`${current}/venv 2.9.0 1.2.0`)
    expect((await host.must(['stat', '-c', '%U:%G', current])).trim()).toBe('comfy-install:comfy')
  })

  test('lets ComfyUI write what is its own and the models, and nothing of what runs', async () => {
    const { MainPID = '' } = await show(host, 'comfyui@gpu0.service', 'MainPID')
    const code = `${WORKSPACE}/comfyui/gpu0`
    const own = [...['output', 'temp', 'input', 'user'].map((name) => `gpu0/${name}`), 'home']
    const places = [
      ...[...own.map((name) => `${WORKSPACE}/instances/${name}`), `${WORKSPACE}/models`],
      ...[code, `${code}/custom_nodes`, `${code}/venv`, `${WORKSPACE}/comfyui`, `${WORKSPACE}/node-env`, WORKSPACE],
      ...[`${WORKSPACE}/instances`, `${WORKSPACE}/instances/gpu0`, '/var/cache/comfy-machine/uv', '/etc', '/usr'],
    ]
    const script = `for p in ${places.join(' ')}; do touch $p/try 2>/dev/null && rm $p/try && echo $p; done; true`
    const inside = ['nsenter', '--target', MainPID, '--mount', 'runuser', '-u', 'comfy', '--', 'bash', '-c', script]
    expect((await host.must(inside)).trim().split('\n')).toEqual(places.slice(0, 6))
    const { Environment = '' } = await show(host, 'comfyui@gpu0.service', 'Environment')
    expect(Environment.split(' ')).toEqual(
      expect.arrayContaining(['PYTHONDONTWRITEBYTECODE=1', `HOME=${WORKSPACE}/instances/home`]),
    )
    expect(await host.must(`tr '\\0' '\\n' < /proc/${MainPID}/environ`)).toContain(`HOME=${WORKSPACE}/instances/home`)
    expect(await host.must(`find -L ${code} -name __pycache__ -user comfy`)).toBe('')
  })

  test('has installed the custom nodes: order, pin, sub-module, .env, install.py', async () => {
    const nodes = `${WORKSPACE}/comfyui/current/custom_nodes`
    const demo = (await readComponents(host, 'workflows'))['demo'] as {
      readonly custom_nodes: readonly { readonly name: string; readonly commit: string | null }[]
    }
    const pin = demo.custom_nodes.find(({ name }) => name === 'node-recursive')?.commit ?? 'no pin'
    const git = ['git', '-c', 'safe.directory=*', '-C']
    expect((await host.must([...git, `${nodes}/node-recursive`, 'rev-parse', 'HEAD'])).trim()).toBe(pin)
    expect(await host.read(`${nodes}/node-recursive/vendor/fixture_vendor.py`)).toContain('VENDOR_VERSION')
    expect((await host.must(['stat', '-L', '-c', '%a %U', `${nodes}/node-gamma/.env`])).trim()).toBe(
      '640 comfy-install',
    )
    const gamma = await host.read(`${nodes}/node-gamma/.env`)
    expect(gamma).toMatch(/^GAMMA_TOKEN=["']?hf-fixture-token["']?$/m)
    expect(gamma).toMatch(/^GAMMA_MACHINE=["']?test-machine["']?$/m)
    const mark = JSON.parse(await host.read(`${nodes}/node-beta/installed.json`)) as Record<string, unknown>
    expect(mark).toMatchObject({ runs: 1, prefix: expect.stringContaining('/venv') as string })
    const order = (await readJournal(host, 'COMFY_STEP=17', 'COMFY_STATE=done')).flatMap(
      ({ COMFY_NODE = '' }) => COMFY_NODE || [],
    )
    expect(order.slice(0, 3)).toEqual(['node-alpha', 'node-beta', 'node-fixture'])
    expect([...order].sort()).toEqual(['node-alpha', 'node-beta', 'node-fixture', 'node-gamma', 'node-recursive'])
    const info = await host.must(['curl', '-sf', 'http://127.0.0.1:8188/object_info'])
    for (const name of ['FixtureAlpha', 'FixtureBeta', 'FixtureGamma', 'FixtureRecursive', 'FixtureSleep'])
      expect(Object.keys(JSON.parse(info) as object)).toContain(name)
  })

  test('has installed the models, checked, without a part left over', async () => {
    const demo = (await readComponents(host, 'workflows'))['demo'] as {
      readonly models: readonly { readonly saveTo: string; readonly hash: string }[]
    }
    expect(demo.models.length).toBe(2)
    for (const { saveTo, hash } of demo.models)
      expect(await host.must(['sha256sum', `${WORKSPACE}/${saveTo}`])).toContain(hash)
    expect(await host.must(['find', WORKSPACE, '-name', '*.part*'])).toBe('')
    const asked = (await readRequests(host, 'models')).filter(({ path }) => path.startsWith('/private/'))
    expect(asked.map(({ headers }) => headers['authorization'])).toContain('Bearer model-fixture-token')
    const open = (await readRequests(host, 'models')).filter(({ path }) => path.startsWith('/models/'))
    expect(open.length).toBeGreaterThan(0)
    for (const { headers } of open) expect(headers['authorization']).toBeUndefined()
  })

  test('writes one journal line per step, with its fields', async () => {
    const trace = await invocationOf(host)
    const lines = await readJournal(host, '-u', 'comfy-machine.service', 'SYSLOG_IDENTIFIER=comfy-machine')
    const all = lines.filter((line) => line['COMFY_STATE'] === 'done' && line['COMFY_STEP'] !== undefined)
    const ended = all.filter((line) => line['COMFY_GPU'] === undefined)
    const perGpu = all.flatMap((line) =>
      line['COMFY_GPU'] === undefined ? [] : `${line['COMFY_STEP']} ${line['COMFY_GPU']}`,
    )
    expect(perGpu.sort()).toEqual([13, 19, 20].flatMap((step) => [`${step} gpu0`, `${step} gpu1`]))
    expect(ended.map((line) => Number(line['COMFY_STEP'])).sort((a, b) => a - b)).toEqual(
      STEPS.map(({ number }) => number),
    )
    for (const line of ended) {
      const step = STEPS[Number(line['COMFY_STEP']) - 1]
      expect(line).toMatchObject({
        COMFY_EVENT: step?.event,
        COMFY_PHASE: step?.phase,
        COMFY_MACHINE_ID: 'test-machine',
        COMFY_TRACE_ID: trace,
        TRACE_ID: trace,
        SPAN_ID: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
        MESSAGE_ID: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
        COMFY_DURATION_MS: expect.stringMatching(/^\d+$/) as string,
      })
    }
    const explained = await host.must('journalctl -b -x -u comfy-machine COMFY_STEP=21')
    expect(explained).toContain('comfy-machine trace')
  })

  test('tags the lines of its units with step, GPU, machine and trace', async () => {
    const trace = await invocationOf(host)
    const nodes = await readJournal(host, 'COMFY_STEP=17', '_SYSTEMD_UNIT=comfy-install-nodes.service')
    expect(nodes.map(({ MESSAGE }) => MESSAGE)).toContain('node-beta: node-beta: installed')
    for (const gpu of ['gpu0', 'gpu1']) {
      const lines = await readJournal(host, '-u', `comfyui@${gpu}`, '_TRANSPORT=stdout')
      expect(lines.map(({ MESSAGE }) => MESSAGE)).toContainEqual(expect.stringContaining('To see the GUI go to'))
      for (const line of lines)
        expect(line).toMatchObject({ COMFY_GPU: gpu, COMFY_MACHINE_ID: 'test-machine', COMFY_TRACE_ID: trace })
    }
  })

  test('answers on port 9090', async () => {
    const health = await get(host, '/health')
    expect(health.code).toBe(200)
    expect(JSON.parse(health.body)).toMatchObject({ healthy: true, phase: 'ready', step: 21 })
    expect(Object.keys((JSON.parse(health.body) as { services: object }).services)).toEqual(
      expect.arrayContaining(['comfyui@gpu0.service', 'redis-worker@gpu1.service']),
    )
    expect(await readReady(host)).toMatchObject({ code: 200, ready: true, failing: [] })
    expect(JSON.parse((await get(host, '/status')).body)).toMatchObject({ phase: 'ready', step: 21 })
    const metrics = await get(host, '/metrics')
    expect(metrics.code).toBe(200)
    expect(metrics.body).toMatch(/^comfy_\w*ready\S* 1$/m)
    const page = await get(host, '/')
    expect(page.body).toContain('Custom Nodes Installation')
    const events = await host.exec('timeout 2 curl -sN http://127.0.0.1:9090/events | head -c 400')
    expect(events.stdout).toMatch(/^event: /m)
    expect((await get(host, '/nothing')).code).toBe(404)
  })

  test('tells the hub', async () => {
    const messages = await hubMessages()
    const kinds = messages.map((message) => message.update_type)
    expect(kinds[0]).toBe('initial')
    expect(kinds).toContain('machine_ready')
    const initial = messages[0]
    expect(initial?.status.machine.phase).toBe('starting')
    const ready = messages.find((message) => message.update_type === 'machine_ready')
    expect(ready).toMatchObject({
      machine_id: 'test-machine',
      structure: {
        gpu_count: 2,
        capabilities: expect.arrayContaining([expect.any(String)]) as string[],
        workers: {
          'test-machine-worker-comfyui-1': {
            worker_id: 'test-machine-worker-comfyui-1',
            unit: 'redis-worker@gpu1.service',
            gpu_id: 1,
            worker_type: 'comfyui',
          },
        },
      },
      status: {
        machine: { phase: 'ready' },
        workers: { 'test-machine-worker-comfyui-0': { is_connected: true, status: 'idle', current_job_id: null } },
      },
    })
    expect(ready?.health_url).toMatch(/^http:\/\/\S+:9090\/health$/)
    const service = Object.values(ready?.status.services ?? {})[0]
    expect(service).toMatchObject({ unit: 'comfyui@gpu0.service', status: 'active', health: 'healthy' })
  })

  test('takes a job from the queue and returns its image', async () => {
    await host.write('/root/job.json', JSON.stringify(workflow))
    const submitted = await host.exec('comfy-machine submit --wait --out /root/out /root/job.json')
    expect(submitted.stdout + submitted.stderr).toContain('completed in')
    expect(submitted.code).toBe(0)
    expect(await host.must('file -b /root/out/*.png 2>/dev/null || head -c 4 /root/out/*.png')).toContain('PNG')
  })

  test('tells the hub every ten seconds that it is still there', async () => {
    const pulse = async (): Promise<HubMessage | undefined> => {
      const messages = await hubMessages()
      const ready = messages.findIndex((message) => message.update_type === 'machine_ready')
      return messages.slice(ready + 1).find((message) => message.update_type === 'periodic')
    }
    await expect
      .poll(pulse, { timeout: 15_000, interval: 250 })
      .toMatchObject({ status: { machine: { phase: 'ready' } } })
  })

  test('keeps what runs when a plan finds nothing to change', async () => {
    const plan = await host.exec('comfy-machine plan')
    expect(plan.stdout + plan.stderr).not.toBe('')
    expect(plan.code).toBe(0)
  })

  test('stops with all its units and says so', async () => {
    const before = (await hubMessages()).length
    await stop(host)
    const { stdout } = await host.exec([
      ...['systemctl', 'is-active', 'comfy-machine.target', SANDBOX],
      ...WANTED_UNITS.slice(1),
    ])
    expect(stdout.trim().split('\n')).toEqual([SANDBOX, ...WANTED_UNITS].map(() => 'inactive'))
    const told = (await hubMessages()).slice(before)
    expect(told.at(-1)).toMatchObject({ update_type: 'shutdown', status: { machine: { phase: 'shutdown' } } })
    expect(await readReady(host)).toMatchObject({ code: 503, ready: false })
    expect((await host.exec('comfy-machine status --wait --timeout 10')).code).toBe(1)
  })

  test('starts again without installing anything', async () => {
    const [before, trace] = [await installedThings(host), await invocationOf(host)]
    expect(before.size).toBe(9)
    for (const server of ['git', 'index', 'models'] as const) await clearRequests(host, server)
    await startToReady(host)
    expect(await installedThings(host)).toEqual(before)
    for (const server of ['git', 'index', 'models'] as const) {
      const asked = (await readRequests(host, server)).map(({ method, path }) => `${method} ${path}`)
      expect(asked, server).toEqual([])
    }
    for (const unit of INSTALLERS) {
      const times = await show(host, unit, 'InactiveExitTimestamp', 'ActiveEnterTimestamp')
      const us =
        toMicroseconds(times['ActiveEnterTimestamp'] ?? '') - toMicroseconds(times['InactiveExitTimestamp'] ?? '')
      expect(us, unit).toBeGreaterThan(0)
      expect(us, unit).toBeLessThan(1_000_000)
    }
    expect(await invocationOf(host)).not.toBe(trace)
    expect((await readJournal(host, '_PID=1', '-g', '^Reloading finished')).length).toBe(2)
    expect((await readStatus(host)).steps.every(({ state }) => state === 'done')).toBe(true)
  })
})
