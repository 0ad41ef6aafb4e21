import http from 'node:http'
import https from 'node:https'
import { judgeStatus } from '../models/resume.ts'
import { openAgent } from './http-client.ts'

const MAX_REDIRECTS = 10
const CONNECT_MS = 10_000
/** A connection that brings no byte for so long is given up. */
const STALL_MS = 60_000

/** A request that follows redirects; the token goes to the first host only. */
interface StreamRequest {
  readonly url: string
  readonly token: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly allowInsecure: boolean
  readonly signal: AbortSignal
}

/** Opens streams with one pool of connections each for http and https. */
export interface StreamSource {
  open(request: StreamRequest): Promise<http.IncomingMessage>
  close(): void
}

/** GET with redirects through the operator's proxies. Fails with errno in `code`, `ESTALL` style timeouts as ETIMEDOUT. */
export function openStreamSource(proxies: Readonly<Record<string, string>>): StreamSource {
  const plain = openAgent(false, proxies, CONNECT_MS, { keepAlive: true })
  const secure = openAgent(true, proxies, CONNECT_MS, { keepAlive: true }) as https.Agent
  return {
    async open(request) {
      const origin = new URL(request.url)
      let url = origin
      for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
        const token = url.host === origin.host && url.protocol === origin.protocol ? request.token : null
        const response = await get(url, token, request, url.protocol === 'https:' ? secure : plain)
        if (judgeStatus(response.statusCode ?? 0) !== 'redirect') return response
        response.resume()
        url = nextUrl(response.headers.location, url, request.allowInsecure)
      }
      throw Object.assign(new Error(`more than ${MAX_REDIRECTS} redirects`), { code: 'EREDIRECT' })
    },
    close() {
      plain.destroy()
      secure.destroy()
    },
  }
}

function nextUrl(location: string | undefined, base: URL, allowInsecure: boolean): URL {
  const next = location !== undefined && URL.canParse(location, base.href) ? new URL(location, base) : undefined
  const allowed = next?.protocol === 'https:' || (allowInsecure && next?.protocol === 'http:')
  if (next !== undefined && allowed) return next
  throw Object.assign(new Error(`redirected to ${next?.origin ?? 'no address'}, which is not allowed`), {
    code: 'EREDIRECT',
  })
}

function get(url: URL, token: string | null, request: StreamRequest, agent: http.Agent): Promise<http.IncomingMessage> {
  const headers = {
    ...request.headers,
    'accept-encoding': 'identity',
    'user-agent': 'comfy-machine',
    ...(token === null ? {} : { authorization: `Bearer ${token}` }),
  }
  return new Promise((resolve, reject) => {
    const module = url.protocol === 'https:' ? https : http
    const pending = module.get(url, { agent, headers, signal: request.signal, timeout: STALL_MS }, resolve)
    pending.on('timeout', () =>
      pending.destroy(Object.assign(new Error(`no byte for ${STALL_MS / 1000} s`), { code: 'ETIMEDOUT' })),
    )
    pending.on('error', reject)
  })
}
