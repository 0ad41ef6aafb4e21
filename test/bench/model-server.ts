import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { must } from '../host/command.ts'

const WORKERS = 2
const RATE = 50_000_000
const ROUND_TRIP_MS = 50
// What plain curl got through in docs of the field: 1 GiB in 19 s.
const WINDOW_BYTES = 2.75 * 1024 * 1024
const READY_MS = 5000

/** How the server is reached. */
export interface ModelServer {
  /** Base URL of the folder: unlimited, with a rate for each connection, a round trip away, over TLS. */
  readonly urls: Readonly<Record<'plain' | 'limited' | 'far' | 'tls', string>>
  /** Certificate of the authority that signed the server's. */
  readonly authority: string
  /** For people: what serves, and how. */
  readonly description: string
  stop(): void
}

/** nginx as a child over `root`, and a proxy in front of it that is 50 ms away; everything of theirs lies in `scratch`. */
export async function startModelServer(root: string, scratch: string): Promise<ModelServer> {
  const [plain = 0, limited = 0, tls = 0] = await freePorts(3)
  const authority = await makeCertificates(scratch)
  const config = path.join(scratch, 'nginx.conf')
  await writeFile(config, configOf(root, scratch, { plain, limited, tls }))
  const children: ChildProcess[] = []
  const stop = (): void => {
    for (const child of children) child.kill('SIGTERM')
  }
  try {
    children.push(spawn('nginx', ['-e', 'stderr', '-c', config], { stdio: ['ignore', 'ignore', 'inherit'] }))
    for (const port of [plain, limited, tls]) await listening(port)
    const program = path.join(scratch, 'delay-proxy')
    await must(['cc', '-O2', '-o', program, path.join(import.meta.dirname, 'delay-proxy.c')])
    const proxy = spawn(program, [plain, ROUND_TRIP_MS, WINDOW_BYTES].map(String), {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(proxy)
    const [line] = await once(proxy.stdout, 'data')
    const far = Number(String(line))
    return {
      urls: {
        plain: `http://127.0.0.1:${plain}`,
        limited: `http://127.0.0.1:${limited}`,
        far: `http://127.0.0.1:${far}`,
        tls: `https://127.0.0.1:${tls}`,
      },
      authority,
      description: `nginx, ${WORKERS} workers, sendfile, keep-alive without end; the delay is a round trip of ${ROUND_TRIP_MS} ms and a window of ${WINDOW_BYTES / 1024} KiB for each connection`,
      stop,
    }
  } catch (error) {
    stop()
    throw error
  }
}

function configOf(root: string, scratch: string, ports: Readonly<Record<'plain' | 'limited' | 'tls', number>>): string {
  const folders = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const user = process.getuid?.() === 0 ? 'user root;\n' : ''
  return `${user}daemon off;
worker_processes ${WORKERS};
error_log stderr;
pid ${scratch}/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  keepalive_timeout 300s;
  root ${root};
${folders.map((name) => `  ${name}_temp_path ${scratch}/${name};`).join('\n')}
  server { listen 127.0.0.1:${ports.plain}; }
  server { listen 127.0.0.1:${ports.limited}; limit_rate ${RATE}; }
  server {
    listen 127.0.0.1:${ports.tls} ssl;
    ssl_certificate ${scratch}/server.pem;
    ssl_certificate_key ${scratch}/server.key;
  }
}
`
}

/** Certificate of a fresh authority; the server's key and certificate, signed by it, lie beside it. */
async function makeCertificates(scratch: string): Promise<string> {
  const at = (name: string): string => path.join(scratch, name)
  const key = (name: string): string[] => [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:prime256v1',
    '-nodes',
    '-keyout',
    at(name),
  ]
  const openssl = (...args: readonly string[]): Promise<string> =>
    must(['openssl', 'req', '-x509', '-days', '2', ...args])
  await openssl(...key('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=comfy-machine bench')
  await openssl(
    ...key('server.key'),
    ...['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-out', at('server.pem'), '-subj', '/CN=127.0.0.1'],
    ...['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'],
  )
  return at('ca.pem')
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

async function listening(port: number): Promise<void> {
  const end = performance.now() + READY_MS
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch (error) {
      if (performance.now() > end) throw error
      await sleep(20)
    } finally {
      socket.destroy()
    }
  }
}
