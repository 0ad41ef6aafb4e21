import type { InstallHost } from '../../../src/host/install-ports.ts'
import type { Files, JournalEntry } from '../../../src/host/ports.ts'
import type { InstallContext } from '../../../src/install/context.ts'
import type { ComponentRequest, MachinePlan } from '../../../src/plan/plan.ts'
import type { ReportLine } from '../../../src/report.ts'
import { stepOf } from '../../../src/steps.ts'

/** A context whose world is plain values: what was reported, said and written stands in arrays and a map. */
export interface MemoryContext extends InstallContext {
  readonly lines: ReportLine[]
  readonly entries: JournalEntry[]
  readonly texts: Map<string, string>
  readonly sleeps: number[]
}

const unused = (): never => {
  throw new Error('not part of this test')
}

export function memoryContext(
  components: Partial<ComponentRequest> = {},
  secrets: Readonly<Record<string, string>> = {},
): MemoryContext {
  const lines: ReportLine[] = []
  const entries: JournalEntry[] = []
  const texts = new Map<string, string>()
  const sleeps: number[] = []
  let nowUs = 1_000_000
  const files: Files = {
    readText: async (path) => texts.get(path),
    readBytes: unused,
    readForeign: async (path) => texts.get(path),
    writeText: async (path, text) => void texts.set(path, text),
    appendText: unused,
    stat: unused,
    lstat: unused,
    list: unused,
    makeDirectory: unused,
    chown: unused,
    link: unused,
    readLink: unused,
    rename: unused,
    remove: unused,
    freeSpace: unused,
    watch: unused,
  }
  const nothing = (): void => undefined
  const host: InstallHost = {
    clock: {
      nowUs: () => nowUs,
      sleep: async (ms) => {
        sleeps.push(ms)
        nowUs += ms * 1000
      },
    },
    files,
    exec: { run: unused },
    notify: { ready: nothing, stopping: nothing, status: nothing, extend: nothing, watchdog: nothing },
    journal: { write: (entry) => void entries.push(entry) },
    report: { write: (line) => void lines.push(line) },
    secrets: { read: (name) => secrets[name] },
    signal: new AbortController().signal,
    digest: (text) => `digest of ${text}`,
  }
  const plan: MachinePlan = {
    schema: 1,
    version: '1.0.0',
    machineId: 'm',
    traceId: '0'.repeat(32),
    gpuMode: 'mock',
    workersConfig: 'comfyui:1',
    paths: { workspace: '/w', models: '/w/models', cache: '/c', run: '/r' },
    gpus: [],
    comfyui: { repoUrl: 'https://git.example/comfyui.git', ref: null, startTimeoutS: 60 },
    instances: [],
    workers: [],
    components: {
      apiUrl: 'https://api.example',
      workflows: [],
      collections: [],
      staleOk: false,
      allowInsecureSources: false,
      ...components,
    },
    health: { port: 9090 },
    environment: {},
    secretNames: [],
  }
  return { plan, host, step: stepOf(16), lines, entries, texts, sleeps }
}
