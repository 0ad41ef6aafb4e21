import { createHash, type Hash } from 'node:crypto'
import * as fs from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { dirname } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import { codeOf, networkFailureType } from '../install/network-failure.ts'
import { delayAfter, parseRetryAfter, type RetryPolicy } from '../install/retry.ts'
import { judgeStatus, parseContentRange, parsePartRecord, planResume } from '../models/resume.ts'
import { hashFile } from './digest.ts'
import { openStreamSource, type StreamSource } from './download-stream.ts'
import { syncDirectory, systemFiles } from './files.ts'
import type { Downloader, DownloadRequest, DownloadResult } from './install-ports.ts'
import type { Clock } from './ports.ts'

/** What downloads need. */
export interface DownloaderOptions {
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly proxies: Readonly<Record<string, string>>
  readonly retry: RetryPolicy
}

/** A failure after which trying again may help; `waitMs` is what the server asked for. */
class Interrupted extends Error {
  readonly failure: MachineError
  readonly waitMs: number

  constructor(failure: MachineError, waitMs = 0) {
    super(failure.message)
    this.failure = failure
    this.waitMs = waitMs
  }
}

/** Streams files to `<destination>.part`, resumes them by Range and If-Range, and renames them when size and sha256 agree. */
export function openDownloader(options: DownloaderOptions): Downloader & { close(): void } {
  const source = openStreamSource(options.proxies)
  return {
    hash: hashFile,
    close: () => source.close(),
    async download(request) {
      await fs.mkdir(dirname(request.destination), { recursive: true })
      for (let attempt = 1; ; attempt++) {
        try {
          return { ...(await tryOnce(request, source, options.signal)), attempts: attempt }
        } catch (error) {
          options.signal.throwIfAborted()
          const interrupted = toInterrupted(error, request)
          if (attempt >= options.retry.tries) throw interrupted.failure
          request.onRetry(interrupted.failure, attempt)
          await options.clock.sleep(
            delayAfter(attempt, options.retry, Math.random(), interrupted.waitMs),
            options.signal,
          )
          options.signal.throwIfAborted()
        }
      }
    },
  }
}

function toInterrupted(error: unknown, request: DownloadRequest): Interrupted {
  if (error instanceof Interrupted) return error
  if (error instanceof MachineError) throw error
  const code = codeOf(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    throw new MachineError('CM1806', `${request.destination}: no space left`, { cause: error })
  }
  if (code === 'EACCES' || code === 'EROFS' || code === 'EPERM') {
    throw new MachineError('CM0401', `${request.destination}: ${messageOf(error)}`, { cause: error })
  }
  const detail = `${new URL(request.url).origin}: ${messageOf(error)}`
  return new Interrupted(new MachineError('CM1801', detail, { cause: error, type: networkFailureType(code) }))
}

async function tryOnce(
  request: DownloadRequest,
  source: StreamSource,
  signal: AbortSignal,
): Promise<Omit<DownloadResult, 'attempts'>> {
  const part = `${request.destination}.part`
  const recordPath = `${part}.json`
  const partBytes = (await systemFiles.stat(part))?.bytes ?? 0
  const start = planResume(partBytes, parsePartRecord(await systemFiles.readText(recordPath)), request)
  const resuming = start.from > 0
  const range = resuming ? { range: `bytes=${start.from}-` } : undefined
  const ifRange = 'validator' in start && start.validator !== null ? { 'if-range': start.validator } : undefined
  const whole = resuming && request.bytes === start.from
  const response = whole ? undefined : await source.open({ ...request, headers: { ...range, ...ifRange }, signal })
  const body = response === undefined ? undefined : await judge(response, start.from, request, part)
  const from = response === undefined ? start.from : (body?.from ?? start.from)
  if (response !== undefined && body !== undefined) {
    const { etag, 'last-modified': lastModified } = response.headers
    const record = { url: request.url, etag: etag ?? null, lastModified: lastModified ?? null, total: body.total }
    await systemFiles.writeText(recordPath, JSON.stringify(record))
  }
  const hash = createHash('sha256')
  if (from > 0) {
    await hashFile(part, undefined, hash)
    request.onResume(from)
  }
  const received = await receive(response, part, from, hash, request)
  const total = request.bytes ?? body?.total ?? null
  const bytes = from + received
  if (total !== null && bytes !== total) {
    if (bytes > total) await removePart(part)
    request.onBytes(-bytes)
    throw new Interrupted(new MachineError('CM1805', `${request.destination}: ${bytes} of ${total} bytes arrived`))
  }
  const sha256 = hash.digest('hex')
  if (request.sha256 !== null && sha256 !== request.sha256) {
    await removePart(part)
    request.onBytes(-bytes)
    const failure = new MachineError(
      'CM1804',
      `${request.destination}: sha256 is ${sha256}, expected ${request.sha256}`,
    )
    if (from > 0) throw new Interrupted(failure)
    throw failure
  }
  await fs.rename(part, request.destination)
  await fs.rm(recordPath, { force: true })
  await syncDirectory(dirname(request.destination))
  return { bytes, sha256, resumed: from }
}

async function judge(
  response: IncomingMessage,
  from: number,
  request: DownloadRequest,
  part: string,
): Promise<{ from: number; total: number | null }> {
  const status = response.statusCode ?? 0
  const meaning = judgeStatus(status)
  const said = `${new URL(request.url).origin} answered ${status} ${response.statusMessage ?? ''}`.trim()
  if (meaning === 'whole') {
    const length = response.headers['content-length']
    return { from: 0, total: length === undefined ? null : Number(length) }
  }
  const range = meaning === 'part' ? parseContentRange(response.headers['content-range']) : undefined
  if (range !== undefined && range.from === from) return { from, total: range.total }
  response.destroy()
  if (meaning === 'part' || meaning === 'range') {
    await removePart(part)
    throw new Interrupted(new MachineError('CM1805', `${said} to a range that does not fit`))
  }
  if (meaning === 'auth') {
    const why = request.token === null ? 'and no token is set' : 'to the token'
    throw new MachineError('CM1803', `${said} ${why}`)
  }
  const failure = new MachineError('CM1802', said)
  if (meaning !== 'retry') throw failure
  throw new Interrupted(failure, parseRetryAfter(response.headers['retry-after'], Date.now()))
}

/** Bytes that arrived after `from`; what arrived before a cut stays in the part and is synced to disk. */
async function receive(
  response: IncomingMessage | undefined,
  part: string,
  from: number,
  hash: Hash,
  request: DownloadRequest,
): Promise<number> {
  const handle = await fs.open(part, from > 0 ? 'r+' : 'w')
  let received = 0
  try {
    for await (const chunk of response ?? []) {
      const data = chunk as Buffer
      hash.update(data)
      await writeAll(handle, data, from + received)
      received += data.length
      request.onBytes(data.length)
    }
    return received
  } catch (error) {
    request.onBytes(-(from + received))
    throw error
  } finally {
    await handle.sync()
    await handle.close()
  }
}

async function writeAll(handle: fs.FileHandle, data: Buffer, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += (await handle.write(data, done, data.length - done, position + done)).bytesWritten
  }
}

async function removePart(part: string): Promise<void> {
  await fs.rm(part, { force: true })
  await fs.rm(`${part}.json`, { force: true })
}
