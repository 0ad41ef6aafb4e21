import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clearRequests, readRequests } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, readJournal, readReady, show, startToReady, stop, WORKSPACE } from './machine.ts'
import { readStore } from './model-store.ts'

const SOCKET = 'comfy-share-models.socket'
const SERVICE = 'comfy-share-models.service'
const PORT = 9191
const NEIGHBOUR = `http://127.0.0.1:${PORT}`
const LARGE = 'checkpoints/large.safetensors'
const LARGE_BYTES = 16_777_216
const IDLE_S = 6
/** The models of a neighbour, which lives on the same host. */
const OTHER = '/srv/other/models'

const DROP_IN = [
  '[Service]',
  'ExecStart=',
  `ExecStart=/usr/lib/comfy-machine/bin/node --lite-mode --max-semi-space-size=1 /usr/lib/comfy-machine/main.js share ${IDLE_S}`,
  '',
].join('\n')

// One machine goes through these in this order.
describe('models from a neighbour', () => {
  let host: Host
  let hash: string

  beforeAll(async () => {
    host = await bootMachine('share-models', { COMPONENTS: 'large', MOCK_GPU_NUM: '1', MODEL_SHARE_PORT: String(PORT) })
    await host.write(`/etc/systemd/system/${SERVICE}.d/10-test.conf`, DROP_IN)
    await startToReady(host)
    hash = (await readStore(host)).visible.get(LARGE) ?? ''
  })

  afterAll(async () => {
    await host.stop()
  })

  const stateOf = async (unit: string): Promise<string | undefined> =>
    (await show(host, unit, 'ActiveState'))['ActiveState']
  const askFor = (path: string, ...options: readonly string[]) =>
    host.exec(['curl', '-sS', '--max-time', '10', ...options, `${NEIGHBOUR}${path}`])

  test('wait on a port, without a process', async () => {
    expect(await stateOf(SOCKET)).toBe('active')
    expect(await stateOf(SERVICE)).toBe('inactive')
    const files = [SOCKET, SERVICE].map((name) => `/run/systemd/system/${name}`)
    expect(await host.exec(`systemd-analyze verify --man=no ${files.join(' ')}`)).toMatchObject({ code: 0, stderr: '' })
  })

  test('are given to whoever knows their hash, by a process without privileges', async () => {
    const head = await askFor(`/blobs/sha256/${hash}`, '--head')
    expect(head.stdout).toContain('HTTP/1.1 200 OK\r\n')
    expect(head.stdout.toLowerCase()).toContain(`content-length: ${LARGE_BYTES}\r\n`)
    const sum = await host.must(`curl -sS ${NEIGHBOUR}/blobs/sha256/${hash} | sha256sum`)
    expect(sum.slice(0, 64)).toBe(hash)
    for (const path of ['/', '/blobs/sha256/', `/${LARGE}`, '/blobs/sha256/../../lock']) {
      const { stdout } = await askFor(path, '--path-as-is', '-o', '/dev/null', '-w', '%{http_code}')
      expect(stdout, path).toBe('404')
    }
    const { MainPID: pid, StatusText: status } = await show(host, SERVICE, 'MainPID', 'StatusText')
    expect((await host.must(`stat -c %U /proc/${pid}`)).trim()).toBe('comfy-agent')
    expect((await host.must(`ps -o ni= -p ${pid}`)).trim()).toBe('10')
    expect(status).toMatch(/^connections: \d+, sent: \d/)
    expect(await host.must(`grep CapEff /proc/${pid}/status`)).toContain('0000000000000000')
  })

  test('cost nothing when nobody asks any more, and are there again when somebody does', async () => {
    await host.waitFor(`test "$(systemctl show -P ActiveState ${SERVICE})" = inactive`, 20_000)
    expect(await stateOf(SOCKET)).toBe('active')
    const said = (await readJournal(host, `_SYSTEMD_UNIT=${SERVICE}`)).map(({ MESSAGE }) => MESSAGE)
    expect(said).toEqual([
      `gives the models of ${WORKSPACE}/models to other machines`,
      'ends; requests for models: 1, sent: 16.8 MB',
    ])
    const before = await show(host, SERVICE, 'InvocationID', 'Result')
    expect(before['Result']).toBe('success')
    expect((await askFor(`/blobs/sha256/${hash}`, '-r', '0-9', '-w', '%{http_code}', '-o', '/dev/null')).stdout).toBe(
      '206',
    )
    expect(await show(host, SERVICE, 'InvocationID')).not.toEqual({ InvocationID: before['InvocationID'] })
  })

  test('come to a machine that knows the neighbour, and the origin is not asked', async () => {
    await stop(host)
    expect(await stateOf(SOCKET)).toBe('inactive')
    expect(await stateOf(SERVICE)).toBe('inactive')
    await host.must(`mkdir -p ${OTHER} && cp -r ${WORKSPACE}/models/.store ${OTHER}/`)
    await host.must(`rm -r ${WORKSPACE}/models ${WORKSPACE}/models.json`)
    await host.must(`sed 's|${WORKSPACE}/models|${OTHER}|' /run/comfy-machine/plan.json > /srv/other/plan.json`)
    await host.must(
      `systemd-run --quiet --unit=neighbour --uid=comfy-agent --socket-property=ListenStream=${PORT} --socket-property=FileDescriptorName=${SOCKET} -E COMFY_MACHINE_PLAN=/srv/other/plan.json comfy-machine share`,
    )
    await clearRequests(host, 'models')
    await configure(host, {
      ...{ COMPONENTS: 'large', MOCK_GPU_NUM: '1', MODEL_SHARE_PORT: undefined },
      ...{ MODEL_SOURCES: `http://127.0.0.1:9,${NEIGHBOUR}` },
    })
    await startToReady(host)
    expect(await readReady(host)).toMatchObject({ code: 200, failing: [] })
    expect((await readStore(host)).visible.get(LARGE)).toBe(hash)
    expect(await readRequests(host, 'models')).toEqual([])
    expect((await host.exec(`systemctl cat ${SOCKET}`)).code).not.toBe(0)
  })

  test('come from their origin when the neighbour is gone', async () => {
    await stop(host)
    await host.must('systemctl stop neighbour.socket neighbour.service')
    const said = await readJournal(host, '_SYSTEMD_UNIT=neighbour.service')
    expect(said.at(-1)?.['MESSAGE']).toMatch(/^ends; requests for models: \d+, sent: 16\.8 MB$/)
    await host.must(`rm -r ${WORKSPACE}/models ${WORKSPACE}/models.json`)
    await startToReady(host)
    expect((await readStore(host)).visible.get(LARGE)).toBe(hash)
    const asked = (await readRequests(host, 'models')).filter(({ path }) => path.includes('large'))
    expect(asked.length).toBeGreaterThan(0)
  })
})
