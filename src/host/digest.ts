import { createHash } from 'node:crypto'

/** sha256 of a UTF-8 text in lowercase hex. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
