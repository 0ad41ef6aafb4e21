import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  addModels,
  type ComponentModel,
  clearFaults,
  clearRequests,
  componentModel,
  fixtureUrls,
  modelToken,
  readRequests,
  setFaults,
} from '../fixtures/scenario.ts'
import { expectFailure } from './failure.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, readJournal, start, startToReady, stop, WORKSPACE } from './machine.ts'
import { MODELS_UNIT, readModelCodes, readStore, sentFor } from './model-store.ts'

const MB = 1_000_000
const MODELS = `${WORKSPACE}/models`
const EMPTY_HASH = '0'.repeat(64)
const DROP_IN = `/etc/systemd/system/${MODELS_UNIT}.d/test.conf`

// One host meets all of this, in this order.
describe('models that do not come as they should', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('bad-models', { MOCK_GPU_NUM: '1', COMPONENTS: 'none' })
    await startToReady(host)
    await stop(host)
  })

  afterEach(() => stop(host))

  beforeEach(async () => {
    await clearFaults(host, 'models')
    await clearRequests(host, 'models')
    await host.must('journalctl --rotate -q; journalctl --vacuum-time=1s -q')
  })

  afterAll(async () => {
    await host.stop()
  })

  const configured = async (workflow: string, settings: Readonly<Record<string, string>> = {}): Promise<void> =>
    await configure(host, { MOCK_GPU_NUM: '1', COMPONENTS: workflow, ...settings })

  /** Models that cannot be brought, by the code that says so, and others that can, all in one workflow. */
  async function badSet(): Promise<readonly (readonly [ComponentModel, string])[]> {
    const make = (name: string, changes: Partial<ComponentModel> = {}, size = 3 * MB) =>
      componentModel(host, name, size, changes)
    const tokened = { isAuthReq: true, authEnvVar: modelToken.name }
    const elsewhere = (path: string, name: string) => `${fixtureUrls.models}/${path}/${name}?size=${3 * MB}`
    return [
      [await make('good.bin'), 'done'],
      [await make('no-ranges.bin', {}, 20 * MB), 'done'],
      [await make('cut-once.bin', {}, 20 * MB), 'done'],
      [await make('moved.bin', { downloadUrl: elsewhere('redirect/models', 'moved.bin'), ...tokened }), 'done'],
      [await make('signed.bin', { downloadUrl: elsewhere('signed/99/models', 'signed.bin'), ...tokened }), 'done'],
      [await make('other-hash.bin', { hash: EMPTY_HASH }), 'CM1804'],
      [await make('other-size.bin', { fileSize: 3 * MB + 1 }), 'CM1810'],
      [await make('page.bin'), 'CM1808'],
      [await make('unknown-page.bin', { fileSize: null, hash: null }), 'CM1808'],
      [await make('truncated.bin'), 'CM1805'],
      [await make('endless.bin'), 'CM1810'],
      [await make('changing.bin', { hash: null }, 20 * MB), 'CM1811'],
    ]
  }

  test('fail with a code each, and the rest of the set is there', async () => {
    const set = await badSet()
    await addModels(host, 'bad-set', ...set.map(([model]) => model))
    await setFaults(
      host,
      'models',
      { match: '/no-ranges', kind: 'whole' },
      { match: '/cut-once', kind: 'cut', at: 5_000_000, times: 1 },
      { match: 'page', kind: 'page' },
      { match: '/truncated', kind: 'whole' },
      { match: '/truncated', kind: 'cut', at: 100_000 },
      { match: '/endless', kind: 'whole' },
      { match: '/endless', kind: 'endless' },
      { match: '/changing', kind: 'validator', is: 'new' },
    )
    await configured('bad-set')
    expect((await start(host)).code).not.toBe(0)
    const codes = await readModelCodes(host)
    expect(codes).toEqual(Object.fromEntries(set.map(([{ name }, code]) => [name, code])))
    const status = (await host.exec('comfy-machine status')).stdout
    for (const [{ name }, code] of set) if (code !== 'done') expect(status).toContain(name)

    const good = set.filter(([, code]) => code === 'done').map(([model]) => model)
    const { visible, blobs, partial } = await readStore(host)
    expect(visible).toEqual(new Map(good.map(({ name, hash }) => [`checkpoints/${name}`, hash])))
    expect(blobs).toEqual(good.map(({ hash }) => hash).sort())
    for (const [{ name, hash }, code] of set) {
      // What was wrong as a whole is not gone on with.
      if (code === 'CM1804' || code === 'CM1810') expect(partial, name).not.toContain(hash)
    }
  })

  test('and no token went to another host', async () => {
    await host.must(`rm -r ${MODELS}/checkpoints ${MODELS}/.store`)
    const names = ['moved.bin', 'signed.bin']
    const paths = ['redirect/models', 'signed/99/models']
    const models = await Promise.all(
      names.map((name, index) =>
        componentModel(host, name, 3 * MB, {
          downloadUrl: `${fixtureUrls.models}/${paths[index]}/${name}?size=${3 * MB}`,
          authEnvVar: modelToken.name,
        }),
      ),
    )
    await addModels(host, 'moved', ...models)
    await configured('moved')
    await startToReady(host)
    const asked = (await readRequests(host, 'models')).filter(({ path }) => !path.startsWith('/_'))
    expect(new Set(asked.map(({ address }) => address))).toEqual(new Set(['127.0.0.1', '127.0.0.2']))
    for (const { address, path, headers } of asked) {
      const expected = address === '127.0.0.1' ? `Bearer ${modelToken.value}` : undefined
      expect(headers['authorization'], `${address} ${path}`).toBe(expected)
    }
  })

  test('are brought by the next start once the sources are in order', async () => {
    const set = await badSet()
    const size = { fileSize: 3 * MB }
    const truths = await Promise.all([
      componentModel(host, 'other-hash.bin', 3 * MB),
      componentModel(host, 'other-size.bin', 3 * MB, size),
    ])
    const fixed = set.map(([model]) => truths.find(({ name }) => name === model.name) ?? model)
    await addModels(host, 'bad-set', ...fixed)
    await configured('bad-set')
    await startToReady(host)
    const { visible, partial } = await readStore(host)
    expect([...visible.keys()].sort()).toEqual(fixed.map(({ name }) => `checkpoints/${name}`).sort())
    for (const { name, hash } of fixed) if (hash !== null) expect(visible.get(`checkpoints/${name}`)).toBe(hash)
    expect(partial).toEqual([])
  })

  test('a token is in no journal, command line or unit while it is used', async () => {
    const url = `${fixtureUrls.models}/private/secret.bin?size=${30 * MB}`
    const secret = await componentModel(host, 'secret.bin', 30 * MB, { downloadUrl: url, authEnvVar: modelToken.name })
    await addModels(host, 'secret', secret)
    await setFaults(host, 'models', { match: '/secret.bin', kind: 'rate', rate: 10 * MB })
    await configured('secret')
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor('systemctl show -P StatusText comfy-install-models | grep " [1-9].*MB"', 60_000)
    const found = await host.exec(
      `
      for place in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $place 2>/dev/null | grep -F "$TOKEN" | grep -v grep; done
      systemctl show '*' | grep -F "$TOKEN"
      journalctl --sync; journalctl -b -o json | grep -F "$TOKEN"
      curl -s http://127.0.0.1:9090/status | grep -F "$TOKEN"
      true`,
      { env: { TOKEN: modelToken.value } },
    )
    expect(found).toEqual({ code: 0, stdout: '', stderr: '' })
    await clearFaults(host, 'models')
    await host.waitFor('comfy-machine status --wait --timeout 5', 60_000)
  })

  describe('a volume', () => {
    const VOLUME = '/mnt/models'
    const settings = { MODELS_PATH: VOLUME }

    beforeEach(async () => {
      await host.must(`umount ${VOLUME} 2>/dev/null; mkdir -p ${VOLUME} && mount -t tmpfs -o size=160m tmpfs ${VOLUME}`)
    })

    test('too small for the plan is told before the first byte', async () => {
      const models = await Promise.all([60, 70, 80].map((size) => componentModel(host, `v${size}.bin`, size * MB)))
      await addModels(host, 'too-large', ...models)
      await configured('too-large', settings)
      await expectFailure(host, { code: 'CM1806', unit: MODELS_UNIT, says: /0\.21 GB/ })
      expect(await sentFor(host, '/v')).toBe(0)
    })

    test('too small for a size that only the source knows, too', async () => {
      const models = [await componentModel(host, 'untold.bin', 300 * MB, { fileSize: null })]
      await addModels(host, 'untold', ...models)
      await configured('untold', settings)
      await expectFailure(host, { code: 'CM1806', unit: MODELS_UNIT, says: /0\.30 GB/ })
      expect(await sentFor(host, '/untold')).toBe(0)
    })

    test('that others fill meanwhile: what came stays, and is gone on with', async () => {
      const filled = await componentModel(host, 'filled.bin', 60 * MB)
      const small = await componentModel(host, 'small.bin', MB)
      await addModels(host, 'filled', filled, small)
      await setFaults(host, 'models', { match: '/filled', kind: 'rate', rate: 10 * MB })
      await configured('filled', settings)
      await host.must('systemctl start --no-block comfy-machine')
      await host.waitFor(`curl -s http://127.0.0.1:7003/_log | grep -q filled`, 60_000)
      const stop_ = `test $(du -B1000000 -s ${VOLUME} | cut -f1) -ge 45`
      await host.waitFor(stop_, 60_000)
      await host.exec(`dd if=/dev/zero of=${VOLUME}/others bs=1M status=none`)
      await host.waitFor(`systemctl is-failed ${MODELS_UNIT}`, 60_000)
      expect(await readModelCodes(host)).toEqual({ 'filled.bin': 'CM1806', 'small.bin': 'done' })
      await stop(host)
      const { visible, partial } = await readStore(host, VOLUME)
      expect([...visible.keys()].sort()).toEqual(['checkpoints/small.bin', 'others'])
      expect(partial).toContain(filled.hash)
      await host.must(`rm ${VOLUME}/others`)
      await clearFaults(host, 'models')
      await startToReady(host)
      expect((await readStore(host, VOLUME)).visible.get('checkpoints/filled.bin')).toBe(filled.hash)
      expect(await sentFor(host, '/filled')).toBeLessThan(60 * MB * 1.1)
    })

    test('that a file of unknown size fills is left with room', async () => {
      const endless = await componentModel(host, 'endless.bin', 3 * MB, { fileSize: null, hash: null })
      await addModels(host, 'endless', endless)
      await setFaults(host, 'models', { match: '/endless', kind: 'whole' }, { match: '/endless', kind: 'endless' })
      await configured('endless', settings)
      await expectFailure(host, { code: 'CM1806', unit: MODELS_UNIT, says: /endless\.bin/ })
      expect((await readStore(host, VOLUME)).visible.size).toBe(0)
      const free = Number(await host.must(`df --output=avail -B1 ${VOLUME} | tail -1`))
      expect(free).toBeGreaterThan(60 * MB)
    })

    test('that cannot be written', async () => {
      const model = await componentModel(host, 'read-only.bin', MB)
      await addModels(host, 'read-only', model)
      await configured('read-only')
      await host.write(DROP_IN, `[Service]\nReadOnlyPaths=${MODELS}\n`)
      await host.must('systemctl daemon-reload')
      expect((await start(host)).code).not.toBe(0)
      const lines = await readJournal(host, `_SYSTEMD_UNIT=${MODELS_UNIT}`, '-p', 'err')
      expect(lines.map((line) => line['COMFY_ERROR_CODE'])).toContain('CM0401')
      expect((await readStore(host)).visible.has('checkpoints/read-only.bin')).toBe(false)
      await host.must(`rm ${DROP_IN} && systemctl daemon-reload`)
    })
  })

  test('two installers at once bring each model once', async () => {
    const shared = await componentModel(host, 'shared.bin', 60 * MB)
    await addModels(host, 'shared', shared)
    await setFaults(host, 'models', { match: '/shared', kind: 'rate', rate: 15 * MB })
    await configured('shared')
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor('systemctl show -P StatusText comfy-install-models | grep " [1-9].*MB"', 60_000)
    const rendered = `/run/systemd/system/${MODELS_UNIT}`
    const second = '/run/systemd/system/second-installer.service'
    await host.must(`sed 's,comfy-machine/comfy-install-models,second-installer,; /^PartOf=/d' ${rendered} > ${second}`)
    await host.must('systemctl daemon-reload && systemctl start second-installer', { timeoutMs: 60_000 })
    await host.waitFor('comfy-machine status --wait --timeout 5', 60_000)
    const told = await host.must('journalctl -b -o cat -u second-installer')
    expect(told).toMatch(/waiting for comfy-machine install models \(PID \d+\)/)
    expect((await readStore(host)).visible.get('checkpoints/shared.bin')).toBe(shared.hash)
    expect(await sentFor(host, '/shared')).toBeLessThan(60 * MB * 1.05)
    await host.must(`rm ${second} && systemctl daemon-reload`)
  })
})
