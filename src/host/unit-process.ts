import { systemClock } from './clock.ts'
import { systemExec } from './exec.ts'
import { systemFiles } from './files.ts'
import { openJournal } from './journal.ts'
import { openNotify } from './notify.ts'
import type { Clock, Exec, Files, Journal, Notify, Report, Secrets } from './ports.ts'
import { openReport } from './report.ts'
import { openSecrets } from './secrets.ts'
import { stopSignal } from './signals.ts'

/** What every process of a unit has of the outside world. */
export interface UnitHost {
  readonly clock: Clock
  readonly files: Files
  readonly exec: Exec
  readonly notify: Notify
  readonly journal: Journal
  readonly report: Report
  readonly secrets: Secrets
  /** Variables of this process. */
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborts when systemd asks the process to stop (SIGTERM) or a person does (SIGINT). */
  readonly signal: AbortSignal
}

/** Opens the outside world of a unit's process: report begun, signals caught. `fields` go on every journal entry. */
export function openUnitHost(fields: Readonly<Record<string, string>> = {}): UnitHost {
  return {
    clock: systemClock,
    files: systemFiles,
    exec: systemExec,
    notify: openNotify(),
    journal: openJournal({ fields }),
    report: openReport(),
    secrets: openSecrets(),
    env: process.env,
    signal: stopSignal(),
  }
}
