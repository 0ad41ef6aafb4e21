import { digest } from '../../../src/host/digest.ts'
import type { InstallHost } from '../../../src/host/install-ports.ts'
import type { Clock, Files, JournalEntry } from '../../../src/host/ports.ts'
import type { InstallContext } from '../../../src/install/context.ts'
import type { ComponentRequest, MachinePlan } from '../../../src/plan/plan.ts'
import type { Progress, ReportChild, ReportLine } from '../../../src/report.ts'
import { stepOf } from '../../../src/steps.ts'

/** A context whose world is plain values: what was reported, said and written stands in arrays and a map. */
export interface MemoryContext extends InstallContext {
  readonly lines: ReportLine[]
  readonly entries: JournalEntry[]
  readonly texts: Map<string, string>
  readonly sleeps: number[]
  /** Progress and STATUS= texts in the order in which they were told. */
  readonly told: (Progress | string)[]
  /** Lets time pass for those who wait until they are stopped. */
  pass(ms: number): Promise<void>
}

/** The invocation of every memory context. */
export const INVOCATION = '00112233445566778899aabbccddeeff'

const unused = (): never => {
  throw new Error('not part of this test')
}

/** The children in a report, by name. */
export function childrenOf(context: MemoryContext): ReadonlyMap<string, ReportChild> {
  return new Map(context.lines.flatMap((line) => (line.kind === 'child' ? [[line.name, line] as const] : [])))
}

export function memoryContext(
  components: Partial<ComponentRequest> = {},
  secrets: Readonly<Record<string, string>> = {},
  step = 16,
): MemoryContext {
  const lines: ReportLine[] = []
  const entries: JournalEntry[] = []
  const texts = new Map<string, string>()
  const told: (Progress | string)[] = []
  const { clock, sleeps, pass, signal } = memoryClock()
  const nothing = (): void => undefined
  const host: InstallHost = {
    clock,
    files: memoryFiles(texts),
    exec: { run: async () => ({ code: 0, signal: null, timedOut: false, stdout: '', stderr: '' }) },
    notify: {
      ready: nothing,
      stopping: nothing,
      status: (text) => void told.push(text),
      extend: nothing,
      watchdog: nothing,
    },
    journal: { write: (entry) => void entries.push(entry) },
    report: { write: (line) => void lines.push(line) },
    progress: { write: (progress) => void told.push(progress) },
    invocationId: INVOCATION,
    secrets: { read: (name) => secrets[name] },
    signal,
    digest,
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
      failurePolicy: 'strict',
      lockFile: null,
      ...components,
    },
    python: { installer: 'uv', torchBackend: null },
    nodes: { scriptTimeoutS: 1800, writable: false },
    models: { sources: [], connections: 16, connectionsPerHost: 16, rateLimit: null, sharePort: null },
    health: { port: 9090 },
    environment: {},
    secretNames: [],
  }
  return { plan, host, step: stepOf(step), lines, entries, texts, sleeps, told, pass }
}

/** Sleeping with the signal of the process takes no time but moves the hands; other sleeps end when `pass` lets them or they are stopped. */
function memoryClock() {
  const sleeps: number[] = []
  const { signal: process } = new AbortController()
  let nowUs = 1_000_000
  let waiting: { readonly dueUs: number; readonly wake: () => void }[] = []
  const clock: Clock = {
    nowUs: () => nowUs,
    async sleep(ms, signal) {
      if (signal !== undefined && signal !== process) {
        if (signal.aborted) return
        const ended = new Promise<void>((resolve) => {
          waiting.push({ dueUs: nowUs + ms * 1000, wake: resolve })
          signal.addEventListener('abort', () => resolve(), { once: true })
        })
        return ended
      }
      sleeps.push(ms)
      nowUs += ms * 1000
    },
  }
  const pass = async (ms: number): Promise<void> => {
    nowUs += ms * 1000
    const due = waiting.filter(({ dueUs }) => dueUs <= nowUs)
    waiting = waiting.filter(({ dueUs }) => dueUs > nowUs)
    for (const { wake } of due) wake()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { clock, sleeps, pass, signal: process }
}

/** Files in a map; a directory is where a file is below it, a link holds its target and is not followed. */
function memoryFiles(texts: Map<string, string>): Files {
  const links = new Set<string>()
  const writtenMs = new Map<string, number>()
  const below = (path: string): readonly string[] => [...texts.keys()].filter((each) => each.startsWith(`${path}/`))
  const write = (path: string, text: string): void => {
    texts.set(path, text)
    writtenMs.set(path, writtenMs.size + 1)
    links.delete(path)
  }
  const lstat: Files['lstat'] = async (path) => {
    const text = texts.get(path)
    if (text === undefined && below(path).length === 0) return undefined
    return {
      kind: text === undefined ? 'directory' : links.has(path) ? 'symlink' : 'file',
      bytes: text?.length ?? 0,
      mode: 0o644,
      uid: 0,
      mtimeMs: writtenMs.get(path) ?? 1,
    }
  }
  return {
    readText: async (path) => texts.get(path),
    async readBytes(path, from, length) {
      const text = texts.get(path)
      return text === undefined ? undefined : new TextEncoder().encode(text).subarray(from, from + length)
    },
    readForeign: async (path) => texts.get(path),
    writeText: async (path, text) => write(path, text),
    appendText: unused,
    stat: lstat,
    lstat,
    list: async (path) =>
      [...new Set(below(path).map((each) => each.slice(path.length + 1).split('/')[0] ?? ''))].sort(),
    makeDirectory: async () => undefined,
    chown: unused,
    async link(target, path) {
      write(path, target)
      links.add(path)
    },
    readLink: async (path) => (links.has(path) ? texts.get(path) : undefined),
    async rename(from, to) {
      for (const path of [from, ...below(from)]) {
        const text = texts.get(path)
        const isLink = links.delete(path)
        texts.delete(path)
        if (text === undefined) continue
        write(`${to}${path.slice(from.length)}`, text)
        if (isLink) links.add(`${to}${path.slice(from.length)}`)
      }
    },
    async remove(path) {
      for (const each of [path, ...below(path)]) {
        texts.delete(each)
        links.delete(each)
      }
    },
    freeSpace: async () => ({ bytes: Number.MAX_SAFE_INTEGER, inodes: Number.MAX_SAFE_INTEGER }),
    watch: unused,
  }
}
