import { describe, expect, it } from 'vitest'
import { answerRequest } from '../../../src/health/routes.ts'
import { BEGUN_US, buildReady, seen } from './build-state.ts'

const ask = (method: string, path: string, sighting = seen(buildReady())) =>
  answerRequest({ method, path }, sighting, BEGUN_US + 30_000_000)

describe('answerRequest', () => {
  it('answers each path of the contract', () => {
    for (const path of ['/', '/health', '/ready', '/status', '/metrics'])
      expect(ask('GET', path).status, path).toBe(200)
    expect(ask('HEAD', '/ready').status).toBe(200)
  })

  it('is 503 without a record, but metrics can still be scraped', () => {
    const nothing = { alive: false }
    for (const path of ['/', '/health', '/ready', '/status']) expect(ask('GET', path, nothing).status, path).toBe(503)
    expect(ask('GET', '/metrics', nothing).status).toBe(200)
  })

  it('refuses other paths and methods with JSON', () => {
    for (const path of ['/restart', '/ready/', '/__proto__', '/constructor']) {
      const reply = ask('GET', path)
      expect(reply.status, path).toBe(404)
      expect(JSON.parse(reply.body)).toMatchObject({ error: 'not_found' })
    }
    for (const path of ['/ready', '/events']) {
      const reply = ask('POST', path)
      expect(reply.status, path).toBe(405)
      expect(reply.headers['allow']).toBe('GET, HEAD')
      expect(JSON.parse(reply.body)).toMatchObject({ error: 'method_not_allowed' })
    }
  })
})
