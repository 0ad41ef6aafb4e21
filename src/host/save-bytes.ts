import { writeFile } from 'node:fs/promises'

/** Writes a file from base64. */
export async function saveBytes(path: string, base64: string): Promise<void> {
  await writeFile(path, Buffer.from(base64, 'base64'))
}
