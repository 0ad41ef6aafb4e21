import http from 'node:http'
import https from 'node:https'
import { isPageType, judgeStatus } from '../../models/answer.ts'
import { openAgent } from '../agent.ts'
import type { ModelSource } from '../model-ports.ts'
import type { DeadHosts } from './dead-hosts.ts'
import { SourceTrail } from './source-trail.ts'

const ANSWER_MS = 10_000

/** How sizes are asked for. */
export interface SizeSettings {
  readonly signal: AbortSignal
  readonly allowInsecure: boolean
  readonly deadHosts: DeadHosts
  readonly proxies: Readonly<Record<string, string>>
  readonly connectMs: number
}

/** Size of a file as the first source that answers tells it (HEAD, RFC 9110, 9.3.2); null when none does. */
export async function askSize(sources: readonly ModelSource[], settings: SizeSettings): Promise<number | null> {
  for (const source of sources) {
    const size = await askOne(new SourceTrail([source], settings.allowInsecure, settings.deadHosts), settings).catch(
      // A source that does not answer now is told of when the file is fetched.
      () => null,
    )
    settings.signal.throwIfAborted()
    if (size !== null) return size
  }
  return null
}

async function askOne(trail: SourceTrail, settings: SizeSettings): Promise<number | null> {
  const signal = AbortSignal.any([settings.signal, AbortSignal.timeout(ANSWER_MS)])
  for (;;) {
    const { statusCode = 0, headers } = await head(trail, settings, signal)
    const meaning = judgeStatus(statusCode)
    if (meaning === 'redirect') {
      trail.follow(headers.location)
      continue
    }
    if (isPageType(headers['content-type'])) return null
    const length = headers['content-length']
    return meaning === 'whole' && length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : null
  }
}

function head(
  { target }: SourceTrail,
  { proxies, connectMs }: SizeSettings,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const { url, authorization } = target
  const isSecure = url.protocol === 'https:'
  const headers = {
    'user-agent': 'comfy-machine',
    'accept-encoding': 'identity',
    ...(authorization === null ? {} : { authorization }),
  }
  const options = { method: 'HEAD', headers, signal, agent: openAgent(isSecure, proxies, connectMs) }
  return new Promise((resolve, reject) => {
    const request = (isSecure ? https : http).request(url, options, (response) => {
      response.resume()
      resolve(response)
    })
    request.on('error', reject)
    request.end()
  })
}
