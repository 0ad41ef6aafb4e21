import path from 'node:path'
import type { Files } from '../host/ports.ts'
import type { MachinePhase } from '../observe/state.ts'

/** What survives a reboot of a startup: enough to close its trace, and to say what the next one follows. */
export interface StartupRecord {
  readonly schema: 1
  readonly traceId: string
  readonly bootId: string
  readonly startedUs: number
  /** No start before this one since the host was booted. */
  readonly isFirst: boolean
  /** How far it came; what says `starting` or `ready` while no controller runs has ended without a word. */
  readonly phase: MachinePhase
}

/** The record within the telemetry directory. */
const STARTUP_FILE = 'startup.json'

/** The record of the latest startup; undefined when there is none that can be read. */
export async function readStartupRecord(files: Files, telemetry: string): Promise<StartupRecord | undefined> {
  const text = await files.readText(path.join(telemetry, STARTUP_FILE))
  if (text === undefined) return undefined
  try {
    const record = JSON.parse(text) as Partial<StartupRecord> | null
    const isWhole = record?.schema === 1 && /^[0-9a-f]{32}$/.test(record.traceId ?? '')
    return isWhole ? (record as StartupRecord) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Replaces the record, so that it survives a power cut. */
export async function writeStartupRecord(files: Files, telemetry: string, record: StartupRecord): Promise<void> {
  const text = `${JSON.stringify(record)}\n`
  await files.writeText(path.join(telemetry, STARTUP_FILE), text, { durable: true, mode: 0o644 })
}
