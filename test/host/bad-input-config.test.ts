import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { expectFailure, expectFailureSpan, expectToGoOn } from './failure.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, installedThings, startToReady, stop } from './machine.ts'

const MAPPING = '/etc/comfy-machine/service-mapping.json'

describe('a configuration that cannot be used', () => {
  let host: Host
  let installed: ReadonlyMap<string, string>
  let mapping: string

  // The very first start fails; its trace follows when a delivery exists.
  beforeAll(async () => {
    host = await bootMachine('bad-config', { WORKERS: undefined })
    const failure = { code: 'CM0301', says: /WORKERS/ } as const
    const trace = await expectFailure(host, { ...failure, isDelivered: false })
    await configure(host)
    await startToReady(host)
    await expectFailureSpan(host, trace, failure)
    installed = await installedThings(host)
    mapping = await host.read(MAPPING)
    await stop(host)
  })

  beforeEach(async () => {
    await configure(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('CM0301: a variable is missing', async () => {
    await configure(host, { HUB_REDIS_URL: undefined })
    await expectFailure(host, { code: 'CM0301', says: /HUB_REDIS_URL/ })
    await configure(host)
    await expectToGoOn(host, installed)
  })

  test('CM0302: a variable is malformed', async () => {
    await configure(host, { MACHINE_HEALTH_PORT: 'ninety' })
    await expectFailure(host, { code: 'CM0302', says: /machine\.env:\d+.*MACHINE_HEALTH_PORT/ })
    await configure(host)
    await expectToGoOn(host, installed)
  })

  test('CM0303: others can read the secrets', async () => {
    await host.must('chmod 0644 /etc/comfy-machine/secrets.env')
    await expectFailure(host, { code: 'CM0303', says: /secrets\.env/ })
    await host.must('chmod 0600 /etc/comfy-machine/secrets.env')
    await expectToGoOn(host, installed)
  })

  test('CM0801: the service mapping is not JSON', async () => {
    await host.write(MAPPING, mapping.slice(0, mapping.length / 2))
    await expectFailure(host, { code: 'CM0801', says: /service-mapping\.json/ })
    await host.write(MAPPING, mapping)
    await expectToGoOn(host, installed)
  })

  test('CM0802: the service mapping has a wrong type', async () => {
    await host.write(MAPPING, mapping.replace(/"services": \[[^\]]*\]/, '"services": 7'))
    await expectFailure(host, { code: 'CM0802', says: /workers\.\S*services/ })
    await host.write(MAPPING, mapping)
    await expectToGoOn(host, installed)
  })

  test('CM0803: a worker type is unknown', async () => {
    await configure(host, { WORKERS: 'comfyui:1,comfyiu:1' })
    await expectFailure(host, { code: 'CM0803', says: /comfyiu/ })
    await configure(host)
    await expectToGoOn(host, installed)
  })

  test('CM0901: there is no GPU in actual mode', async () => {
    await configure(host, { GPU_MODE: 'actual' })
    await expectFailure(host, { code: 'CM0901', says: /nvidia-smi is not installed/ })
    await configure(host)
    await expectToGoOn(host, installed)
  })

  test('CM1201: another program listens on port 9090', async () => {
    await host.must('systemctl stop comfy-health.socket comfy-health.service')
    await host.must('systemd-run --quiet --unit=squatter python3 -m http.server 9090')
    await host.waitFor('curl -sf -o /dev/null http://127.0.0.1:9090/')
    await expectFailure(host, { code: 'CM1201', unit: 'comfy-health.service', says: /9090/, hasReady: false })
    await host.must('systemctl stop squatter')
    await expectToGoOn(host, installed)
  })

  test('keeps the machine from being ready, and says so until it is', async () => {
    await configure(host, { GPU_MODE: 'actual' })
    await host.exec('systemctl start --no-block comfy-machine')
    const waited = await host.exec('comfy-machine status --wait --timeout 30')
    expect(waited.code).toBe(1)
    expect(waited.stderr).toContain('CM0901')
    await stop(host)
    await configure(host)
    await expectToGoOn(host, installed)
  })
})
