import { MachineError } from '../../../src/errors.ts'
import type { Git, PythonEnvironments, RequirementsFile } from '../../../src/host/install-ports.ts'
import type { Exec } from '../../../src/host/ports.ts'
import type { BuildTools } from '../../../src/install/build-generation.ts'
import type { WantedModel, WantedNode } from '../../../src/install/components.ts'
import type { MachineLock } from '../../../src/install/machine-lock.ts'
import { installNodes } from '../../../src/install/nodes.ts'
import type { MachinePlan } from '../../../src/plan/plan.ts'
import { type MemoryContext, memoryContext } from './context.ts'

/** What the outside of a build does; every part may be changed between two builds of one machine. */
export interface Outside {
  /** Commits of branches by URL; a repository that is not there is gone. */
  readonly heads: Map<string, string>
  /** Files of repositories by URL: path to text. */
  readonly files: Map<string, Readonly<Record<string, string>>>
  /** Names of nodes whose requirements do not go together with those of others, and of those that are none. */
  readonly conflicting: Set<string>
  /** What a script of a node in this directory does to the distributions; a number is an exit code. */
  readonly scripts: Map<string, number | 'hangs' | ReadonlyMap<string, string>>
  /** Python of the host, e.g. `3.13`. */
  python: string
}

/** A machine whose world is plain values, and how often what was asked of it. */
export interface MemoryMachine extends MemoryContext {
  readonly outside: Outside
  /** What was asked of git, Python and the sandbox, in order. */
  readonly asked: string[]
  readonly wanted: { nodes: readonly WantedNode[]; models: readonly WantedModel[]; lock?: MachineLock }
  /** Step 17 as it is: undefined, or what it failed with. */
  build(changes?: Partial<MachinePlan>): Promise<unknown>
  tools(): Promise<BuildTools>
  /** Ids of whole generations. */
  whole(): readonly string[]
  lockOf(id: string): MachineLock
  pointer(name: string): string | undefined
}

export const COMFYUI = 'https://git.example/comfyui.git'

export function nodeOf(name: string, changes: Partial<WantedNode> = {}): WantedNode {
  return {
    name,
    url: `https://user:secret@git.example/${name}.git`,
    branch: null,
    commit: null,
    recursive: false,
    requirements: true,
    env: {},
    customScript: null,
    installOrder: null,
    isDefault: false,
    sources: ['defaults'],
    ...changes,
  }
}

/** A commit id that begins with these hex digits. */
export const commitOf = (text: string): string => text.padEnd(40, '0')

export function memoryMachine(
  nodes: readonly WantedNode[],
  components: Partial<MachinePlan['components']> = {},
  secrets: Readonly<Record<string, string>> = {},
): MemoryMachine {
  const memory = memoryContext(components, secrets, 17)
  const { texts } = memory
  const outside: Outside = {
    heads: new Map([[COMFYUI, commitOf('c0')], ...nodes.map(({ url }) => [url, commitOf('a0')] as const)]),
    files: new Map([[COMFYUI, { 'main.py': '', 'requirements.txt': 'torch' }]]),
    conflicting: new Set(),
    scripts: new Map(),
    python: '3.13',
  }
  const asked: string[] = []
  const wanted: MemoryMachine['wanted'] = { nodes, models: [] }
  const base = { ...memory.plan, instances: ['gpu0', 'gpu1'].map(instanceOf), secretNames: Object.keys(secrets) }
  const source = { schema: 1, repoUrl: COMFYUI, ref: null, resolved: 'v1', commit: commitOf('c0') }
  texts.set('/w/comfyui/source.json', JSON.stringify(source))
  texts.set('/usr/bin/python3', '')
  const tools = async (): Promise<BuildTools> => {
    asked.push('open')
    const packages = new Map([['torch', '2.9.0+cu128']])
    return {
      git: gitOf(memory, outside, asked),
      python: pythonOf(memory, outside, asked, packages),
      sandbox: sandboxOf(outside, asked, packages),
      trees: { copyMissing: async () => undefined, listFiles: async () => [] },
    }
  }
  const whole = (): readonly string[] =>
    [...texts.keys()].flatMap((path) => /generations\/([0-9a-f]{16})\/\.complete$/.exec(path)?.[1] ?? [])
  return {
    ...memory,
    plan: base,
    outside,
    asked,
    wanted,
    tools,
    async build(changes = {}) {
      texts.set('/w/components.json', JSON.stringify({ schema: 1, ...wanted }))
      try {
        return await installNodes({ ...memory, plan: { ...base, ...changes } }, tools)
      } catch (error) {
        return error
      }
    },
    whole,
    lockOf: (id) => JSON.parse(texts.get(`/w/comfyui/generations/${id}/machine.lock.json`) ?? '') as MachineLock,
    pointer: (name) => texts.get(`/w/comfyui/${name}`)?.split('/').at(-1),
  }
}

