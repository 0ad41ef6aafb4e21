import type { Outbox } from '../../../src/emit/outbox.ts'
import { Recorder, type RecorderHost } from '../../../src/emit/recorder.ts'
import type { Files, JournalEntry, SpanRecord } from '../../../src/host/ports.ts'
import type { Machine } from '../../../src/observe/machine.ts'
import type { MachineState } from '../../../src/observe/state.ts'
import { at, planned } from '../observe/build-machine.ts'

const unused = (): never => {
  throw new Error('not part of this test')
}
const nothing = (): void => undefined
/** What the configuration of a built machine names it. */
export const NAMES = { machineId: 'm1', gpuMode: 'mock', workersConfig: 'comfyui:auto' } as const

/** A recorder with everything it told. */
export interface Memory {
  readonly recorder: Recorder
  readonly entries: JournalEntry[]
  readonly states: MachineState[]
  readonly spans: SpanRecord[]
  readonly outbox: Outbox
}

/** A recorder whose world is arrays. */
export function memoryRecorder(
  machine: Machine = planned(),
  spans: SpanRecord[] = [],
  readLines: RecorderHost['readLines'] = async (id) => [`the last line of ${id.slice(0, 8)}`],
): Memory {
  const entries: JournalEntry[] = []
  const states: MachineState[] = []
  let nowUs = at(0)
  const files = {
    readText: unused,
    writeText: async (_path: string, text: string) => void states.push(JSON.parse(text) as MachineState),
  }
  const recorder = new Recorder(
    {
      clock: { nowUs: () => (nowUs += 1_000_000), sleep: unused },
      files: files as unknown as Files,
      journal: { write: (entry) => void entries.push(entry) },
      notify: { ready: nothing, stopping: nothing, status: nothing, extend: nothing, watchdog: nothing },
      stateFile: '/run/state.json',
      resource: { 'service.name': 'comfy-machine' },
      readLines,
    },
    machine,
  )
  const outbox: Outbox = { append: async (more) => void spans.push(...more) }
  return { recorder, entries, states, spans, outbox }
}
