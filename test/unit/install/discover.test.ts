import { describe, expect, it } from 'vitest'
import type { HttpClient, HttpRequest, HttpResponse } from '../../../src/host/install-ports.ts'
import type { Components } from '../../../src/install/components.ts'
import { discoverComponents } from '../../../src/install/discover.ts'
import { spanIdOf } from '../../../src/trace-context.ts'
import { childrenOf, INVOCATION, memoryContext } from './context.ts'

const RETRY = { tries: 3, baseMs: 100, maxMs: 1000 }
const json = (data: unknown, status = 200, headers: Record<string, string> = {}): HttpResponse => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  text: JSON.stringify({ data, error: null }),
})
const defaults = [{ name: 'a', repositoryUrl: 'https://git.example/a', requirements: true, install_order: 1 }]
const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

/** Answers one request after the other with what is given; the last answer repeats. */
function answering(...answers: readonly (HttpResponse | Error)[]): {
  http: () => Promise<HttpClient>
  seen: HttpRequest[]
} {
  const seen: HttpRequest[] = []
  const request = async (one: HttpRequest): Promise<HttpResponse> => {
    const answer = answers[Math.min(seen.push(one), answers.length) - 1]
    if (answer === undefined || answer instanceof Error) throw answer
    return answer
  }
  return { http: async () => ({ request }), seen }
}

const FILE = '/w/components.json'
const read = (text: string | undefined): Components => JSON.parse(text ?? '') as Components

