import { MachineError, messageOf } from '../errors.ts'
import type { HttpClient, HttpResponse } from '../host/install-ports.ts'
import type { ReportedAttempt } from '../report.ts'
import { type InstallContext, markAttempt, note, reportAttempt, reportChild, spanOf } from './context.ts'
import { codeOf, networkFailureType } from './network-failure.ts'
import { delayAfter, parseRetryAfter, type RetryPolicy } from './retry.ts'

const CONNECT_MS = 10_000
const TOTAL_MS = 60_000
const MAX_BYTES = 32 * 1024 * 1024

/** One call of the component API. */
export interface ApiCall {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: unknown
}

/** The component API of one machine. The key goes to `apiUrl` only; redirects are not followed. */
export interface ApiOptions {
  readonly http: HttpClient
  readonly apiUrl: string
  readonly apiKey: string | undefined
  readonly retry: RetryPolicy
}

/** The data of an answer's envelope `{data, error}`. Throws CM1602 when the API reports an error, CM1604 when it is no envelope. */
function readEnvelope(response: HttpResponse, call: string): unknown {
  const said = `${call} answered ${response.status}`
  if (response.status === 401 || response.status === 403) throw new MachineError('CM1603', said)
  if (response.status < 200 || response.status > 299) {
    throw new MachineError('CM1602', `${said}: ${excerpt(response.text)}`)
  }
  if (!/^application\/([a-z.+-]+\+)?json\b/i.test(response.headers['content-type'] ?? '')) {
    throw new MachineError('CM1604', `${said} with ${response.headers['content-type'] ?? 'no content type'}, not JSON`)
  }
  const body = parseJson(response.text, said)
  if (typeof body !== 'object' || body === null || !('data' in body)) {
    throw new MachineError('CM1604', `${said} without the envelope {data, error}`)
  }
  if ('error' in body && body.error) throw new MachineError('CM1602', `${call}: ${excerpt(String(body.error))}`)
  if (body.data === null) throw new MachineError('CM1604', `${said} with no data`)
  return body.data
}

function parseJson(text: string, said: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new MachineError('CM1604', `${said} with a body that is not JSON`, { cause: error })
  }
}

/** True when an answer of this status may be another one later. */
function isTransientStatus(status: number): boolean {
  return status >= 500 || status === 408 || status === 425 || status === 429
}

/** Makes one call with its retries, within a minute in all; records a child of the step with the number of attempts. */
export async function callApi(context: InstallContext, options: ApiOptions, call: ApiCall): Promise<unknown> {
  const { clock, signal } = context.host
  const name = `${call.method} ${call.path}`
  const startUs = clock.nowUs()
  const deadlineMs = startUs / 1000 + TOTAL_MS
  const fields = { SPAN_ID: spanOf(context, name) }
  const attempts: ReportedAttempt[] = []
  for (let attempt = 1; ; attempt++) {
    const outcome = await tryCall(options, call, name, deadlineMs - clock.nowUs() / 1000)
    signal.throwIfAborted()
    const attributes = { 'http.request.method': call.method, 'url.path': call.path, attempts: attempt }
    if (outcome.kind === 'data') {
      reportChild(context, {
        name,
        startUs,
        state: 'done',
        attributes: { ...attributes, 'http.response.body.size': outcome.bytes },
        attempts,
      })
      note(context, `${name}: ${outcome.bytes} bytes`, 'info', fields)
      return outcome.data
    }
    const nowMs = clock.nowUs() / 1000
    const waitMs = delayAfter(attempt, options.retry, Math.random(), parseRetryAfter(outcome.retryAfter, nowMs))
    if (!outcome.transient || attempt >= options.retry.tries || nowMs + waitMs >= deadlineMs) {
      markAttempt(outcome.error, attempt)
      reportChild(context, { name, startUs, state: 'failed', attributes, error: outcome.error, attempts })
      throw outcome.error
    }
    attempts.push(reportAttempt(context, outcome.error, attempt, fields))
    await clock.sleep(waitMs, signal)
    signal.throwIfAborted()
  }
}

type Outcome =
  | { readonly kind: 'data'; readonly data: unknown; readonly bytes: number }
  | {
      readonly kind: 'failed'
      readonly error: MachineError
      readonly transient: boolean
      readonly retryAfter?: string | undefined
    }

async function tryCall(options: ApiOptions, call: ApiCall, name: string, leftMs: number): Promise<Outcome> {
  const response = await send(options, call, Math.max(1, Math.round(leftMs))).catch((error: unknown) =>
    toFailure(options, name, error),
  )
  if ('kind' in response) return response
  try {
    return { kind: 'data', data: readEnvelope(response, name), bytes: response.text.length }
  } catch (error) {
    if (!(error instanceof MachineError)) throw error
    return {
      kind: 'failed',
      error,
      transient: isTransientStatus(response.status),
      retryAfter: response.headers['retry-after'],
    }
  }
}

function send(options: ApiOptions, call: ApiCall, timeoutMs: number): Promise<HttpResponse> {
  return options.http.request({
    method: call.method,
    url: `${options.apiUrl}${call.path}`,
    headers: {
      accept: 'application/json',
      'user-agent': 'comfy-machine',
      ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` }),
    },
    ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    connectTimeoutMs: CONNECT_MS,
    timeoutMs,
    maxBytes: MAX_BYTES,
  })
}

function toFailure(options: ApiOptions, name: string, error: unknown): Outcome {
  const code = codeOf(error)
  if (code === undefined || isMistake(code)) throw error
  if (code === 'EMSGSIZE') {
    return { kind: 'failed', transient: false, error: new MachineError('CM1604', `${name}: ${messageOf(error)}`) }
  }
  const detail = `${name} at ${new URL(options.apiUrl).origin}: ${messageOf(error)}`
  const failure = new MachineError('CM1601', detail, { cause: error, type: networkFailureType(code) })
  return { kind: 'failed', transient: true, error: failure }
}

/** True for a code of Node's that tells of a wrong call, not of the network. */
function isMistake(code: string): boolean {
  return /^ERR_(?!TLS|SSL|PROXY|STREAM|SOCKET)/.test(code)
}

function excerpt(text: string): string {
  return text.replace(/\s+/g, ' ').trim().slice(0, 200)
}
