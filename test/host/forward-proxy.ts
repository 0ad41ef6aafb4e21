import { createServer, request, type Server } from 'node:http'
import { connect } from 'node:net'

/** A way out for a test host that has none: an HTTP proxy on an address of this machine. */
export interface ForwardProxy {
  readonly url: string
  close(): void
}

/** Opens a proxy for http: and, by CONNECT, https: (RFC 9110) on an address that only a test host reaches. */
export async function openForwardProxy(address: string): Promise<ForwardProxy> {
  const server = createServer((asked, answer) => {
    const url = new URL(asked.url ?? '')
    const onward = request(url, { method: asked.method, headers: asked.headers }, (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers)
      got.pipe(answer)
    })
    onward.on('error', (error) => {
      if (!answer.headersSent) answer.writeHead(502)
      answer.end(`${error.message}\n`)
    })
    asked.pipe(onward)
  })
  server.on('connect', (asked, socket, head) => {
    const { hostname, port } = new URL(`http://${asked.url}`)
    const onward = connect(Number(port || 443), hostname, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.write(head)
      onward.pipe(socket)
      socket.pipe(onward)
    })
    onward.on('error', () => socket.destroy())
    socket.on('error', () => onward.destroy())
  })
  const port = await listen(server, address)
  return {
    url: `http://${address}:${port}`,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

function listen(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, address, () => {
      const bound = server.address()
      resolve(typeof bound === 'object' && bound !== null ? bound.port : 0)
    })
  })
}
