import { MachineError } from '../errors.ts'

/** A part of a ComfyUI for which there is no evidence that it works, and why. */
export interface Gap {
  /** `custom node X`, `model Y`, `prompt`. */
  readonly component: string
  readonly error: MachineError
}

/** All gaps as one failure: the first one's, which names the others; undefined when there are none. */
export function errorOfGaps(gaps: readonly Gap[]): MachineError | undefined {
  const [first, ...others] = gaps
  if (first === undefined || others.length === 0) return first?.error
  const { code, type, hint, message } = first.error
  const more = others.map(({ error }) => (error.code === code ? error.message : `${error.code} ${error.message}`))
  return new MachineError(code, [message, ...more].join('; '), { type, hint, cause: first.error })
}
