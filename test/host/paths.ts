import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, rename, rm, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'

/** Root of the working copy. */
export const projectRoot = path.resolve(import.meta.dirname, '../..')

/** Folder outside the working copy for what takes long to make and can be made again; $XDG_CACHE_HOME/comfy-machine. */
export const cacheRoot = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'comfy-machine')

/** First 16 hex digits of the SHA-256 of the values, in order. */
export function shortHash(...values: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const value of values) hash.update(value).update('\0')
  return hash.digest('hex').slice(0, 16)
}

/**
 * Makes a folder of the cache once: `make` fills a temporary folder, which then takes the final name, so a broken run
 * leaves nothing half made. Processes that want the same folder wait for each other; returns the folder.
 */
export async function cached(name: string, make: (folder: string) => Promise<void>): Promise<string> {
  const target = path.join(cacheRoot, name)
  const lock = `${target}.lock`
  await mkdir(path.dirname(target), { recursive: true })
  for (;;) {
    if (existsSync(target)) return await used(target)
    if (takeLock(lock)) break
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  const release = (): void => rmSync(lock, { force: true })
  process.once('exit', release)
  try {
    if (existsSync(target)) return await used(target)
    const partial = `${target}.partial`
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial, { recursive: true })
    await make(partial)
    await rename(partial, target)
    return await used(target)
  } finally {
    process.removeListener('exit', release)
    release()
  }
}

/** Leaves the time of the last use on a folder of the cache. */
async function used(folder: string): Promise<string> {
  const now = new Date()
  await utimes(folder, now, now)
  return folder
}

function takeLock(lock: string): boolean {
  try {
    writeFileSync(lock, `${process.pid}`, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const holder = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0
  if (holder > 0 && !existsSync(`/proc/${holder}`)) rmSync(lock, { force: true })
  return false
}
