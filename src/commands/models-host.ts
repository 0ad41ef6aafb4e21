import type { MachineConfig } from '../config/load-config.ts'
import { MachineError } from '../errors.ts'
import { systemClock } from '../host/clock.ts'
import { digest } from '../host/digest.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import type { InstallHost } from '../host/install-ports.ts'
import type { Terminal } from '../host/ports.ts'
import { stopSignal } from '../host/signals.ts'
import { endHashing } from '../host/store-files.ts'
import type { InstallContext } from '../install/context.ts'
import { progressText } from '../models/progress-text.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'
import { openProgressLine, type ProgressLine } from './follow-rollout.ts'
import { makePlan } from './make-plan.ts'
import { readPlan } from './read-plan.ts'

const STEP_OF_MODELS = 18
/** Where nothing can be redrawn, progress is a line from time to time. */
const LINE_MS = 10_000
const EXIT_STOPPED = 1

/** What a command works on the models with. */
export interface ModelsHost {
  readonly context: InstallContext
  /** Ends the progress line; what is written from now on stays. */
  readonly end: () => void
}

/** The context of an installer whose progress is shown on a terminal; `isQuiet` shows warnings only. */
export function openModelsHost(
  plan: MachinePlan,
  terminal: Terminal,
  { isQuiet, secrets }: { readonly isQuiet: boolean; readonly secrets?: MachineConfig['secrets'] },
): ModelsHost {
  const nothing = (): void => undefined
  const line = openProgressLine(terminal, isQuiet)
  const show = throttled(line, terminal.isTTY)
  const host: InstallHost = {
    clock: systemClock,
    files: systemFiles,
    exec: systemExec,
    notify: { ready: nothing, stopping: nothing, status: nothing, extend: nothing, watchdog: nothing },
    journal: {
      write({ message, priority }) {
        if (priority === 'debug' || (isQuiet && priority === 'info')) return
        line.end()
        if (priority === 'info' || priority === 'notice') terminal.write(`${message}\n`)
        else terminal.error(`${message}\n`)
      },
    },
    report: { write: nothing },
    progress: { write: (progress) => show(progressText(progress)) },
    invocationId: '',
    secrets: { read: (name) => secrets?.get(name) },
    signal: stopSignal(),
    digest,
  }
  return { context: { plan, host, step: stepOf(STEP_OF_MODELS) }, end: line.end }
}

/**
 * What a command knows of the machine: the plan of its configuration with the values of secrets, or, where that is enough, the
 * plan of the running start.
 */
export async function readModelsPlan(isSecret: boolean): Promise<{
  readonly plan: MachinePlan
  readonly secrets: MachineConfig['secrets']
}> {
  if (!isSecret) {
    try {
      return { plan: await readPlan(systemFiles, {}), secrets: new Map() }
    } catch (error) {
      if (!(error instanceof MachineError)) throw error
    }
  }
  const { plan, config } = await makePlan([])
  return { plan, secrets: config.secrets }
}

/** Does work that Ctrl-C may stop; resolves then to 1, and `sentence` says what becomes of what was done. */
export async function whenStopped(
  { context, end }: ModelsHost,
  terminal: Terminal,
  sentence: string,
  work: () => Promise<number>,
): Promise<number> {
  try {
    return await work()
  } catch (error) {
    if (!context.host.signal.aborted) throw error
    endHashing()
    end()
    terminal.error(`stopped. ${sentence}\n`)
    return EXIT_STOPPED
  } finally {
    end()
  }
}

function throttled(line: ProgressLine, isTTY: boolean): (text: string) => void {
  let shownUs = systemClock.nowUs()
  return (text) => {
    const us = systemClock.nowUs()
    if (!isTTY && us - shownUs < LINE_MS * 1000) return
    shownUs = us
    line.show(text)
  }
}
