import { openSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { PROGRESS_FILE, REPORT_FILE, type ReportedProgress, type ReportLine } from '../report.ts'
import type { ProgressReport } from './install-ports.ts'
import type { Report } from './ports.ts'

/** Begins the report of this process in `$RUNTIME_DIRECTORY`; without one every line is dropped. */
export function openReport(env: NodeJS.ProcessEnv = process.env): Report {
  const directory = runtimeDirectory(env)
  if (directory === undefined) return { write: () => undefined }
  const fd = openSync(join(directory, REPORT_FILE), 'w', 0o644)
  const write = (line: ReportLine): void => {
    writeSync(fd, `${JSON.stringify(line)}\n`)
  }
  write({ kind: 'begin', invocationId: env['INVOCATION_ID'] ?? '' })
  return { write }
}

/** Replaces the progress of this process in `$RUNTIME_DIRECTORY`; without one nothing is written. */
export function openProgress(env: NodeJS.ProcessEnv = process.env): ProgressReport {
  const directory = runtimeDirectory(env)
  if (directory === undefined) return { write: () => undefined }
  const path = join(directory, PROGRESS_FILE)
  const invocationId = env['INVOCATION_ID'] ?? ''
  return {
    write(progress) {
      const text: ReportedProgress = { invocationId, ...progress }
      writeFileSync(`${path}.tmp`, `${JSON.stringify(text)}\n`, { mode: 0o644 })
      renameSync(`${path}.tmp`, path)
    },
  }
}

function runtimeDirectory(env: NodeJS.ProcessEnv): string | undefined {
  const directory = env['RUNTIME_DIRECTORY']?.split(':')[0]
  return directory === '' ? undefined : directory
}