function instanceOf(gpu: string): MachinePlan['instances'][number] {
  return { gpu, unit: `comfyui@${gpu}.service`, listen: '127.0.0.1', port: 8188, args: [] }
}

function gitOf({ texts, pass }: MemoryContext, { heads, files }: Outside, asked: string[]): Git {
  return {
    listRemote: async () => [],
    readFile: async () => undefined,
    async fetch(url, { commit }) {
      asked.push(`fetch ${url}`)
      await pass(1_000)
      const head = heads.get(url)
      if (head === undefined) throw new MachineError('CM1701', `${url} is not there`)
      return { commit: commit ?? head, mirror: 'fetched' }
    },
    async checkout(url, commit, directory) {
      texts.set(`${directory}/.git/HEAD`, commit)
      const own = files.get(url) ?? { '__init__.py': '', 'requirements.txt': 'torch' }
      for (const [path, text] of Object.entries(own)) texts.set(`${directory}/${path}`, text)
    },
  }
}

function pythonOf(
  { texts, pass }: MemoryContext,
  outside: Outside,
  asked: string[],
  packages: Map<string, string>,
): PythonEnvironments {
  const nameOf = ({ owner }: RequirementsFile): string => owner.replace('custom node ', '')
  return {
    installer: 'uv',
    interpreter: async () => ({ path: `/usr/bin/python${outside.python}`, version: outside.python, machine: 'x86_64' }),
    async resolve(wanted) {
      asked.push(`resolve ${wanted.map(nameOf).join(' ')}`)
      await pass(1_000)
      const bad = wanted.filter((file) => outside.conflicting.has(nameOf(file)))
      if (bad.length === 0) return { ok: true, requirements: 'torch==2.9.0\n', packages: 1 }
      return { ok: false, reason: 'conflict', detail: 'torch<2 and torch>=2 contradict each other' }
    },
    async create(environment) {
      asked.push('create')
      texts.set(`${environment}/bin/python`, '')
      packages.clear()
      packages.set('torch', '2.9.0+cu128')
    },
    install: async () => void asked.push('install'),
    compile: async () => void asked.push('compile'),
    distributions: async () => new Map(packages),
    scriptEnvironment: () => ({}),
  }
}

function sandboxOf({ scripts }: Outside, asked: string[], packages: Map<string, string>): Exec {
  return {
    async run(_argv, options) {
      const name = options?.cwd?.split('/').at(-1) ?? ''
      asked.push(`script ${name}`)
      options?.onLine?.('hello', 'stdout')
      const script = scripts.get(name) ?? 0
      if (typeof script === 'object') for (const [key, value] of script) packages.set(key, value)
      const timedOut = script === 'hangs'
      const code = timedOut ? null : typeof script === 'number' ? script : 0
      return { code, signal: timedOut ? 'SIGKILL' : null, timedOut, stdout: '', stderr: '' }
    },
  }
}
