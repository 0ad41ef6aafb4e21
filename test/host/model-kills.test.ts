import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { addModels, type ComponentModel, clearRequests, componentModel, setFaults } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, startToReady, stop, WORKSPACE } from './machine.ts'
import { MODELS_UNIT, readStore, sentFor } from './model-store.ts'
import { randomOf, SEED } from './random.ts'

const KILLS = 20
const MIB = 1024 * 1024
/** Size of the model in MiB: COMFY_TEST_MODEL_MIB, or 1024. */
const SIZE = Number(process.env['COMFY_TEST_MODEL_MIB'] ?? 1024) * MIB
const RATE = SIZE / 16
const VISIBLE = `${WORKSPACE}/models/checkpoints/huge.bin`

// The controller is held, so that it does not stop the machine when the installer dies.
describe(`a download of ${SIZE / MIB} MiB (COMFY_TEST_SEED=${SEED})`, () => {
  let host: Host
  let huge: ComponentModel
  const random = randomOf(SEED)

  beforeAll(async () => {
    host = await bootMachine('model-kills', { MOCK_GPU_NUM: '1', COMPONENTS: 'none' })
    await startToReady(host)
    await stop(host)
    huge = await componentModel(host, 'huge.bin', SIZE)
    await addModels(host, 'huge', huge)
    await configure(host, { MOCK_GPU_NUM: '1', COMPONENTS: 'huge' })
    await host.write('/etc/systemd/system/comfy-machine.service.d/held.conf', '[Service]\nWatchdogSec=0\n')
    await host.must('systemctl daemon-reload')
    await begin()
  })

  afterEach(async () => {
    await host.exec('systemctl kill --signal=CONT --kill-whom=main comfy-machine')
    await stop(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  const begin = async (): Promise<void> => {
    await setFaults(host, 'models', { match: '/huge', kind: 'rate', rate: RATE })
    await clearRequests(host, 'models')
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor('curl -s http://127.0.0.1:7003/_log | grep -q huge', 60_000)
  }

  const waitForSent = async (bytes: number): Promise<void> => {
    while ((await sentFor(host, 'huge')) < bytes) {
      const state = (await host.exec(`systemctl show -P ActiveState ${MODELS_UNIT}`)).stdout.trim()
      if (state !== 'activating') throw new Error(`the installer is ${state} before ${bytes} bytes`)
    }
  }

  const expectNothingVisible = async (when: string): Promise<void> => {
    const found = `find ${WORKSPACE}/models -path '*/.store/partial' -prune -o -type f -size +1M -print`
    expect(await host.must(found), when).toBe('')
  }

  test(`is killed ${KILLS} times: nothing half is seen, and no more than 5 % comes twice`, async () => {
    await host.must('systemctl kill --signal=STOP --kill-whom=main comfy-machine')
    for (let kill = 0; kill < KILLS; kill += 1) {
      const at = Math.round((SIZE * (kill + random())) / (KILLS + 1))
      await waitForSent(at)
      await host.must(`systemctl kill --signal=KILL ${MODELS_UNIT}`)
      await host.waitFor(`systemctl show -P ActiveState ${MODELS_UNIT} | grep -qE '^(failed|inactive)'`)
      await expectNothingVisible(`kill ${kill} at ${at}`)
      await host.must(`systemctl reset-failed ${MODELS_UNIT}; systemctl start --no-block ${MODELS_UNIT}`)
    }
    await host.waitFor(`systemctl is-active ${MODELS_UNIT}`, 120_000)
    const sent = await sentFor(host, 'huge')
    process.stdout.write(`model kills: ${sent} of ${SIZE} bytes sent\n`)
    expect(sent).toBeLessThan(SIZE * 1.05)
    const { visible, blobs, partial } = await readStore(host)
    expect(visible).toEqual(new Map([['checkpoints/huge.bin', huge.hash]]))
    expect([blobs, partial]).toEqual([[huge.hash], []])
    const names = [VISIBLE, `${WORKSPACE}/models/.store/blobs/sha256/${huge.hash}`]
    const inodes = (await host.must(['stat', '-c', '%i', ...names])).trim().split('\n')
    expect(new Set(inodes).size).toBe(1)
  }, 600_000)

  test('goes on after a reset of the host with what was on the disk', async () => {
    await host.must(`rm -r ${WORKSPACE}/models/checkpoints ${WORKSPACE}/models/.store ${WORKSPACE}/models.json`)
    await begin()
    await waitForSent(SIZE * 0.7)
    await host.reboot('reset')
    await expectNothingVisible('after the reset')
    await startToReady(host)
    expect(await sentFor(host, 'huge')).toBeLessThan(SIZE * 0.8)
    expect((await readStore(host)).visible.get('checkpoints/huge.bin')).toBe(huge.hash)
  }, 300_000)
})
