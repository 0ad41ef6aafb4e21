import { afterAll, beforeAll, beforeEach, describe, test } from 'vitest'
import { clearFaults, readComponents, setFaults, writeComponents } from '../fixtures/scenario.ts'
import { expectFailure, expectToGoOn } from './failure.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, installedThings, startToReady, stop } from './machine.ts'

const unit = 'comfy-discover.service'
const API_KEY = '/srv/components/api-key'

describe('a component API that does not answer as agreed', () => {
  let host: Host
  let installed: ReadonlyMap<string, string>

  beforeAll(async () => {
    host = await bootMachine('bad-api')
    await startToReady(host)
    installed = await installedThings(host)
    await stop(host)
  })

  beforeEach(async () => {
    await configure(host)
    await clearFaults(host, 'api')
    await host.must(['rm', '-f', API_KEY])
  })

  afterAll(async () => {
    await host.stop()
  })

  test('CM1601: it cannot be reached', async () => {
    await configure(host, { EMPROPS_API_URL: 'http://127.0.0.1:7999' })
    await expectFailure(host, { code: 'CM1601', unit, says: /127\.0\.0\.1:7999/ })
    await configure(host)
    await expectToGoOn(host, installed)
  })

  test('CM1602: it answers 500', async () => {
    await setFaults(host, 'api', { match: '/workflows/dependencies', kind: 'status', status: 500 })
    await expectFailure(host, { code: 'CM1602', unit, says: /\/workflows\/dependencies.*500/ })
    await clearFaults(host, 'api')
    await expectToGoOn(host, installed)
  })

  test('CM1603: it refuses the key', async () => {
    await host.write(API_KEY, 'the-key\n')
    await expectFailure(host, { code: 'CM1603', unit, says: /401/ })
    await configure(host, {}, { EMPROPS_API_KEY: 'the-key' })
    await expectToGoOn(host, installed)
  })

  test('CM1604: its answer does not have the agreed shape', async () => {
    const defaults = await readComponents(host, 'defaults')
    await writeComponents(host, 'defaults', [{ ...defaults[0], repositoryUrl: 7 }, ...defaults.slice(1)])
    await expectFailure(host, { code: 'CM1604', unit, says: /repositoryUrl/ })
    await writeComponents(host, 'defaults', defaults)
    await expectToGoOn(host, installed)
  })

  test('CM1605: it does not know a wanted workflow', async () => {
    await configure(host, { COMPONENTS: 'demo,no-such-workflow' })
    await expectFailure(host, { code: 'CM1605', unit, says: /no-such-workflow/ })
    await configure(host)
    await expectToGoOn(host, installed)
  })
})
