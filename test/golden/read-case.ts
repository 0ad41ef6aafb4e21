import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import type { ConfigSource } from '../../src/config/collect.ts'
import { loadConfig } from '../../src/config/load-config.ts'
import { loadMapping } from '../../src/config/load-mapping.ts'
import { findingSentences, type Problem, placeOf } from '../../src/config/problem.ts'
import { chooseGpus, type GpuEvidence } from '../../src/detect/choose-gpus.ts'
import { MachineError } from '../../src/errors.ts'
import type { MachinePlan } from '../../src/plan/plan.ts'
import { planMachine } from '../../src/plan/plan-machine.ts'

const CONFIG = '/etc/comfy-machine'
const templateFolder = path.resolve(import.meta.dirname, '../../units/templates')

/** The cases: every folder beside this file. */
export const CASES: readonly string[] = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name)

/** Where a case stands. */
export const folderOf = (name: string): string => path.join(import.meta.dirname, name)

/** The unit templates by file name without `.ejs`. */
export const templates: ReadonlyMap<string, string> = new Map(
  readdirSync(templateFolder).map((file) => [
    file.replace(/\.ejs$/, ''),
    readFileSync(path.join(templateFolder, file), 'utf8'),
  ]),
)

/** The plan that a case's files make, or the text of what is wrong with them; warnings are sentences. */
export type CaseResult = { readonly warnings: readonly string[] } & (
  | { readonly kind: 'plan'; readonly plan: MachinePlan; readonly secrets: ReadonlyMap<string, string> }
  | { readonly kind: 'error'; readonly text: string }
)

/** Takes a case through configuration, mapping, hardware and plan, as far as it comes. */
export function planCase(name: string): CaseResult {
  const loaded = loadConfig(sourcesOf(name), { machineId: null })
  const { config } = loaded
  const ownWarnings = findingSentences(loaded.warnings)
  if (config === undefined) return { kind: 'error', text: textOf(loaded.problems), warnings: ownWarnings }
  const file = `${CONFIG}/service-mapping.json`
  const text = read(name, 'service-mapping.json') ?? null
  const mapped = loadMapping({ file, text, reason: 'the file does not exist' }, config)
  const warnings = [...ownWarnings, ...findingSentences(mapped.warnings)]
  if (mapped.mapping === undefined) return { kind: 'error', text: textOf(mapped.problems), warnings }
  try {
    const hardware = chooseGpus(config, config.gpuMode === 'mock' ? null : evidenceOf(name))
    const plan = planMachine(config, mapped.mapping, hardware, { version: '0.0.0', traceId: '0'.repeat(32) })
    return { kind: 'plan', plan, secrets: config.secrets, warnings }
  } catch (thrown) {
    if (!(thrown instanceof MachineError)) throw thrown
    return { kind: 'error', text: `${thrown.code} ${thrown.message}\n  ${thrown.hint}\n`, warnings }
  }
}

/** The plan of a case that makes one. */
export function planOfCase(name: string): MachinePlan {
  const result = planCase(name)
  if (result.kind === 'error') throw new Error(`${name}: ${result.text}`)
  return result.plan
}

function sourcesOf(name: string): readonly ConfigSource[] {
  const secrets = read(name, 'secrets.env')
  return [
    { kind: 'machine', name: `${CONFIG}/machine.env`, text: read(name, 'machine.env') ?? '' },
    ...(secrets === undefined
      ? []
      : [{ kind: 'secrets', name: `${CONFIG}/secrets.env`, text: secrets, mode: 0o600, uid: 0 } as const]),
  ]
}

function evidenceOf(name: string): GpuEvidence {
  const answer = (file: string): GpuEvidence['query'] => {
    const stdout = read(name, file)
    return { code: stdout === undefined ? 127 : 0, stdout: stdout ?? '', stderr: '' }
  }
  const numaNodes = JSON.parse(read(name, 'numa-nodes.json') ?? '{}') as Readonly<Record<string, number>>
  return {
    query: answer('nvidia-smi.xml'),
    list: answer('nvidia-smi-L.txt'),
    numaNodes: new Map(Object.entries(numaNodes)),
    graphics: [],
  }
}

function read(name: string, file: string): string | undefined {
  const full = path.join(folderOf(name), file)
  return existsSync(full) ? readFileSync(full, 'utf8') : undefined
}

const textOf = (problems: readonly Problem[]): string =>
  problems.map((problem) => `${problem.code} ${placeOf(problem)}${problem.message}\n  ${problem.hint}\n`).join('')
