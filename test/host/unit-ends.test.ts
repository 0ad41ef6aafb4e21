import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Host } from './host.ts'
import type { Observed } from './inside/observe-units.ts'
import { toMicroseconds } from './machine.ts'
import { bootObserved, observe, showAll } from './observed.ts'

const script = (text: string): string => `ExecStart=/bin/sh -c '${text}'`
const oneshot = (...lines: readonly string[]): readonly string[] => ['[Service]', 'Type=oneshot', ...lines]
const running = (...lines: readonly string[]): readonly string[] => [
  ...['[Service]', 'Type=exec', 'ExecStart=/bin/sleep 60'],
  ...lines,
]
const LIMIT = ['[Unit]', 'StartLimitIntervalSec=60', 'StartLimitBurst=3'] as const
const RESTART = ['Restart=on-failure', 'RestartSec=100ms'] as const

interface Case {
  readonly lines: readonly string[]
  readonly outcome: string
  readonly attempts: readonly object[]
}

const fails = (type: string, says: string, more: object = {}): object => ({
  type,
  message: expect.stringContaining(says) as string,
  ...more,
})

// Each is started as comfyui@gpuN, N being its place here.
const CASES: Readonly<Record<string, Case>> = {
  'exits with a status': {
    lines: oneshot(script('exit 3')),
    outcome: 'failed',
    attempts: [fails('process_exit', 'exited with status 3', { result: 'exit-code', exitStatus: 3 })],
  },
  'is killed': {
    lines: oneshot(script('kill -KILL $$$$')),
    outcome: 'failed',
    attempts: [fails('process_signal', 'was killed by SIGKILL', { result: 'signal', exitSignal: 'SIGKILL' })],
  },
  'does not start in time': {
    lines: oneshot('ExecStart=/bin/sleep 60', 'TimeoutStartSec=300ms'),
    outcome: 'failed',
    attempts: [fails('start_timeout', 'did not start in time', { result: 'timeout', exitSignal: 'SIGTERM' })],
  },
  'runs longer than it may': {
    lines: running('RuntimeMaxSec=300ms'),
    outcome: 'failed',
    attempts: [fails('not_responding', 'ran longer than it may', { result: 'timeout' })],
  },
  'misses its watchdog': {
    lines: running('WatchdogSec=300ms', 'LimitCORE=0'),
    outcome: 'failed',
    attempts: [fails('watchdog', 'missed its watchdog', { result: 'watchdog', exitSignal: 'SIGABRT' })],
  },
  'ends before it is ready': {
    lines: ['[Service]', 'Type=notify', 'ExecStart=/bin/true'],
    outcome: 'failed',
    attempts: [fails('not_responding', 'ended before it said that it is ready', { result: 'protocol' })],
  },
  'fails before its process': {
    lines: oneshot('ExecStartPre=/bin/false', 'ExecStart=/bin/true'),
    outcome: 'failed',
    attempts: [fails('process_exit', 'a command before or after its main process', { result: 'exit-code' })],
  },
  'is restarted at once until its start limit': {
    lines: [...LIMIT, ...oneshot(script('exit 4'), ...RESTART, 'RestartMode=direct')],
    outcome: 'failed',
    attempts: [
      fails('process_exit', 'exited with status 4', { attempt: 1, willRestart: true }),
      fails('process_exit', 'exited with status 4', { attempt: 2, willRestart: true }),
      fails('process_exit', 'exited with status 4', { attempt: 3, givenUp: true, result: 'exit-code' }),
    ],
  },
  'fails for a moment each time until its start limit': {
    lines: [...LIMIT, ...oneshot(script('exit 4'), ...RESTART)],
    outcome: 'failed',
    attempts: [
      fails('process_exit', 'exited with status 4', { attempt: 1, willRestart: true }),
      fails('process_exit', 'exited with status 4', { attempt: 2, willRestart: true }),
      fails('process_exit', 'exited with status 4', { attempt: 3, givenUp: true, result: 'exit-code' }),
    ],
  },
  'succeeds the second time': {
    lines: oneshot(
      ...[script('mkdir /run/second 2>/dev/null && exit 5; exit 0'), 'RemainAfterExit=yes'],
      ...[...RESTART, 'RestartMode=direct'],
    ),
    outcome: 'active',
    attempts: [fails('process_exit', 'exited with status 5', { attempt: 1 })],
  },
  'has an ExecCondition that says no': {
    lines: oneshot('ExecCondition=/bin/false', 'ExecStart=/bin/true'),
    outcome: 'skipped',
    attempts: [],
  },
  'has a Condition that says no': {
    lines: ['[Unit]', 'ConditionPathExists=/nonexistent', ...oneshot('ExecStart=/bin/true')],
    outcome: 'skipped',
    attempts: [],
  },
  'has an Assert that says no': {
    lines: ['[Unit]', 'AssertPathExists=/nonexistent', ...oneshot('ExecStart=/bin/true')],
    outcome: 'blocked',
    attempts: [fails('dependency_failed', 'was not started: assert')],
  },
  'requires one that fails': {
    lines: [
      ...['[Unit]', 'Requires=comfyui@gpu0.service', 'After=comfyui@gpu0.service comfyui@gpu1.service'],
      ...oneshot('ExecStart=/bin/true'),
    ],
    outcome: 'blocked',
    attempts: [],
  },
}

describe('a unit that', () => {
  let host: Host
  let observed: Observed
  let shown: ReadonlyMap<string, ReadonlyMap<string, string>>
  const nameOf = (index: number): string => `comfyui@gpu${index}.service`

  beforeAll(async () => {
    host = await bootObserved('failures')
    const cases = Object.values(CASES)
    observed = await observe(host, Object.fromEntries(cases.map(({ lines }, index) => [nameOf(index), lines])), 3)
    shown = await showAll(
      host,
      cases.map((_, index) => nameOf(index)),
    )
  })

  afterAll(async () => {
    await host.stop()
  })

  test.each(Object.entries(CASES).map(([name, each], index) => [name, index, each] as const))(
    '%s is recorded as it was',
    (_, index, { outcome, attempts }) => {
      const unit = observed.units.find((each) => each.unit === nameOf(index))
      expect(unit).toMatchObject({ outcome, attempts })
      expect(unit?.attempts).toHaveLength(attempts.length)
      const last = unit?.attempts.at(-1)
      if (last?.result === undefined || outcome !== 'failed') return
      const said = shown.get(nameOf(index))
      expect(last.result).toBe(said?.get('Result'))
      expect(last.invocationId).toBe(said?.get('InvocationID'))
      const ends = ['ExecMainExitTimestamp', 'InactiveEnterTimestamp'].map((name) =>
        toMicroseconds(said?.get(name) ?? ''),
      )
      expect(ends).toContain(last.atUs)
      const times = unit?.attempts.map(({ atUs }) => atUs) ?? []
      expect(times).toEqual([...times].sort((a, b) => a - b))
    },
  )
})
