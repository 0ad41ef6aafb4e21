import type { Files, Manager } from '../host/ports.ts'
import type { Executors } from './actions.ts'

// An operator may have set the group of what is made below.
const COMPARED = 0o1777

/** The executors of a real host. Files are replaced atomically; a job is waited for, only `start` is queued. */
export function hostExecutors(files: Files, manager: Manager): Executors {
  return {
    'make-directory': async ({ path, owner, mode }) => {
      await files.makeDirectory(path, mode)
      const there = await files.lstat(path)
      // Only of its own directory root changes the mode: another user could put a link there meanwhile.
      if (there?.kind === 'directory' && (there.mode & COMPARED) !== mode) {
        await files.chown(path, 'root')
        await files.makeDirectory(path, mode)
      }
      await files.chown(path, owner)
      return undefined
    },
    'write-file': async ({ path, text, mode }) => {
      await files.writeText(path, text, { mode })
      return undefined
    },
    'remove-file': async ({ path }) => {
      await files.remove(path)
      return undefined
    },
    reload: async () => {
      await manager.reload()
      return undefined
    },
    'reset-failed': async ({ unit }) => {
      await manager.resetFailed(unit)
      return undefined
    },
    stop: ({ unit }) => manager.stopAndWait(unit),
    restart: ({ unit }) => manager.restartAndWait(unit),
    start: async ({ unit }) => {
      await manager.start(unit)
      return undefined
    },
  }
}
