import type { StoreFiles } from '../host/model-ports.ts'
import { systemStore } from '../host/store-files.ts'

/** The files of a store whose long work ends when the process is to stop. */
export function storeUntil(signal: AbortSignal): StoreFiles {
  return {
    ...systemStore,
    hash: (path, onBytes) => unlessStopped(signal, systemStore.hash(path, onBytes)),
    copy: (from, to, onBytes) =>
      systemStore.copy(from, to, (count) => {
        signal.throwIfAborted()
        onBytes?.(count)
      }),
  }
}

function unlessStopped<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  signal.throwIfAborted()
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
  })
}
