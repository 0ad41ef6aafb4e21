import { createCipheriv, createHash } from 'node:crypto'
import { open, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { cached } from '../host/paths.ts'

/** Raised whenever the same arguments would give other files. */
const EDITION = 1
const MIB = 1024 * 1024
const INDEX = 'files.json'

/** One file that the server has. */
export interface ModelFile {
  readonly name: string
  readonly bytes: number
  readonly sha256: string
}

/** Files of one size in a folder. */
export interface ModelFiles {
  readonly folder: string
  readonly files: readonly ModelFile[]
}

/** `count` files of `mib` MiB each, of bytes that no compression makes smaller and no two files share. Made once and kept. */
export async function makeModelFiles(count: number, mib: number): Promise<ModelFiles> {
  const folder = await cached(`bench-models-${EDITION}-${count}x${mib}`, async (fresh) => {
    const files: ModelFile[] = []
    for (let index = 0; index < count; index += 1) files.push(await makeFile(fresh, index, mib))
    await writeFile(path.join(fresh, INDEX), JSON.stringify(files))
  })
  return { folder, files: JSON.parse(await readFile(path.join(folder, INDEX), 'utf8')) as ModelFile[] }
}

// The key stream of a cipher: as random as a model, the same each time, and gigabytes of it in a second.
async function makeFile(folder: string, index: number, mib: number): Promise<ModelFile> {
  const name = `${String(index).padStart(4, '0')}.safetensors`
  const key = createHash('sha256').update(`${mib} ${index}`).digest()
  const stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  const hash = createHash('sha256')
  const zeros = Buffer.alloc(MIB)
  const file = await open(path.join(folder, name), 'w', 0o644)
  try {
    for (let written = 0; written < mib; written += 1) {
      const piece = stream.update(zeros)
      hash.update(piece)
      await file.writeFile(piece)
    }
  } finally {
    await file.close()
  }
  return { name, bytes: mib * MIB, sha256: hash.digest('hex') }
}
