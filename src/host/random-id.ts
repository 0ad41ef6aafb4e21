import { randomBytes } from 'node:crypto'

/** A random id of so many bytes as lowercase hex; never all zero, which W3C Trace Context forbids. */
export function randomId(bytes: number): string {
  for (;;) {
    const id = randomBytes(bytes).toString('hex')
    if (/[^0]/.test(id)) return id
  }
}
