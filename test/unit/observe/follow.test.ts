import { describe, expect, test } from 'vitest'
import type { Files, Manager, ManagerEvent, UnitSnapshot } from '../../../src/host/ports.ts'
import { Follower, parseReport } from '../../../src/observe/follow.ts'
import { type Machine, stepState } from '../../../src/observe/machine.ts'
import { active, at, failed, invocationOf, planned, unitOf } from './build-machine.ts'

const NODES = 'comfy-install-nodes.service'
const MODELS = 'comfy-install-models.service'

/** A follower of two units over a manager whose events and answers the test gives. */
function follow(snapshots: readonly UnitSnapshot[], texts: ReadonlyMap<string, string> = new Map()) {
  let tell: (event: ManagerEvent) => void = () => undefined
  let machine: Machine = planned()
  const problems: unknown[] = []
  const reads: string[] = []
  const manager = {
    follow: (listener: (event: ManagerEvent) => void) => {
      tell = listener
      return () => {
        tell = () => undefined
      }
    },
    snapshots: async () => snapshots,
  }
  const files = {
    readForeign: async (file: string) => {
      reads.push(file)
      return texts.get(file)
    },
  }
  const follower = new Follower(
    {
      manager: manager as unknown as Manager,
      files: files as unknown as Files,
      reports: '/run/c',
      fold: (apply) => {
        machine = apply(machine).machine
      },
      machine: () => machine,
      onProblem: (problem) => void problems.push(problem),
    },
    [NODES, MODELS],
  )
  follower.start()
  return { follower, problems, reads, tell: (event: ManagerEvent) => tell(event), machine: () => machine }
}

describe('Follower', () => {
  test('folds every change in order, with the report where a unit came to an end', async () => {
    const report = {
      kind: 'failure',
      atUs: at(2),
      attempt: 1,
      code: 'CM1701',
      type: 'git_failed',
      message: 'm',
      hint: 'h',
    }
    const text = [{ kind: 'begin', invocationId: invocationOf(NODES) }, report].map(
      (line) => `${JSON.stringify(line)}\n`,
    )
    const { follower, tell, machine, reads } = follow(
      [],
      new Map([['/run/c/comfy-install-nodes/report.ndjson', text.join('')]]),
    )
    tell({ kind: 'unit', unit: failed(NODES, 1, 2) })
    tell({ kind: 'job-removed', unit: MODELS, jobId: 1, result: 'dependency', atUs: at(3) })
    tell({ kind: 'unit', unit: active('ssh.service', 1, 2) })
    await follower.settled()
    expect(machine().state.failing).toMatchObject([{ code: 'CM1701', unit: NODES }])
    expect(machine().outcomes.get(MODELS)).toBe('blocked')
    expect(reads).toEqual(['/run/c/comfy-install-nodes/report.ndjson'])
    follower.stop()
  })

  test.each([{ kind: 'up' }, { kind: 'reloading', active: false, atUs: at(3) }] as const)(
    'looks at every unit anew after $kind',
    async (event) => {
      const { follower, tell, machine } = follow([active(NODES, 1, 2), unitOf(MODELS)])
      tell({ kind: 'down', reason: 'the bus is gone' })
      await follower.settled()
      expect(stepState(machine(), 17).state).toBe('pending')
      tell(event)
      await follower.settled()
      expect(stepState(machine(), 17).state).toBe('done')
      follower.stop()
    },
  )

  test('finds the jobs that were queued before it listened', async () => {
    const { follower, machine } = follow([unitOf('comfyui@gpu0.service', { jobId: 7 })])
    await follower.resync()
    expect(stepState(machine(), 13).instances[0]?.state).toBe('done')
    follower.stop()
  })

  test('counts what systemd says also when the report cannot be read', async () => {
    const { follower, tell, machine, problems } = follow(
      [],
      new Map([['/run/c/comfy-install-nodes/report.ndjson', '{\n']]),
    )
    tell({ kind: 'unit', unit: active(NODES, 1, 2) })
    tell({ kind: 'unit', unit: active(MODELS, 1, 2) })
    await follower.settled()
    expect(problems).toHaveLength(1)
    expect([17, 18].map((number) => stepState(machine(), number).state)).toEqual(['done', 'done'])
    follower.stop()
  })

  test('is silent after stop', async () => {
    const { follower, tell, machine } = follow([])
    follower.stop()
    tell({ kind: 'unit', unit: active(NODES, 1, 2) })
    await follower.settled()
    expect(stepState(machine(), 17).state).toBe('pending')
  })
})

test('a report’s last line that is not whole is left out', () => {
  const line = JSON.stringify({ kind: 'begin', invocationId: 'a' })
  expect(parseReport(`${line}\n${line.slice(0, 9)}`)).toEqual([{ kind: 'begin', invocationId: 'a' }])
  expect(parseReport('')).toEqual([])
})
