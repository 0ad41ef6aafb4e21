import { nearest } from '../config/nearest.ts'
import { definitionOf, ERRORS, type ErrorCode, isErrorCode, stepOfCode } from '../errors.ts'
import type { FailingState, MachineState, ShortfallState } from '../observe/state.ts'
import { LATER_MODELS } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'
import { flat, formatTime } from './format.ts'

const INVOCATION_ID = /^[0-9a-f]{32}$/

/** Every registered code, in the order of the registry. */
export const CODES: readonly ErrorCode[] = Object.keys(ERRORS).filter(isErrorCode)

/** The code a person meant: `CM1804`, `cm1804`, `1804` or the name `model_checksum_mismatch`; undefined for anything else. */
export function findCode(text: string): ErrorCode | undefined {
  const wanted = text.trim().toUpperCase()
  return CODES.find(
    (code) => code === wanted || code === `CM${wanted}` || definitionOf(code).name.toUpperCase() === wanted,
  )
}

/** The registered code that was probably meant by a text, for "did you mean"; undefined when none is close. */
export function closestCode(text: string): ErrorCode | undefined {
  const word = text.trim()
  const name = nearest(
    word,
    Object.values(ERRORS).map((definition) => definition.name),
  )
  return (
    (nearest(word.toUpperCase().replace(/^C?M?/, 'CM'), CODES) as ErrorCode | undefined) ??
    (name === undefined ? undefined : findCode(name))
  )
}

/** What is to be known of one code, as the document of `comfy-machine explain CODE --json`. */
export interface CodeDocument {
  readonly code: string
  readonly name: string
  /** 1–21; 0 for the command itself. */
  readonly step: number
  readonly step_name: string | null
  readonly type: string
  readonly sentence: string
  readonly hint: string
  /** Commands that look closer, the best first. */
  readonly run: readonly string[]
  /** systemd starts the machine again later, because the cause may go away by itself. */
  readonly transient: boolean
}

/** What fails now, as an entry of `comfy-machine explain --last --json`; `type`, `hint` and `run` are those of the case. */
export interface FailingDocument extends CodeDocument {
  readonly message: string
  readonly unit: string
  readonly gpu: string | null
  readonly attempt: number
  readonly at: string
  /** The last lines of the unit before it failed, where they are known. */
  readonly lines: readonly string[]
}

/** What the machine goes on without, as an entry of `comfy-machine explain --last --json`. */
export interface ShortfallDocument extends CodeDocument {
  readonly component: string
  readonly message: string
  readonly unit: string
  readonly gpu: string | null
}

/** What is to be known of one code. */
export function codeDocument(code: ErrorCode): CodeDocument {
  const { name, type, sentence, hint, run, transient } = definitionOf(code)
  const step = stepOfCode(code)
  return {
    code,
    name,
    step,
    step_name: step === 0 ? null : stepOf(step).title,
    type,
    sentence,
    hint,
    run: step === 0 ? [run] : [run, `journalctl COMFY_ERROR_CODE=${code} -x -e`],
    transient: transient === true,
  }
}

/** What fails now; `state` is the one that the failure stands in. */
export function failingDocument(failing: FailingState, state: MachineState): FailingDocument {
  const { step, stepName, unit, gpu, type, hint, attempt } = failing
  return {
    ...codeDocument(failing.code),
    step,
    step_name: flat(stepName),
    type,
    hint: flat(hint),
    run: failingCommands(failing, state),
    message: flat(failing.message),
    unit: flat(unit),
    gpu: gpu ?? null,
    attempt,
    at: formatTime(failing.atUs),
    lines: (failing.lines ?? []).map(flat),
  }
}

/** What the machine goes on without. */
export function shortfallDocument(shortfall: ShortfallState): ShortfallDocument {
  const { code, step, stepName, type, component, unit, gpu, message, hint } = shortfall
  const document = codeDocument(code)
  return {
    ...document,
    run: [flat(shortfall.run), ...document.run.slice(1)],
    step,
    step_name: flat(stepName),
    type,
    hint: flat(hint),
    component: flat(component),
    message: flat(message),
    unit: flat(unit),
    gpu: gpu ?? null,
  }
}

