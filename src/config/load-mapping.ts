import type { MachineConfig } from './load-config.ts'
import { parseMapping } from './mapping.ts'
import { type Problem, problemOf, type Warning } from './problem.ts'
import { type ResolvedMapping, resolveMapping } from './resolve-mapping.ts'

/** The text of service-mapping.json, or null with the reason why it could not be read. */
export interface MappingSource {
  readonly file: string
  readonly text: string | null
  readonly reason: string
}

/** The wanted part of the mapping, or every problem of it at once. */
export interface MappingOutcome {
  /** Undefined when there is a problem, or no configuration to say what is wanted. */
  readonly mapping: ResolvedMapping | undefined
  readonly problems: readonly Problem[]
  readonly warnings: readonly Warning[]
}

/** Reads the service mapping and takes from it what WORKERS wants; without a configuration it is only read. */
export function loadMapping(source: MappingSource, config: MachineConfig | undefined): MappingOutcome {
  if (source.text === null) {
    const problem = problemOf('CM0801', source.reason, { origin: { file: source.file, line: null } })
    return { mapping: undefined, problems: [problem], warnings: [] }
  }
  const { mapping, problems, warnings } = parseMapping(source.text, source.file)
  if (mapping === undefined || config === undefined) return { mapping: undefined, problems, warnings }
  const result = resolveMapping(config, mapping, source.file)
  return { mapping: result.resolved, problems: result.problems, warnings }
}
