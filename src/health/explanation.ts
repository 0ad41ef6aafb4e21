import { nearest } from '../config/nearest.ts'
import { definitionOf, ERRORS, type ErrorCode, isErrorCode, stepOfCode } from '../errors.ts'
import type { FailingState } from '../observe/state.ts'
import { stepOf } from '../steps.ts'
import { flat } from './format.ts'

const CODES: readonly ErrorCode[] = Object.keys(ERRORS).filter(isErrorCode)

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

/** What is to be known of one code, as lines. */
export function explainCode(code: ErrorCode): readonly string[] {
  const definition = definitionOf(code)
  const again =
    definition.transient === true
      ? 'may pass by itself; systemd starts the machine again later'
      : 'does not pass by itself'
  return [
    `${code} ${definition.name}`,
    `  what    ${definition.sentence}`,
    `  step    ${stepTitle(code)}`,
    `  type    ${definition.type}`,
    `  hint    ${definition.hint}`,
    `  run     ${definition.run}`,
    `  retry   ${again}`,
  ]
}

/** What fails now, with the explanation of its code, as lines. */
export function explainFailing(failing: FailingState): readonly string[] {
  const { code } = failing
  return [
    `${code} ${definitionOf(code).name}`,
    `  what    ${definitionOf(code).sentence}`,
    `  here    ${flat(failing.message)}`,
    `  step    ${failing.step} ${flat(failing.stepName)}, ${flat(failing.unit)}, attempt ${failing.attempt}`,
    `  type    ${failing.type}`,
    `  hint    ${flat(failing.hint)}`,
    `  run     ${flat(failing.run)}`,
  ]
}

/** Every code with its name and sentence, one line each. */
export function codeTable(): readonly string[] {
  const width = Math.max(...CODES.map((code) => definitionOf(code).name.length))
  return CODES.map((code) => `${code}  ${definitionOf(code).name.padEnd(width)}  ${definitionOf(code).sentence}`)
}

function stepTitle(code: ErrorCode): string {
  const number = stepOfCode(code)
  return number === 0 ? 'none: the command itself' : `${number} ${stepOf(number).title}`
}
