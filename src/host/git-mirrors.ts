import { link, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { digest } from './digest.ts'
import type { Files } from './ports.ts'

const KEPT = 4
const MAX_SEED_PACKS = 6
const CONTENTS = 'comfy-machine-contents'
const TEMPORARY = '.tmp-'
const CONFIG = '[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n'
const REFS = 'refs/comfy-machine'

/**
 * Bare repositories in the cache, one for each commit of a URL: `DIGEST-COMMIT.git`, gitrepository-layout(5), shallow, all in packs.
 * One is made under a temporary name and renamed when it is whole, and never changed after that, so that no kill leaves a lock or
 * half a pack where a next run would find it.
 */
export interface Mirrors {
  /** Directory of a commit's mirror, there or not. */
  path(url: string, commit: string): string
  /** True when the mirror is there with every file it was published with. One that is not whole is removed. */
  isWhole(url: string, commit: string): Promise<boolean>
  /** Commits of a URL that have a mirror, the newest mirror first. */
  commits(url: string): Promise<readonly string[]>
  /** Makes an empty repository under a temporary name; with `seed` it begins with that mirror's objects. */
  begin(seed?: string): Promise<string>
  /** Makes a temporary repository, whose objects have the commit, the mirror of it. */
  publish(repository: string, url: string, commit: string): Promise<void>
  discard(repository: string): Promise<void>
  /** Removes a mirror that turned out to be broken. */
  drop(url: string, commit: string): Promise<void>
}

/** Commits of a URL that have a mirror, by the names in the directory of mirrors. */
export function mirroredCommits(names: readonly string[], url: string): readonly string[] {
  const prefix = `${keyOf(url)}-`
  return names
    .filter((name) => name.startsWith(prefix) && name.endsWith('.git'))
    .map((name) => name.slice(prefix.length, -'.git'.length))
}

const keyOf = (url: string): string => digest(url).slice(0, 20)

/** Temporary repositories of this process; any other with its number is left over from a process before. */
const begun = new Set<string>()
let counter = 0

/** Opens the mirrors below a directory; what killed runs left there is removed first. */
export function openMirrors(files: Files, directory: string): Mirrors {
  const used = new Set<string>()
  let cleaned: Promise<void> | undefined
  const nameOf = (url: string, commit: string): string => `${keyOf(url)}-${commit}.git`
  const path = (url: string, commit: string): string => join(directory, nameOf(url, commit))

  async function clean(): Promise<void> {
    await files.makeDirectory(directory)
    for (const name of await files.list(directory)) {
      if (!name.startsWith(TEMPORARY) || begun.has(join(directory, name))) continue
      const pid = Number(name.slice(TEMPORARY.length).split('-')[0])
      const isAlive = pid !== process.pid && (await files.stat(`/proc/${pid}`)) !== undefined
      // What cannot go because somebody still writes there goes with the next run.
      if (!isAlive) await discard(join(directory, name)).catch(() => undefined)
    }
  }

  async function discard(repository: string): Promise<void> {
    // A git that outlived its killed parent may still write there for a moment.
    await rm(repository, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
    begun.delete(repository)
  }

  async function commits(url: string): Promise<readonly string[]> {
    const found = mirroredCommits(await files.list(directory), url)
    const dated = await Promise.all(
      found.map(async (commit) => ({ commit, ms: (await files.stat(path(url, commit)))?.mtimeMs ?? 0 })),
    )
    return dated.sort((a, b) => b.ms - a.ms).map(({ commit }) => commit)
  }

  async function isWhole(url: string, commit: string): Promise<boolean> {
    const mirror = path(url, commit)
    used.add(basename(mirror))
    if ((await files.lstat(mirror)) === undefined) return false
    if (await agrees(files, mirror, commit)) return true
    await files.remove(mirror)
    return false
  }

  /** Old mirrors of a URL make room; those that this installer works with stay. */
  async function removeOld(url: string): Promise<void> {
    for (const commit of (await commits(url)).slice(KEPT)) {
      if (!used.has(nameOf(url, commit))) await files.remove(path(url, commit))
    }
  }

  return {
    path,
    isWhole,
    commits,
    discard,
    async begin(seed) {
      cleaned ??= clean()
      await cleaned
      counter += 1
      const repository = join(directory, `${TEMPORARY}${process.pid}-${counter}`)
      begun.add(repository)
      await rm(repository, { recursive: true, force: true })
      await mkdir(join(repository, 'objects/pack'), { recursive: true })
      await mkdir(join(repository, REFS), { recursive: true })
      await writeFile(join(repository, 'config'), CONFIG)
      if (seed !== undefined) await plant(files, seed, repository)
      await writeFile(join(repository, 'HEAD'), 'ref: refs/heads/main\n')
      return repository
    },
    async publish(repository, url, commit) {
      const mirror = path(url, commit)
      used.add(basename(mirror))
      await writeFile(join(repository, REFS, commit), `${commit}\n`)
      await writeFile(join(repository, 'HEAD'), `${commit}\n`)
      await writeFile(join(repository, CONTENTS), await describe(repository))
      if (await isWhole(url, commit)) return discard(repository)
      await rename(repository, mirror).catch(async (error: unknown) => {
        if (!(await isWhole(url, commit))) throw error
        await discard(repository)
      })
      begun.delete(repository)
      await removeOld(url)
    },
    drop: (url, commit) => files.remove(path(url, commit)),
  }
}

/** Names of the packs of a repository, each with its index. */
export async function listPacks(repository: string): Promise<readonly string[]> {
  const names = await readdir(join(repository, 'objects/pack'))
  return names.filter((name) => /\.(pack|idx)$/.test(name)).map((name) => join('objects/pack', name))
}

/** Gives a new repository the objects of a mirror, so that a fetch asks for what is new only. Old packs do not pile up for ever. */
async function plant(files: Files, seed: string, repository: string): Promise<void> {
  const packs = await listPacks(seed)
  if (packs.length > 2 * MAX_SEED_PACKS) return
  for (const pack of packs) await link(join(seed, pack), join(repository, pack))
  const shallow = await files.readText(join(seed, 'shallow'))
  if (shallow !== undefined) await writeFile(join(repository, 'shallow'), shallow)
  for (const commit of await files.list(join(seed, REFS)))
    await writeFile(join(repository, REFS, commit), `${commit}\n`)
}

/** Every file of a repository with its size, as `isWhole` looks for them. */
async function describe(repository: string): Promise<string> {
  const packs = await listPacks(repository)
  const others = ['HEAD', 'config', 'shallow']
  const refs = (await readdir(join(repository, REFS))).map((name) => join(REFS, name))
  const lines = await Promise.all(
    [...others, ...refs, ...packs].map(async (name) => {
      const found = await stat(join(repository, name)).catch(ifMissing)
      return found === undefined ? [] : [`${found.size} ${name}\n`]
    }),
  )
  return lines.flat().join('')
}

async function agrees(files: Files, mirror: string, commit: string): Promise<boolean> {
  const contents = await files.readText(join(mirror, CONTENTS))
  if (contents === undefined || (await files.readText(join(mirror, 'HEAD')))?.trim() !== commit) return false
  const listed = contents.split('\n').flatMap((line) => {
    const [, bytes, name] = /^([0-9]+) (.+)$/.exec(line) ?? []
    return name === undefined ? [] : [{ name, bytes: Number(bytes) }]
  })
  const checks = await Promise.all(
    listed.map(async ({ name, bytes }) => {
      if ((await files.stat(join(mirror, name)))?.bytes !== bytes) return false
      return !name.endsWith('.pack') || (await isSealed(join(mirror, name), bytes))
    }),
  )
  return listed.some(({ name }) => name.endsWith('.pack')) && checks.every((good) => good)
}

/** gitformat-pack(5): a pack ends with its checksum, and its index with the same one and that of its own. */
async function isSealed(pack: string, bytes: number): Promise<boolean> {
  const index = pack.replace(/\.pack$/, '.idx')
  const size = (await stat(index).catch(ifMissing))?.size ?? 0
  const [ours, theirs] = await Promise.all([readAt(pack, bytes - 20), readAt(index, size - 40)])
  return ours.length === 20 && ours.equals(theirs)
}

async function readAt(path: string, from: number): Promise<Buffer> {
  if (from < 0) return Buffer.alloc(0)
  const handle = await open(path, 'r')
  try {
    const buffer = Buffer.alloc(20)
    const { bytesRead } = await handle.read(buffer, 0, 20, from)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
}
