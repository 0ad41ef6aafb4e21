import { MachineError } from '../../../../src/errors.ts'
import { type FetcherOptions, openFetcher } from '../../../../src/host/download/fetcher.ts'
import type { FetchRequest } from '../../../../src/host/model-ports.ts'

/** What the program is given as its argument, in JSON. */
export interface ProgramInput {
  readonly options: Omit<FetcherOptions, 'signal'>
  readonly request: Pick<FetchRequest, 'name' | 'partial' | 'sources' | 'bytes' | 'mostBytes' | 'sha256'>
}

/** One line of its output, in JSON: bytes that are there each time that more are, and how it ended. */
export interface ProgramLine {
  readonly there?: number
  readonly sha256?: string
  readonly code?: string
  readonly type?: string
}

const { options, request } = JSON.parse(process.argv[2] ?? '{}') as ProgramInput
const say = (line: ProgramLine): boolean => process.stdout.write(`${JSON.stringify(line)}\n`)
const fetcher = openFetcher({ ...options, signal: new AbortController().signal })
let there = 0
const tell = (count: number): void => {
  there += count
  say({ there })
}
try {
  const { sha256 } = await fetcher.fetch({ ...request, onBytes: tell, onResume: tell, onRetry: () => undefined })
  say({ sha256 })
} catch (error) {
  if (!(error instanceof MachineError)) throw error
  say({ code: error.code, type: error.type })
}
fetcher.close()
