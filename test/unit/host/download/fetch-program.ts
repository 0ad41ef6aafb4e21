import { systemClock } from '../../../../src/host/clock.ts'
import { openFetcher } from '../../../../src/host/download/fetcher.ts'

/** Fetches a file and says how many bytes of it are there, each time that more are. */
const [partial = '', url = '', bytes = '0', sha256 = ''] = process.argv.slice(2)
const fetcher = openFetcher({
  clock: systemClock,
  signal: new AbortController().signal,
  proxies: {},
  retry: { tries: 3, baseMs: 10, maxMs: 40 },
  limits: { connections: 8, connectionsPerHost: 8, rateLimit: null },
  times: { connectMs: 1_000, stallMs: 2_000, slowMs: 20_000 },
  allowInsecure: true,
})
let there = 0
const tell = (count: number): void => {
  there += count
  process.stdout.write(`${there}\n`)
}
await fetcher.fetch({
  name: 'a.bin',
  partial,
  sources: [{ url, token: null, tokenVariable: null }],
  bytes: Number(bytes),
  mostBytes: Number(bytes),
  sha256,
  onBytes: tell,
  onResume: tell,
  onRetry: (error) => process.stderr.write(`${error.message}\n`),
})
fetcher.close()
