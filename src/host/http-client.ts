import http from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import fetch, { AbortError, FetchError } from 'node-fetch'
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

/** An agent that goes through the proxies of the operator and gives a connection `connectTimeoutMs` to come up. */
export function openAgent(
  secure: boolean,
  proxies: Readonly<Record<string, string>>,
  connectTimeoutMs: number,
  options: http.AgentOptions = {},
): http.Agent {
  const settings = { ...options, proxyEnv: { ...proxies } }
  const agent = secure ? new https.Agent(settings) : new http.Agent(settings)
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (connection, done) => {
    const socket = create(connection, done)
    if (socket) limitConnect(socket, secure ? 'secureConnect' : 'connect', connectTimeoutMs)
    return socket
  }
  return agent
}

function limitConnect(socket: Duplex, ready: string, ms: number): void {
  const timer = setTimeout(() => socket.destroy(fault('ETIMEDOUT', `no connection within ${ms / 1000} s`)), ms)
  const clear = (): void => clearTimeout(timer)
  socket.once(ready, clear)
  socket.once('close', clear)
}

function fault(code: string, message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, cause === undefined ? {} : { cause }), { code })
}
