import { get } from 'node:http'
import { expect, test } from 'vitest'
import { serveHttp } from '../../../src/host/http-server.ts'
import { freePort } from './free-port.ts'

test('a server that closes answers first what it was asked', async () => {
  const port = await freePort()
  let asked = (): void => undefined
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve
  })
  const handler = {
    eventsPath: '/events',
    async answer() {
      asked()
      await new Promise((resolve) => setTimeout(resolve, 100))
      return { status: 200, headers: {}, body: 'here' }
    },
    prepare: async () => undefined,
    greet: () => [],
    beat: () => undefined,
    failed: () => undefined,
  }
  const server = await serveHttp(handler, { port, host: '127.0.0.1' })
  const status = new Promise<number>((resolve, reject) => {
    get({ port, host: '127.0.0.1', path: '/health' }, (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    }).on('error', reject)
  })
  await isAsked
  const begunMs = Date.now()
  await server.close()
  // Long before it would lose patience with who keeps a connection open.
  expect(Date.now() - begunMs).toBeLessThan(700)
  expect(await status).toBe(200)
})
