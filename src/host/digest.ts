import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'

/** sha256 of a UTF-8 text in lowercase hex. */
export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** sha256 of a file in lowercase hex, gone on with from `hash`; `onBytes` is told what was read. */
export async function hashFile(
  path: string,
  onBytes?: (count: number) => void,
  hash = createHash('sha256'),
): Promise<string> {
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    hash.update(chunk as Buffer)
    onBytes?.((chunk as Buffer).length)
  }
  return hash.copy().digest('hex')
}
