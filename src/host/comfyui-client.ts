import { Agent, type IncomingMessage, request } from 'node:http'
import type { ComfyUI, OutputFile, PromptAnswer, ViewedFile } from './ports.ts'

const ANSWER_MS = 10_000
/** ComfyUI validates the whole graph before it answers. */
const SUBMIT_MS = 60_000
/** ComfyUI looks through every folder of models before it answers. */
const DESCRIBE_MS = 60_000
const JSON_BYTES = 64 * 1024 * 1024

interface Call {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: unknown
  readonly timeoutMs?: number
  /** Bytes of the body that are read; a longer body is left unread. */
  readonly maxBytes?: number
}

interface Answer {
  readonly status: number
  readonly contentType: string
  readonly bytes: number
  readonly data: Buffer | undefined
}

/** ComfyUI at `baseUrl` (`http://127.0.0.1:8188`) over one keep-alive agent. */
export function openComfyUI(baseUrl: string): ComfyUI {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const call = (what: Call): Promise<Answer> => send(baseUrl, agent, what)
  const json = async (path: string): Promise<unknown> => parse(expectOk(await call({ method: 'GET', path }), path))
  const post = async (path: string, body: unknown): Promise<void> => {
    expectOk(await call({ method: 'POST', path, body }), path)
  }
  return {
    systemStats: () => json('/system_stats'),
    async logs() {
      const path = '/internal/logs/raw'
      const answer = await call({ method: 'GET', path })
      if (answer.status === 404) return undefined
      return logMessages(parse(expectOk(answer, path)))
    },
    async objectInfo() {
      const path = '/object_info'
      return parse(expectOk(await call({ method: 'GET', path, timeoutMs: DESCRIBE_MS }), path))
    },
    async extensions() {
      const path = '/extensions'
      const answer = await call({ method: 'GET', path })
      if (answer.status === 404) return undefined
      const paths = parse(expectOk(answer, path))
      return Array.isArray(paths) ? paths.filter((each) => typeof each === 'string') : []
    },
    async submit(prompt, clientId, extraData, options): Promise<PromptAnswer> {
      const front = options?.front === true ? { front: true } : {}
      const extra = extraData === undefined ? {} : { extra_data: extraData }
      const body = { prompt, client_id: clientId, ...extra, ...front }
      const answer = await call({ method: 'POST', path: '/prompt', body, timeoutMs: SUBMIT_MS })
      if (answer.status >= 400 && answer.status < 500) {
        return { kind: 'refused', status: answer.status, body: parseLenient(answer) }
      }
      const queued = parse(expectOk(answer, '/prompt')) as { prompt_id?: unknown }
      if (typeof queued.prompt_id !== 'string') throw new Error('POST /prompt answered without a prompt_id')
      return { kind: 'queued', promptId: queued.prompt_id }
    },
    async history(promptId) {
      const all = (await json(`/history/${encodeURIComponent(promptId)}`)) as Record<string, unknown>
      return all[promptId]
    },
    async queue() {
      const lists = (await json('/queue')) as { queue_running?: unknown; queue_pending?: unknown }
      return { running: promptIds(lists.queue_running), pending: promptIds(lists.queue_pending) }
    },
    interrupt: (promptId) => post('/interrupt', { prompt_id: promptId }),
    dequeue: (promptId) => post('/queue', { delete: [promptId] }),
    forget: (promptId) => post('/history', { delete: [promptId] }),
    async view(file: OutputFile, maxBytes: number): Promise<ViewedFile> {
      const { filename, subfolder, type } = file
      const path = `/view?${new URLSearchParams({ filename, subfolder, type })}`
      const answer = expectOk(await call({ method: 'GET', path, maxBytes }), path)
      const { contentType, bytes, data } = answer
      return { contentType, bytes, ...(data === undefined ? {} : { data }) }
    },
    close: () => agent.destroy(),
  }
}

async function send(baseUrl: string, agent: Agent, call: Call): Promise<Answer> {
  try {
    return await sendOnce(baseUrl, agent, call)
  } catch (error) {
    // A kept-alive connection that ComfyUI closed at this very moment: nothing was received there.
    if (!(error instanceof StaleConnection)) throw error
    return await sendOnce(baseUrl, agent, call)
  }
}

class StaleConnection extends Error {}

function sendOnce(baseUrl: string, agent: Agent, call: Call): Promise<Answer> {
  const body = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body))
  const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
  return new Promise((resolve, reject) => {
    const outgoing = request(new URL(call.path, baseUrl), { method: call.method, agent, headers }, (incoming) => {
      readBody(incoming, call.maxBytes ?? JSON_BYTES).then(resolve, reject)
    })
    outgoing.setTimeout(call.timeoutMs ?? ANSWER_MS, () => {
      outgoing.destroy(new Error(`${call.method} ${call.path}: no answer in ${(call.timeoutMs ?? ANSWER_MS) / 1000} s`))
    })
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const isStale = outgoing.reusedSocket && error.code === 'ECONNRESET'
      reject(isStale ? new StaleConnection(error.message, { cause: error }) : error)
    })
    outgoing.end(body)
  })
}

async function readBody(incoming: IncomingMessage, maxBytes: number): Promise<Answer> {
  const status = incoming.statusCode ?? 0
  const contentType = incoming.headers['content-type'] ?? 'application/octet-stream'
  const announced = Number(incoming.headers['content-length'] ?? Number.NaN)
  if (announced > maxBytes) {
    incoming.destroy()
    return { status, contentType, bytes: announced, data: undefined }
  }
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes <= maxBytes) chunks.push(chunk)
  }
  return { status, contentType, bytes, data: bytes <= maxBytes ? Buffer.concat(chunks) : undefined }
}

function expectOk(answer: Answer, path: string): Answer {
  if (answer.status >= 200 && answer.status < 300) return answer
  throw new Error(`ComfyUI answered ${answer.status} to ${path}`)
}

function parse(answer: Answer): unknown {
  if (answer.data === undefined)
    throw new Error(`ComfyUI answered with ${answer.bytes} bytes of JSON, which is too much`)
  return JSON.parse(answer.data.toString('utf8'))
}

function parseLenient(answer: Answer): unknown {
  const text = answer.data?.toString('utf8') ?? ''
  return answer.contentType.includes('json') ? JSON.parse(text) : text
}

function logMessages(document: unknown): readonly string[] {
  const entries = Array.isArray(document) ? document : (document as { entries?: unknown }).entries
  if (!Array.isArray(entries)) return []
  return entries.map((entry: { m?: unknown }) => (typeof entry?.m === 'string' ? entry.m : ''))
}

/** An item of ComfyUI's queue is `[number, prompt_id, prompt, extra_data, outputs]`. */
function promptIds(items: unknown): readonly string[] {
  if (!Array.isArray(items)) return []
  return items.flatMap((item) => (Array.isArray(item) && typeof item[1] === 'string' ? [item[1]] : []))
}
