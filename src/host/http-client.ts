import fetch, { AbortError, FetchError } from 'node-fetch'
import { openAgent } from './agent.ts'
import { fault } from './fault.ts'
import type { HttpClient, HttpRequest, HttpResponse } from './install-ports.ts'

/** HTTP through node-fetch; `variables` may name proxies (http_proxy, https_proxy, no_proxy). */
export function openHttpClient(variables: Readonly<Record<string, string>>, signal: AbortSignal): HttpClient {
  return {
    async request(request) {
      const limit = AbortSignal.timeout(request.timeoutMs)
      try {
        return await send(request, variables, AbortSignal.any([limit, signal]))
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof AbortError) {
          throw fault('ETIMEDOUT', `no whole answer within ${request.timeoutMs / 1000} s`, error)
        }
        if (error instanceof FetchError && error.type === 'max-size') {
          throw fault('EMSGSIZE', `the answer is larger than ${request.maxBytes} bytes`, error)
        }
        throw error
      }
    },
  }
}

async function send(
  request: HttpRequest,
  proxies: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<HttpResponse> {
  const response = await fetch(request.url, {
    method: request.method,
    headers: request.headers,
    redirect: 'manual',
    size: request.maxBytes,
    signal: signal as NonNullable<Parameters<typeof fetch>[1]>['signal'] & AbortSignal,
    agent: openAgent(request.url.startsWith('https:'), proxies, request.connectTimeoutMs),
    ...(request.body === undefined ? {} : { body: request.body }),
  })
  return { status: response.status, headers: Object.fromEntries(response.headers), text: await response.text() }
}
