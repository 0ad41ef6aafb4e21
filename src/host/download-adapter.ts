import { MachineError } from '../errors.ts'
import { type DownloaderOptions, openDownloader } from './downloader.ts'
import type { DownloadResult } from './install-ports.ts'
import type { Fetcher, FetchRequest, ModelSource } from './model-ports.ts'

/** Fetches files in one stream each; `allowInsecure` lets a server redirect to http. */
export function openFetcher(options: DownloaderOptions & { readonly allowInsecure: boolean }): Fetcher {
  const downloader = openDownloader(options)
  const download = (request: FetchRequest, { url, token }: ModelSource): Promise<DownloadResult> => {
    const { partial: destination, bytes, sha256, onBytes, onResume, onRetry } = request
    const { allowInsecure } = options
    return downloader.download({ url, token, destination, bytes, sha256, allowInsecure, onBytes, onResume, onRetry })
  }
  return {
    sizeOf: async () => null,
    close: () => downloader.close(),
    async fetch(request) {
      let failure = new MachineError('CM1807', `model ${request.name} has no source`)
      for (const source of request.sources) {
        try {
          return { ...(await download(request, source)), host: new URL(source.url).host }
        } catch (error) {
          if (!(error instanceof MachineError)) throw error
          failure = error
        }
      }
      throw failure
    },
  }
}
