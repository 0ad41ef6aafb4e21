import { describe, expect, it } from 'vitest'
import { MachineError } from '../../../src/errors.ts'
import { digest } from '../../../src/host/digest.ts'
import type { FetchRequest } from '../../../src/host/model-ports.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import { installModels } from '../../../src/models/install-models.ts'
import type { Progress, ReportChild } from '../../../src/report.ts'
import { spanIdOf } from '../../../src/trace-context.ts'
import { INVOCATION, type MemoryContext, memoryContext } from '../install/context.ts'
import { modelOf, modelWorld } from './memory-store.ts'

const MIB = 1024 * 1024
const CONTENT = 'x'.repeat(4 * MIB)
const secretUrl = (path: string): string => `https://user:secret@models.example:8443/${path}?token=secret`
const large = (path: string, changes: Partial<WantedModel> = {}): WantedModel =>
  modelOf(path, CONTENT, { url: secretUrl(path), ...changes })

/** A download takes two seconds, of which half a second try was in vain and 1 MiB was there before. */
const slowly =
  ({ pass }: MemoryContext) =>
  async ({ onBytes, onResume, onRetry, sources }: FetchRequest): Promise<void> => {
    if (sources.some(({ url }) => url.includes('gone'))) return
    await pass(500)
    onRetry(new MachineError('CM1805', 'cut'), 1)
    onResume(MIB)
    for (let second = 0; second < 3; second++) {
      await pass(500)
      onBytes(MIB)
    }
  }

async function run(
  models: readonly WantedModel[],
  texts: Readonly<Record<string, string>> = {},
  which: 'before' | 'after' = 'before',
) {
  const context = memoryContext({}, {}, 18)
  context.texts.set('/w/components.json', JSON.stringify({ schema: 1, nodes: [], models }))
  for (const [path, text] of Object.entries(texts)) context.texts.set(path, text)
  const world = modelWorld(context, slowly(context))
  for (const { url } of models) if (url?.includes('gone') === false) world.served.set(url, CONTENT)
  const error = await installModels(context, world.open, 'components.json', which).catch((thrown: unknown) => thrown)
  const children = context.lines.filter((line): line is ReportChild => line.kind === 'child')
  return { ...context, world, error, children }
}

describe('installModels', () => {
  it('brings what the start needs, and afterwards the others', async () => {
    const models = [large('vae/ae'), large('vae/wan', { when: 'after_start' })]
    const namesOf = ({ children }: Awaited<ReturnType<typeof run>>) => children.map(({ key }) => key)
    const factsOf = ({ lines }: Awaited<ReturnType<typeof run>>) =>
      Object.assign({}, ...lines.map((line) => (line.kind === 'fact' ? line.attributes : {}))) as object
    const before = await run(models)
    expect(namesOf(before)).toEqual(['vae/ae'])
    expect(factsOf(before)).toMatchObject({ 'models.wanted': 1, 'models.later': 1 })
    const after = await run(models, {}, 'after')
    expect(namesOf(after)).toEqual(['vae/wan'])
    expect(factsOf(after)).toMatchObject({ 'models.wanted': 1 })
    expect(factsOf(after)).not.toHaveProperty(['models.later'])
  })

  it('has a child per model with bytes, source, rate, hash and attempts, and nothing secret', async () => {
    const { children, lines, entries, told } = await run([large('vae/ae.safetensors')])
    expect(children).toMatchObject([
      {
        name: 'model ae.safetensors',
        key: 'vae/ae.safetensors',
        state: 'done',
        attributes: {
          'model.action': 'download',
          'model.bytes': 4 * MIB,
          'model.source': 'models.example:8443',
          'model.seconds': 2,
          'model.mib_per_s': 2,
          'model.placement': 'linked',
          'model.sha256': digest(CONTENT),
          'model.sha256_expected': digest(CONTENT),
          'model.verified': true,
          'model.pinned': false,
          'model.attempts': 1,
        },
        attempts: [{ code: 'CM1805', attempt: 1 }],
      },
    ])
    expect(JSON.stringify([lines, entries, told])).not.toContain('secret')
  })

  it('tells models of one name apart', async () => {
    const { children } = await run([large('vae/a'), large('loras/a')])
    expect(new Set(children.map(({ key }) => key)).size).toBe(2)
  })

  it('says what is known of a model that is kept, and takes no lock for it', async () => {
    const known = { schema: 1, files: { a: { bytes: 4, mtimeMs: 1, sha256: digest('1234') } } }
    const texts = { '/w/models.json': JSON.stringify(known), '/w/models/a': '1234' }
    const { children, world } = await run([modelOf('a', '1234')], texts)
    expect(children).toMatchObject([
      { state: 'skipped', attributes: { 'model.bytes': 4, 'model.sha256': digest('1234'), 'model.verified': true } },
    ])
    expect(children[0]?.attributes).not.toHaveProperty('model.mib_per_s')
    expect([world.lock.taken, world.done]).toEqual([0, []])
  })

  it('does not call verified what nobody knows the hash of', async () => {
    const { children } = await run([large('a', { sha256: null })])
    expect(children[0]?.attributes).toMatchObject({ 'model.sha256': digest(CONTENT), 'model.verified': false })
    expect(children[0]?.attributes).not.toHaveProperty('model.sha256_expected')
  })

  it('tells of a failed model when it fails, with its last attempt, and brings the others', async () => {
    const { children, error, texts } = await run([large('gone', { sha256: null }), large('b')])
    expect(children.map(({ key, state }) => [key, state])).toEqual([
      ['gone', 'failed'],
      ['b', 'done'],
    ])
    expect(children[0]).toMatchObject({ failure: { code: 'CM1802' }, attempts: [{ code: 'CM1802', attempt: 1 }] })
    expect(children[0]?.endUs).toBeLessThan(children[1]?.endUs ?? 0)
    expect(error).toMatchObject({ code: 'CM1802', message: 'model gone: models.example answered 404' })
    expect(texts.get('/w/models/b')).toBe(CONTENT)
  })

  it('has the span of the model on every journal line about it', async () => {
    const { entries } = await run([large('vae/a')])
    const ofModel = entries.filter(({ fields }) => fields?.['COMFY_MODEL'] === 'a')
    expect(ofModel.map(({ priority }) => priority)).toEqual(['warning', 'info'])
    for (const { fields } of ofModel) expect(fields?.['SPAN_ID']).toBe(spanIdOf(INVOCATION, 'child/vae/a'))
    expect(entries.at(-1)?.fields?.['SPAN_ID']).toBe(INVOCATION.slice(0, 16))
  })

  it('tells how far it is, also of the file', async () => {
    const { told } = await run([large('a')])
    expect(told).toContain('0/1 models, 3.1/4.2 MB, 1.0 MB/s, 1 s left')
    expect(told.at(-2)).toBe('1/1 models, 4.2/4.2 MB, 1.6 MB/s')
    const files = told.flatMap((each) => (typeof each === 'string' ? [] : ((each as Progress).files ?? [])))
    expect(files).toContainEqual(expect.objectContaining({ name: 'a', bytes: 3 * MIB, totalBytes: 4 * MIB }))
  })

  it('leaves what is loaded after the start, and finds what is only named', async () => {
    const later = large('later', { when: 'after_start' })
    const named = large('named', { path: null, url: null, sha256: null })
    const { children, world, error } = await run([later, named], { '/w/models/loras/named': '' })
    expect([children.map(({ key, state }) => [key, state]), world.fetched, error]).toEqual([
      [['named', 'skipped']],
      [],
      undefined,
    ])
    expect((await run([named])).error).toMatchObject({ code: 'CM1807' })
  })
})
