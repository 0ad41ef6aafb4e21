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

/** The registered code that is closest to a text, for "did you mean"; undefined when none is close. */
export function closestCode(text: string): ErrorCode | undefined {
  const digits = text.trim().toUpperCase().replace(/^C?M?/, 'CM')
  const name = text.trim().toLowerCase()
  const ranked = CODES.map((code) => {
    const byCode = distance(digits, code)
    const byName = distance(name, definitionOf(code).name)
    return { code, far: Math.min(byCode <= 2 ? byCode : 99, byName <= name.length / 3 ? byName : 99) }
  }).sort((a, b) => a.far - b.far)
  const best = ranked[0]
  return best === undefined || best.far === 99 ? undefined : best.code
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

/** Levenshtein's distance: how many letters to insert, remove or replace. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, replaced))
    }
    row = next
  }
  return row[b.length] ?? 0
}
