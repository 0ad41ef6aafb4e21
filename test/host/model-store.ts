import { readRequests } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { type JournalLine, readJournal, WORKSPACE } from './machine.ts'

/** The unit that installs models. */
export const MODELS_UNIT = 'comfy-install-models.service'

/** What a models folder holds: files with content that ComfyUI sees, by path, and the hashes of what the store has whole. */
export interface StoreContent {
  readonly visible: ReadonlyMap<string, string>
  readonly blobs: readonly string[]
  readonly partial: readonly string[]
}

/** Reads a models folder; every visible file and every blob is hashed. Throws when a blob is not what it is called. */
export async function readStore(host: Host, models = `${WORKSPACE}/models`): Promise<StoreContent> {
  const list = async (command: string): Promise<readonly string[]> =>
    (await host.must(`cd ${models} 2>/dev/null && ${command}; true`, { timeoutMs: 180_000 }))
      .split('\n')
      .filter(Boolean)
  const hashed = await list('find . -path ./.store -prune -o -type f -size +0 -exec sha256sum {} +')
  const blobs = await list('cd .store/blobs/sha256 2>/dev/null && find . -type f -exec sha256sum {} +')
  for (const line of blobs) {
    const [hash = '', name = ''] = line.split('  ./')
    if (hash !== name) throw new Error(`the blob ${name} has the sha256 ${hash}`)
  }
  return {
    visible: new Map(hashed.map((line) => [line.slice(68), line.slice(0, 64)])),
    blobs: blobs.map((line) => line.slice(0, 64)).sort(),
    partial: await list('ls -A .store/partial 2>/dev/null'),
  }
}

/** Removes a model and all that the store keeps, so that the next start downloads it. */
export async function removeModel(host: Host, path: string): Promise<void> {
  await host.must(['rm', '-rf', '--', `${WORKSPACE}/models/${path}`, `${WORKSPACE}/models/.store`])
}

/** Code of the failure of each model, as its line in this boot's journal says; the last line counts. */
export async function readModelCodes(host: Host): Promise<Readonly<Record<string, string | undefined>>> {
  const lines = await readJournal(host, `_SYSTEMD_UNIT=${MODELS_UNIT}`)
  const told = lines.filter((line): line is JournalLine => line['COMFY_MODEL'] !== undefined)
  const ends = told.filter((line) => ['done', 'failed'].includes(line['COMFY_STATE'] ?? ''))
  return Object.fromEntries(ends.map((line) => [line['COMFY_MODEL'] ?? '', line['COMFY_ERROR_CODE'] ?? 'done']))
}

/** Bytes of bodies that the model server sent for paths that contain a text, since its log was emptied. */
export async function sentFor(host: Host, part: string): Promise<number> {
  const asked = (await readRequests(host, 'models')).filter(({ path }) => path.includes(part) && !path.startsWith('/_'))
  return asked.reduce((sum, { sent }) => sum + sent, 0)
}
