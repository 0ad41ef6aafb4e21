import { MachineError } from '../errors.ts'
import { openRecord } from '../health/record.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import { readPointers, readRecord } from '../rollout/read-pointers.ts'
import { judgeRollout } from '../rollout/verdict.ts'

const PAUSE_MS = 200
// A controller that was killed is back within seconds.
const LEFT_MS = 15_000
const CLEAR_LINE = '\r\u001b[K'

/** Shows how far something has come: one line that changes on a terminal, a line for each change elsewhere. */
export interface ProgressLine {
  show(text: string): void
  /** Ends the line. */
  end(): void
}

/** Opens a progress line; `isQuiet` shows nothing. */
export function openProgressLine(terminal: Terminal, isQuiet: boolean): ProgressLine {
  let shown = ''
  return {
    show(text) {
      if (isQuiet || text === '' || text === shown) return
      shown = text
      terminal.write(terminal.isTTY ? `${CLEAR_LINE}${text.slice(0, terminal.columns - 1)}` : `${text}\n`)
    },
    end() {
      if (terminal.isTTY && shown !== '') terminal.write(CLEAR_LINE)
      shown = ''
    },
  }
}

/**
 * Follows the rollout of a generation until it is on every GPU. Throws CM1910 when it was sent back and CM1912 when the
 * machine does not run any more.
 */
export async function followRollout(workspace: string, generation: string, progress: ProgressLine): Promise<void> {
  const record = openRecord(systemFiles, systemClock)
  let leftMs = 0
  for (;;) {
    const [pointers, known, sighting] = await Promise.all([
      readPointers(systemFiles, workspace, []),
      readRecord(systemFiles, workspace),
      record.look(),
    ])
    const verdict = judgeRollout({ pointers, record: known, state: sighting.state, alive: sighting.alive }, generation)
    if (verdict.kind === 'done') return
    if (verdict.kind === 'rejected') {
      const { why } = verdict
      const reason = why === undefined ? 'it was not taken' : `${why.unit} ${why.code}: ${why.message}`
      throw new MachineError('CM1910', `generation ${generation} was sent back: ${reason}`)
    }
    leftMs = verdict.kind === 'left' ? leftMs + PAUSE_MS : 0
    if (verdict.kind === 'going') progress.show(verdict.text)
    else if (leftMs > LEFT_MS) throw new MachineError('CM1912', `${verdict.reason}; its next start goes on`)
    await systemClock.sleep(PAUSE_MS)
  }
}
