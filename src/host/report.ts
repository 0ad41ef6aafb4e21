import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { REPORT_FILE, type ReportLine } from '../report.ts'
import type { Report } from './ports.ts'

/** Begins the report of this process in `$RUNTIME_DIRECTORY`; without one every line is dropped. */
export function openReport(env: NodeJS.ProcessEnv = process.env): Report {
  const directory = env['RUNTIME_DIRECTORY']?.split(':')[0]
  if (directory === undefined || directory === '') return { write: () => undefined }
  const fd = openSync(join(directory, REPORT_FILE), 'w', 0o644)
  const write = (line: ReportLine): void => {
    writeSync(fd, `${JSON.stringify(line)}\n`)
  }
  write({ kind: 'begin', invocationId: env['INVOCATION_ID'] ?? '' })
  return { write }
}
