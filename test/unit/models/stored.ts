import type { StoredFile } from '../../../src/host/inventory-ports.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import type { Claim } from '../../../src/models/reach.ts'

/** A sha256 that is easy to tell from others. */
export function hashOf(letter: string): string {
  return letter.repeat(64)
}

/** A file of the models folder; it has an inode of its own unless one is named. */
export function fileAt(path: string, changes: Partial<StoredFile> = {}): StoredFile {
  return { path, bytes: 10, mtimeMs: 1, inode: path, links: 1, diskBytes: changes.bytes ?? 10, ...changes }
}

/** A blob and the names that ComfyUI sees of it. */
export function linked(sha256: string, ...paths: readonly string[]): readonly StoredFile[] {
  const names = [`.store/blobs/sha256/${sha256}`, ...paths]
  return names.map((path) => fileAt(path, { inode: sha256, links: names.length }))
}

/** A claim on a model; by default the machine's, on a hash that nobody declared. */
export function claimOf(path: string | null, changes: Partial<WantedModel> & { readonly by?: string } = {}): Claim {
  const { by = 'machine', ...rest } = changes
  const name = path?.split('/').at(-1) ?? 'named.safetensors'
  const unknown = { bytes: null, estimatedBytes: 0, sha256: null, authEnvVar: null, sources: [] }
  return { by, model: { name, url: `https://models.example/${name}`, path, ...unknown, ...rest } }
}
