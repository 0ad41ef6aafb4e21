import { afterAll, beforeAll, describe, test } from 'vitest'
import { expectFailure, expectToGoOn } from './failure.ts'
import type { Host } from './host.ts'
import { bootMachine, installedThings, startToReady, stop } from './machine.ts'

describe('a service that does not come up', () => {
  let host: Host
  let installed: ReadonlyMap<string, string>

  beforeAll(async () => {
    host = await bootMachine('bad-services')
    await startToReady(host)
    installed = await installedThings(host)
    await stop(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('CM2001: Redis is down', async () => {
    await host.must('systemctl stop redis-server')
    await expectFailure(host, { code: 'CM2001', unit: 'redis-worker@gpu0.service', says: /127\.0\.0\.1:6379/ })
    await host.must('systemctl start redis-server')
    await expectToGoOn(host, installed)
  })
})
