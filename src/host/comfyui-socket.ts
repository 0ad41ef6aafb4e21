import { WebSocket } from 'ws'
import type { ComfyMessage, ComfySocket, ComfySocketEvent } from './ports.ts'

const FIRST_RETRY_MS = 50
const LAST_RETRY_MS = 2000
const HANDSHAKE_MS = 5000

/** ComfyUI's WebSocket (`/ws?clientId=`) at `baseUrl`, connecting at once and again whenever it is lost. */
export function openComfySocket(baseUrl: string, clientId: string): ComfySocket {
  const url = new URL(`/ws?clientId=${encodeURIComponent(clientId)}`, baseUrl)
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  const listeners = new Set<(event: ComfySocketEvent) => void>()
  const tell = (event: ComfySocketEvent): void => {
    for (const listener of listeners) listener(event)
  }
  let retryMs = FIRST_RETRY_MS
  let timer: NodeJS.Timeout | undefined
  let isUp = false
  let isClosed = false
  let socket = connect()

  function connect(): WebSocket {
    const opened = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: HANDSHAKE_MS })
    let reason = 'closed by ComfyUI'
    opened.on('open', () => {
      isUp = true
      retryMs = FIRST_RETRY_MS
      tell({ kind: 'up' })
    })
    opened.on('message', (data: Buffer, isBinary: boolean) => {
      const message = isBinary ? undefined : parseMessage(data)
      if (message !== undefined) tell({ kind: 'message', message })
    })
    opened.on('error', (error) => {
      reason = error.message
    })
    opened.on('close', () => {
      const wasUp = isUp
      isUp = false
      if (isClosed) return
      timer = setTimeout(() => {
        socket = connect()
      }, retryMs)
      retryMs = Math.min(retryMs * 2, LAST_RETRY_MS)
      if (wasUp) tell({ kind: 'down', reason })
    })
    return opened
  }

  return {
    isUp: () => isUp,
    follow(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      isClosed = true
      clearTimeout(timer)
      socket.terminate()
    },
  }
}

function parseMessage(data: Buffer): ComfyMessage | undefined {
  const parsed: unknown = JSON.parse(data.toString('utf8'))
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { type, data: content } = parsed as { type?: unknown; data?: unknown }
  if (typeof type !== 'string' || typeof content !== 'object' || content === null) return undefined
  return { type, data: content as Record<string, unknown> }
}
