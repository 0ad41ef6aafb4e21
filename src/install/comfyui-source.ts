import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { FetchedRevision, Git, RemoteRef } from '../host/install-ports.ts'
import { placesOf } from '../plan/places.ts'
import { type InstallContext, note, parseRecord } from './context.ts'
import type { LockedSource } from './machine-lock.ts'

/** `comfyui/source.json`: what the wanted source of ComfyUI was resolved to, once. */
export interface SourceRecord extends LockedSource {
  readonly schema: 1
}

/** A revision of ComfyUI: a commit where it is known already, else a full ref name. */
interface ResolvedRef {
  readonly resolved: string
  readonly commit: string
}

function sourceFile(workspace: string): string {
  return join(placesOf(workspace).home, 'source.json')
}

/** True when a source was resolved from the repository and ref that the plan wants. */
export function isWantedSource({ plan }: InstallContext, source: LockedSource): boolean {
  return source.repoUrl === plan.comfyui.repoUrl && source.ref === plan.comfyui.ref
}

/** The record of the wanted source; undefined where it was not resolved yet. */
export async function readSource(context: InstallContext): Promise<LockedSource | undefined> {
  const text = await context.host.files.readText(sourceFile(context.plan.paths.workspace))
  const record = parseRecord<SourceRecord>(text)
  return record !== undefined && isWantedSource(context, record) ? withoutSchema(record) : undefined
}

function withoutSchema({ repoUrl, ref, resolved, commit }: SourceRecord): LockedSource {
  return { repoUrl, ref, resolved, commit }
}

/** Writes `source.json` when it says something else. */
export async function writeSource(context: InstallContext, source: LockedSource): Promise<void> {
  const { files } = context.host
  const path = sourceFile(context.plan.paths.workspace)
  const record: SourceRecord = { schema: 1, ...source }
  const text = `${JSON.stringify(record, null, 2)}\n`
  if ((await files.readText(path)) !== text) await files.writeText(path, text, { durable: true })
}

/** A source whose commit is in its mirror. */
export interface FetchedSource {
  readonly source: LockedSource
  readonly mirror: FetchedRevision['mirror']
}

/** Asks the remote what the plan's ref stands for now, and fetches it. Throws CM1401. */
export async function resolveSource(context: InstallContext, git: Git): Promise<FetchedSource> {
  const { repoUrl, ref } = context.plan.comfyui
  const { resolved, commit, mirror } = await resolveRef(git, repoUrl, ref)
  note(context, `ComfyUI ${ref ?? 'latest release'} is ${resolved} at ${commit}`)
  const fetched = await git.fetch(repoUrl, { commit })
  return { source: { repoUrl, ref, resolved, commit }, mirror: mirror ?? fetched.mirror }
}

interface FoundRef extends ResolvedRef {
  /** Set where the commit had to be fetched to be known. */
  readonly mirror?: FetchedRevision['mirror']
}

async function resolveRef(git: Git, url: string, ref: string | null): Promise<FoundRef> {
  if (ref === null) {
    const release = chooseRelease(await git.listRemote(url, ['refs/tags/v*']))
    return release ?? { resolved: 'HEAD', ...(await git.fetch(url, {})) }
  }
  const patterns = [ref, `refs/heads/${ref}`, `refs/tags/${ref}`, `refs/tags/${ref}^{}`]
  const named = chooseRef(await git.listRemote(url, patterns), ref)
  if (named !== undefined) return named
  if (isCommitId(ref)) return { resolved: ref, ...(await git.fetch(url, { commit: ref })) }
  throw new MachineError('CM1401', `${url} has no branch, tag or commit ${ref}`)
}

/** The highest release tag vX.Y.Z among refs; undefined when there is none. Pre-releases do not count. */
export function chooseRelease(refs: readonly RemoteRef[]): ResolvedRef | undefined {
  const releases = refs.flatMap(({ ref }) => {
    const match = /^refs\/tags\/(v(\d+)\.(\d+)\.(\d+))$/.exec(ref)
    return match === null
      ? []
      : [{ name: match[1] ?? '', parts: [Number(match[2]), Number(match[3]), Number(match[4])] }]
  })
  releases.sort((a, b) => compareParts(b.parts, a.parts))
  const best = releases[0]
  return best === undefined ? undefined : chooseRef(refs, best.name)
}

function compareParts(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** What a name stands for among refs: a tag before a branch, an annotated tag's commit; undefined when it is neither. */
export function chooseRef(refs: readonly RemoteRef[], name: string): ResolvedRef | undefined {
  const candidates = [`refs/tags/${name}^{}`, `refs/tags/${name}`, `refs/heads/${name}`, name]
  for (const candidate of candidates) {
    const found = refs.find(({ ref }) => ref === candidate)
    if (found !== undefined) return { resolved: name, commit: found.id }
  }
  return undefined
}

/** True for a text that can be a commit id, whole or shortened. */
export function isCommitId(text: string): boolean {
  return /^[0-9a-f]{7,40}$/.test(text)
}