/** What is to be known of one code, as lines. */
export function explainCode(code: ErrorCode): readonly string[] {
  const { name, sentence, step, step_name, type, hint, run, transient } = codeDocument(code)
  return [
    `${code} ${name}`,
    `  what    ${sentence}`,
    `  step    ${step_name === null ? 'none: the command itself' : `${step} ${step_name}`}`,
    `  type    ${type}`,
    `  hint    ${hint}`,
    ...paragraph('run', run),
    `  retry   ${transient ? 'may pass by itself; systemd starts the machine again later' : 'does not pass by itself'}`,
  ]
}

/** What fails now, with the explanation of its code, as lines. */
export function explainFailing(failing: FailingState, state: MachineState): readonly string[] {
  const { code, name, sentence, message, step, step_name, unit, attempt, type, hint, run, lines } = failingDocument(
    failing,
    state,
  )
  return [
    `${code} ${name}`,
    `  what    ${sentence}`,
    `  here    ${message}`,
    `  step    ${step} ${step_name}, ${unit}, attempt ${attempt}`,
    `  type    ${type}`,
    `  hint    ${hint}`,
    ...paragraph('run', run),
    ...paragraph('lines', lines),
  ]
}

/** What the machine goes on without, with the explanation of its code, as lines. */
export function explainShortfall(shortfall: ShortfallState): readonly string[] {
  const { code, name, sentence, component, message, step, step_name, unit, type, hint, run } =
    shortfallDocument(shortfall)
  return [
    `${code} ${name}`,
    `  what    ${sentence}`,
    `  here    ${message}`,
    `  without ${component}, ${unit === LATER_MODELS ? 'which is loaded after the start' : 'as COMPONENT_FAILURE_POLICY=degraded says'}`,
    `  step    ${step} ${step_name}, ${unit}`,
    `  type    ${type}`,
    `  hint    ${hint}`,
    ...paragraph('run', run),
  ]
}

/** Every code with its name and sentence, one line each. */
export function codeTable(): readonly string[] {
  const width = Math.max(...CODES.map((code) => definitionOf(code).name.length))
  return CODES.map((code) => `${code}  ${definitionOf(code).name.padEnd(width)}  ${definitionOf(code).sentence}`)
}

function paragraph(name: string, lines: readonly string[]): readonly string[] {
  return lines.map((line, index) => `  ${(index === 0 ? name : '').padEnd(8)}${line}`)
}

function failingCommands(failing: FailingState, state: MachineState): readonly string[] {
  const { step, run } = failing
  const invocationId = failedInvocation(failing, state)
  const own =
    invocationId === undefined
      ? `journalctl -u ${quote(failing.unit)} -b -e`
      : // The unit's own lines, and those of systemd about it.
        `journalctl _SYSTEMD_INVOCATION_ID=${invocationId} + INVOCATION_ID=${invocationId}`
  const startup = `journalctl COMFY_TRACE_ID=${quote(state.traceId)} COMFY_STEP=${step}`
  return [...new Set([flat(run), own, startup, `comfy-machine trace ${quote(state.traceId)}`])]
}

// A unit that has been started again since then has another invocation.
function failedInvocation({ unit }: FailingState, { units }: MachineState): string | undefined {
  const found = units.find(({ name }) => name === unit)
  // After a direct restart the journal goes on under the first invocation's id.
  if (found === undefined || found.restarts > 0 || !INVOCATION_ID.test(found.invocationId)) return undefined
  const hasFailed = found.activeState === 'failed' || found.subState.includes('auto-restart')
  return hasFailed ? found.invocationId : undefined
}

/** A text as one word of a shell. */
function quote(text: string): string {
  const word = flat(text)
  return /^[\w@.:-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
