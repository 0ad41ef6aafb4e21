import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Host } from './host.ts'
import { bootMachine, configure, startToReady } from './machine.ts'

let host: Host

beforeAll(async () => {
  host = await bootMachine('health-port')
  await startToReady(host)
})

afterAll(async () => {
  await host.stop()
})

test('answers every question while the machine is started again and again', async () => {
  const ask = 'curl -s -o /dev/null --max-time 5 http://127.0.0.1:9090/health || echo refused >> /tmp/refused'
  const asker = `until [ -e /tmp/enough ]; do ${ask}; sleep 0.02; done; touch /tmp/ended`
  await host.must(['systemd-run', '--quiet', 'bash', '-c', asker])
  for (let round = 0; round < 3; round++) await host.must('systemctl restart comfy-machine', { timeoutMs: 60_000 })
  await host.must('touch /tmp/enough')
  await host.waitFor('test -e /tmp/ended')
  expect((await host.exec('cat /tmp/refused')).stdout).toBe('')
})

test('moves with MACHINE_HEALTH_PORT, and back', async () => {
  const listening = async (): Promise<string> =>
    (await host.must("ss -ltnH | grep -oE ':(9090|9191) ' | sort -u | tr -d ': ' | paste -sd,")).trim()
  expect(await listening()).toBe('9090')
  await configure(host, { MACHINE_HEALTH_PORT: '9191' })
  await host.must('systemctl restart comfy-machine', { timeoutMs: 60_000 })
  expect(await listening()).toBe('9191')
  await host.must('curl -fsS http://127.0.0.1:9191/ready')
  await configure(host)
  await host.must('systemctl restart comfy-machine', { timeoutMs: 60_000 })
  expect(await listening()).toBe('9090')
})
