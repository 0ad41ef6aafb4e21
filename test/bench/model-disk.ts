import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { must } from '../host/command.ts'
import type { ModelFile } from './model-files.ts'

const SAMPLE = 16

/**
 * Writes that many bytes to the file system of a folder and removes them: the first touch of a page can be several times as dear as
 * every later one, and would charge one way for all.
 */
export async function evenOut(folder: string, bytes: number): Promise<void> {
  await must(['sh', '-c', 'head -c "$1" /dev/zero > "$2" && rm "$2"', 'sh', String(bytes), path.join(folder, 'pages')])
  await settle()
}

/** Nobody is to wait for what another one wrote. */
export async function settle(): Promise<void> {
  await must(['sync'])
}

/** Compares the sizes of all files and the hashes of some; throws where one differs. */
export async function checkFiles(folder: string, files: readonly ModelFile[]): Promise<void> {
  const step = Math.ceil(files.length / SAMPLE)
  for (const [index, { name, bytes, sha256 }] of files.entries()) {
    const file = path.join(folder, name)
    const { size } = await stat(file)
    if (size !== bytes) throw new Error(`${name} has ${size} bytes and not ${bytes}`)
    if (index % step === 0 && (await hashOf(file)) !== sha256) throw new Error(`${name} is not what was served`)
  }
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}
