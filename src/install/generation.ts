import type { RemoteRef } from '../host/install-ports.ts'

/** `comfyui/lock.json`: what a source of ComfyUI was resolved to, once. */
export interface ComfyUILock {
  readonly schema: 1
  readonly repoUrl: string
  readonly ref: string | null
  /** The tag, branch or commit that was chosen. */
  readonly resolved: string
  readonly commit: string
}

/** `.complete` of a generation, written last: what went into it. */
export interface GenerationRecord {
  readonly schema: 1
  readonly id: string
  readonly repoUrl: string
  readonly commit: string
  readonly resolved: string
  readonly python: string
  readonly installer: string
}

/** Name of the marker file of a whole generation. */
export const COMPLETE_FILE = '.complete'

/** A revision of ComfyUI: a commit where it is known already, else a full ref name. */
export interface ResolvedRef {
  readonly resolved: string
  readonly commit: string
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

/** Name of a generation's directory; equal content has an equal name. `contentHash` is sha256 hex of requirements and Python. */
export function generationId(commit: string, contentHash: string): string {
  return `${commit.slice(0, 10)}-${contentHash.slice(0, 8)}`
}

/** Generations that can go: unfinished ones, and whole ones beyond the newest `keep`; never the current one. */
export function chooseObsolete(
  generations: readonly { readonly id: string; readonly completeMs: number | null }[],
  current: string,
  keep: number,
): readonly string[] {
  const others = generations.filter(({ id }) => id !== current)
  const whole = others.filter(({ completeMs }) => completeMs !== null)
  whole.sort((a, b) => (b.completeMs ?? 0) - (a.completeMs ?? 0))
  const unfinished = others.filter(({ completeMs }) => completeMs === null)
  return [...unfinished, ...whole.slice(Math.max(0, keep - 1))].map(({ id }) => id)
}