describe('discoverComponents', () => {
  it('asks for defaults and all workflows in one request each, with the key, and writes the lock', async () => {
    const context = memoryContext({ workflows: ['w1', 'w2'] }, { EMPROPS_API_KEY: 'k' })
    const workflows = ['w1', 'w2'].map((name) => ({ workflow_name: name, models: [], custom_nodes: [] }))
    const { http, seen } = answering(json(defaults), json(workflows))
    await discoverComponents(context, http, RETRY)
    expect(seen.map(({ method, url, body }) => [method, url, body])).toEqual([
      ['GET', 'https://api.example/custom-nodes/defaults', undefined],
      ['POST', 'https://api.example/workflows/dependencies', '{"workflow_names":["w1","w2"]}'],
    ])
    expect(seen[0]?.headers['authorization']).toBe('Bearer k')
    expect(read(context.texts.get(FILE)).nodes.map(({ name }) => name)).toEqual(['a'])
    expect(context.lines.map(({ kind }) => kind)).toEqual(['step', 'child', 'child', 'fact'])
  })

  it('does not write what it has already', async () => {
    const context = memoryContext()
    await discoverComponents(context, answering(json(defaults)).http, RETRY)
    const before = context.texts.get(FILE) ?? ''
    context.texts.set(FILE, before.replace('"name"', '"name" '))
    await discoverComponents(context, answering(json(defaults)).http, RETRY)
    expect(context.texts.get(FILE)).not.toBe(before)
    expect(context.lines.at(-1)).toMatchObject({ attributes: { 'components.changed': false } })
  })

  it('tries again after 503 and a refused connection, and waits as long as the server asks', async () => {
    const context = memoryContext()
    await discoverComponents(
      context,
      answering(json(null, 503, { 'retry-after': '7' }), refused, json(defaults)).http,
      RETRY,
    )
    expect(context.sleeps[0]).toBe(7000)
    expect(context.lines.filter(({ kind }) => kind === 'failure')).toMatchObject([
      { code: 'CM1602', attempt: 1 },
      { code: 'CM1601', attempt: 2 },
    ])
    expect(context.lines.find(({ kind }) => kind === 'child')).toMatchObject({
      state: 'done',
      attributes: { attempts: 3 },
      attempts: [
        { code: 'CM1602', attempt: 1 },
        { code: 'CM1601', attempt: 2 },
      ],
    })
    const span = spanIdOf(INVOCATION, 'child/GET /custom-nodes/defaults')
    const ofCall = context.entries.filter(({ message }) => message.startsWith('GET /custom-nodes'))
    expect(ofCall.map(({ fields }) => fields?.['SPAN_ID'])).toEqual([span, span, span])
    expect(context.entries.at(-1)?.fields?.['SPAN_ID']).toBe(INVOCATION.slice(0, 16))
  })

  it.each([
    ['a refused key', json(null, 401), 'CM1603'],
    ['another status', json(null, 404), 'CM1602'],
    ['a page', { status: 200, headers: { 'content-type': 'text/html' }, text: '<html>' }, 'CM1604'],
    ['half a body', { status: 200, headers: { 'content-type': 'application/json' }, text: '{"data":' }, 'CM1604'],
    ['no envelope', { status: 200, headers: { 'content-type': 'application/json' }, text: '[]' }, 'CM1604'],
    ['no data', json(null), 'CM1604'],
    ['another shape', json([{ name: 7 }]), 'CM1604'],
    ['too much', Object.assign(new Error('large'), { code: 'EMSGSIZE' }), 'CM1604'],
    ['an error', { ...json(null), text: '{"data":[],"error":"no database"}' }, 'CM1602'],
  ])('fails at once on %s', async (_what, answer, code) => {
    const { http, seen } = answering(answer)
    const context = memoryContext()
    await expect(discoverComponents(context, http, RETRY)).rejects.toMatchObject({ code })
    expect(seen).toHaveLength(1)
    expect(context.texts.has(FILE)).toBe(false)
  })

  it('fails with CM1601 when nobody answers, after all tries', async () => {
    const { http, seen } = answering(refused)
    const context = memoryContext()
    await expect(discoverComponents(context, http, RETRY)).rejects.toMatchObject({
      code: 'CM1601',
      type: 'network_unreachable',
    })
    expect(childrenOf(context).get('GET /custom-nodes/defaults')).toMatchObject({
      state: 'failed',
      attempts: [{ attempt: 1 }, { attempt: 2 }, { attempt: 3 }],
    })
    expect(seen).toHaveLength(3)
  })

  it('names a wanted workflow that the API does not know', async () => {
    const pending = discoverComponents(
      memoryContext({ workflows: ['gone'] }),
      answering(json(defaults), json([])).http,
      RETRY,
    )
    await expect(pending).rejects.toMatchObject({ code: 'CM1605', message: expect.stringContaining('workflow gone') })
  })

  it('goes on with the last good answer only where that is allowed, and only for the same question', async () => {
    const first = memoryContext({ staleOk: true })
    await discoverComponents(first, answering(json(defaults)).http, RETRY)
    await discoverComponents(first, answering(refused).http, RETRY)
    expect(first.lines.at(-1)).toMatchObject({ attributes: { 'components.stale': true, 'components.nodes': 1 } })
    const other = memoryContext({ staleOk: true, workflows: ['w'] })
    other.texts.set(FILE, first.texts.get(FILE) ?? '')
    await expect(discoverComponents(other, answering(refused).http, RETRY)).rejects.toMatchObject({ code: 'CM1601' })
    const strict = memoryContext({ staleOk: false })
    strict.texts.set(FILE, first.texts.get(FILE) ?? '')
    await expect(discoverComponents(strict, answering(refused).http, RETRY)).rejects.toMatchObject({ code: 'CM1601' })
  })

  it('needs no API where nothing is wanted of one, and refuses wishes without one', async () => {
    const { http, seen } = answering(refused)
    const context = memoryContext({ apiUrl: null })
    await discoverComponents(context, http, RETRY)
    expect(read(context.texts.get(FILE))).toMatchObject({ nodes: [], models: [] })
    expect(seen).toHaveLength(0)
    const wishing = discoverComponents(memoryContext({ apiUrl: null, workflows: ['w'] }), http, RETRY)
    await expect(wishing).rejects.toMatchObject({ code: 'CM1501' })
  })
})
