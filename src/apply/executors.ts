import type { Files, Manager } from '../host/ports.ts'
import type { Executors } from './actions.ts'

/** The executors of a real host. Files are replaced atomically; a job is waited for, only `start` is queued. */
export function hostExecutors(files: Files, manager: Manager): Executors {
  return {
    'make-directory': async ({ path, owner, mode }) => {
      await files.makeDirectory(path, mode)
      await files.chown(path, owner)
      // What was another user's is root's only now, and may have its mode.
      if (owner.startsWith('root')) await files.makeDirectory(path, mode)
      return undefined
    },
    'write-file': async ({ path, text, mode, durable }) => {
      await files.writeText(path, text, durable === true ? { mode, durable } : { mode })
      return undefined
    },
    'remove-file': async ({ path }) => {
      await files.remove(path)
      return undefined
    },
    point: async ({ path, target }) => {
      await files.link(target, path)
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
