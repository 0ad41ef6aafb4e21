import path from 'node:path'
import type { Files } from '../host/ports.ts'
import { evidenceDirectory } from '../plan/places.ts'
import { type EvidenceDocument, parseEvidence } from './evidence-document.ts'

const KEPT = 5

/** The evidence that is kept of earlier starts of every GPU. */
export async function readSeen(
  files: Pick<Files, 'list' | 'readForeign'>,
  workspace: string,
  gpus: readonly string[],
): Promise<readonly EvidenceDocument[]> {
  const found = await Promise.all(
    gpus.map(async (gpu) => {
      const directory = evidenceDirectory(workspace, gpu)
      const names = (await files.list(directory)).filter((name) => name.endsWith('.json'))
      return Promise.all(names.map((name) => files.readForeign(path.join(directory, name)).then(parseEvidence)))
    }),
  )
  return found.flat().filter((document) => document !== undefined)
}

/** Keeps the evidence of a start where it survives a reboot; of each GPU the documents of the latest generations are kept. */
export async function keepEvidence(files: Files, workspace: string, document: EvidenceDocument): Promise<void> {
  const directory = evidenceDirectory(workspace, document.gpu)
  await files.makeDirectory(directory)
  const own = `${document.generation}.json`
  await files.writeText(path.join(directory, own), renderEvidence(document), { durable: true })
  const others = (await files.list(directory)).filter((name) => name.endsWith('.json') && name !== own)
  const aged = await Promise.all(
    others.map(async (name) => ({ name, mtimeMs: (await files.stat(path.join(directory, name)))?.mtimeMs ?? 0 })),
  )
  const old = aged.toSorted((a, b) => b.mtimeMs - a.mtimeMs).slice(KEPT - 1)
  await Promise.all(old.map(({ name }) => files.remove(path.join(directory, name))))
}

/** The document as it stands in a file. */
export function renderEvidence(document: EvidenceDocument): string {
  return `${JSON.stringify(document, null, 2)}\n`
}
