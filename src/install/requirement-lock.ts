import { normaliseName } from './requirement-lines.ts'

/** Pinned requirements as they stand in the lock, and how many packages they are. */
export interface PinnedRequirements {
  readonly requirements: string
  readonly packages: number
}

interface Pin {
  readonly requirement: string
  readonly hashes: readonly string[]
}

/** What `uv pip compile --generate-hashes` printed, the same on every host; `indexes` are the requirement files' own. */
export function lockOfCompile(stdout: string, indexes: readonly string[]): PinnedRequirements {
  const text = stdout.replace(/\\\r?\n/g, ' ')
  const pins = text.split(/\r?\n/).flatMap((line): readonly Pin[] => {
    const bare = line.replace(/(^|\s)#.*$/, '').trim()
    if (bare === '' || bare.startsWith('-')) return []
    const hashes = [...bare.matchAll(/--hash=(\S+)/g)].map(([, hash]) => hash ?? '')
    return [{ requirement: bare.replace(/\s+--hash=\S+/g, ''), hashes }]
  })
  return lockOf(pins, indexes)
}

interface ReportedPackage {
  readonly download_info: {
    readonly url: string
    readonly archive_info?: { readonly hashes?: Readonly<Record<string, string>> }
    readonly vcs_info?: { readonly vcs: string; readonly commit_id: string }
  }
  readonly is_direct: boolean
  readonly metadata: { readonly name: string; readonly version: string }
}

/** What `pip install --dry-run --report -` printed among its other lines; undefined when there is no report in it. */
export function lockOfReport(stdout: string, indexes: readonly string[]): PinnedRequirements | undefined {
  const packages = reportOf(stdout)
  return packages === undefined ? undefined : lockOf(packages.map(pinOf), indexes)
}

/** Name, version and address of what pip has chosen; undefined when there is no report. */
export function chosenByPip(
  stdout: string,
): readonly { readonly name: string; readonly version: string; readonly url: string }[] | undefined {
  return reportOf(stdout)?.map(({ metadata, download_info: { url } }) => ({ ...metadata, url }))
}

/** Pins with a hash, which can be held to it, and those of repositories, whose commit is what holds them. */
export function splitByHash(requirements: string): { readonly hashed: string; readonly unhashed: string } {
  const entries = requirements.split(/\n(?=\S)/).filter((entry) => entry.trim() !== '')
  const options = entries.filter((entry) => entry.startsWith('-'))
  const pins = entries.filter((entry) => !entry.startsWith('-'))
  const textOf = (chosen: readonly string[]): string =>
    chosen.length === 0 ? '' : `${[...options, ...chosen].map((entry) => entry.trimEnd()).join('\n')}\n`
  return {
    hashed: textOf(pins.filter((entry) => entry.includes('--hash='))),
    unhashed: textOf(pins.filter((entry) => !entry.includes('--hash='))),
  }
}

function reportOf(stdout: string): readonly ReportedPackage[] | undefined {
  const json = /^\{$[\s\S]*^\}$/m.exec(stdout.replace(/\r/g, ''))?.[0]
  if (json === undefined) return undefined
  return (JSON.parse(json) as { readonly install: readonly ReportedPackage[] }).install
}

function pinOf({ download_info: from, is_direct: isDirect, metadata }: ReportedPackage): Pin {
  const name = normaliseName(metadata.name)
  const sha256 = from.archive_info?.hashes?.['sha256']
  const hashes = sha256 === undefined ? [] : [`sha256:${sha256}`]
  if (!isDirect) return { requirement: `${name}==${metadata.version}`, hashes }
  const address = from.vcs_info === undefined ? from.url : `${from.vcs_info.vcs}+${from.url}@${from.vcs_info.commit_id}`
  return { requirement: `${name} @ ${address}`, hashes }
}

function lockOf(pins: readonly Pin[], indexes: readonly string[]): PinnedRequirements {
  const sorted = [...pins].sort((a, b) => (a.requirement < b.requirement ? -1 : 1))
  const entries = sorted.map(({ requirement, hashes }) =>
    [requirement, ...[...hashes].sort().map((hash) => `    --hash=${hash}`)].join(' \\\n'),
  )
  const lines = [...indexes, ...entries]
  return { requirements: lines.length === 0 ? '' : `${lines.join('\n')}\n`, packages: pins.length }
}
