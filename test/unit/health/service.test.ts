import { describe, expect, it } from 'vitest'
import type { Sighting, StateRecord } from '../../../src/health/record.ts'
import { serveHealth } from '../../../src/health/service.ts'
import type { HttpHandler, ServerEvent } from '../../../src/host/ports.ts'
import { movingClock } from '../commands/ports.ts'
import { BEGUN_US, buildReady, buildState, seen } from './build-state.ts'

/** A server whose single reader keeps what it is sent, over a record that the test replaces. */
async function serve(readers = 1) {
  const sent: ServerEvent[] = []
  let handler: HttpHandler | undefined
  let changed: (() => void) | undefined
  let sighting: Sighting = { alive: false }
  let missing = true
  let looks = 0
  let measured = 0
  const record: StateRecord = {
    async look() {
      looks += 1
      return sighting
    },
    watch(onChange) {
      if (missing) throw Object.assign(new Error('no directory'), { code: 'ENOENT' })
      changed = onChange
      return () => {
        changed = undefined
      }
    },
  }
  const failures: unknown[] = []
  const server = await serveHealth(
    {
      record,
      clock: movingClock(BEGUN_US),
      async measure() {
        measured += 1
        const figures = { undeliveredBytes: 0, lostSpans: 0, deliveredSpans: 0, lastDeliveryUs: 0 }
        return { jobs: [], telemetry: { spoolBytes: 7, ...figures } }
      },
      failed: (error) => void failures.push(error),
      async serve(given) {
        handler = given
        return {
          readers: () => readers,
          broadcast: (events) => void sent.push(...events),
          close: async () => undefined,
        }
      },
    },
    { fd: 3 },
  )
  if (handler === undefined) throw new Error('nothing was served')
  return {
    sent,
    failures,
    handler,
    server,
    looks: () => looks,
    measured: () => measured,
    watched: () => changed !== undefined,
    async replace(next: Sighting, how: 'seen' | 'unseen' = 'seen') {
      missing = false
      sighting = next
      if (how === 'seen') changed?.()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

describe('serveHealth', () => {
  it('answers from the record as it is at that moment', async () => {
    const { handler, replace } = await serve()
    expect((await handler.answer({ method: 'GET', path: '/ready' })).status).toBe(503)
    await replace(seen(buildReady()), 'unseen')
    expect((await handler.answer({ method: 'GET', path: '/ready' })).status).toBe(200)
  })

  it('measures only for those who ask for metrics', async () => {
    const { handler, measured } = await serve()
    await handler.answer({ method: 'GET', path: '/status' })
    expect(measured()).toBe(0)
    const { body } = await handler.answer({ method: 'GET', path: '/metrics' })
    expect(body).toContain('comfy_machine_telemetry_spool_bytes 7\n')
    expect(measured()).toBe(1)
  })

  it('greets with a snapshot, then sends what changed', async () => {
    const { handler, replace, sent } = await serve()
    await replace(seen(buildState()), 'unseen')
    await handler.prepare()
    expect(handler.greet().map(({ event }) => event)).toEqual(['snapshot'])
    sent.length = 0
    await replace(seen(buildState({ warnings: ['slow disk'] })))
    expect(sent.map(({ event }) => event)).toEqual(['machine'])
  })

  it('begins to watch with a heartbeat when the directory came later', async () => {
    const { handler, replace, sent, watched } = await serve()
    await handler.prepare()
    expect(watched()).toBe(false)
    await replace(seen(buildState()), 'unseen')
    handler.beat()
    await new Promise((resolve) => setImmediate(resolve))
    expect(watched()).toBe(true)
    expect(sent.map(({ event }) => event)).toEqual(['snapshot'])
  })

  it('reads nothing for a change that nobody follows', async () => {
    const { handler, replace, looks } = await serve(0)
    await replace(seen(buildState()))
    await handler.prepare()
    const before = looks()
    await replace(seen(buildReady()))
    expect(looks()).toBe(before)
  })
})
