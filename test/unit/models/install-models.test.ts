import { describe, expect, it } from 'vitest'
import { MachineError } from '../../../src/errors.ts'
import type { Downloader } from '../../../src/host/install-ports.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import { installModels } from '../../../src/models/install-models.ts'
import type { ReportChild } from '../../../src/report.ts'
import { spanIdOf } from '../../../src/trace-context.ts'
import { INVOCATION, type MemoryContext, memoryContext } from '../install/context.ts'

const MIB = 1024 * 1024

function modelOf(path: string, changes: Partial<WantedModel> = {}): WantedModel {
  return {
    name: path.split('/').at(-1) ?? path,
    url: `https://user:secret@models.example:8443/${path}?token=secret`,
    path,
    bytes: 4 * MIB,
    estimatedBytes: 4 * MIB,
    sha256: 'aa',
    authEnvVar: null,
    sources: [],
    ...changes,
  }
}

/** Brings every file in two seconds, of which half a second try was in vain and 1 MiB was there before. */
function downloaderOf({ pass }: MemoryContext): Downloader {
  return {
    async download({ url, onBytes, onResume, onRetry }) {
      if (url.includes('gone')) throw new MachineError('CM1802', 'models.example answered 404')
      await pass(500)
      onRetry(new MachineError('CM1805', 'cut'), 1)
      onResume(MIB)
      for (let second = 0; second < 3; second++) {
        await pass(500)
        onBytes(MIB)
      }
      return { bytes: 4 * MIB, sha256: 'aa', resumed: MIB, attempts: 2 }
    },
    hash: async () => 'aa',
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
  const tools = async () => ({
    downloader: downloaderOf(context),
    trees: { copyMissing: async () => undefined, listFiles: async () => [] },
  })
  const error = await installModels(context, tools, 'components.json', which).catch((thrown: unknown) => thrown)
  const children = context.lines.filter((line): line is ReportChild => line.kind === 'child')
  return { ...context, error, children }
}

describe('installModels', () => {
  it('brings what the start needs, and afterwards the others', async () => {
    const models = [modelOf('vae/ae'), modelOf('vae/wan', { when: 'after_start' })]
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
    const { children, lines } = await run([modelOf('vae/ae.safetensors')])
    expect(children).toMatchObject([
      {
        name: 'model ae.safetensors',
        key: 'vae/ae.safetensors',
        state: 'done',
        attributes: {
          'model.bytes': 4 * MIB,
          'model.source': 'models.example:8443',
          'model.resumed_bytes': MIB,
          'model.seconds': 2,
          'model.mib_per_s': 1.5,
          'model.sha256': 'aa',
          'model.sha256_expected': 'aa',
          'model.verified': true,
          'model.attempts': 2,
        },
        attempts: [{ code: 'CM1805', attempt: 1 }],
      },
    ])
    expect(JSON.stringify(lines)).not.toContain('secret')
  })

  it('tells models of one name apart', async () => {
    const { children } = await run([modelOf('vae/a'), modelOf('loras/a')])
    expect(new Set(children.map(({ key }) => key)).size).toBe(2)
  })

  it('says what is known of a model that is kept', async () => {
    const known = { schema: 1, files: { a: { bytes: 4, mtimeMs: 1, sha256: 'aa' } } }
    const texts = { '/w/models.json': JSON.stringify(known), '/w/models/a': '1234' }
    const { children } = await run([modelOf('a', { bytes: 4 })], texts)
    expect(children).toMatchObject([
      { state: 'skipped', attributes: { 'model.bytes': 4, 'model.sha256': 'aa', 'model.verified': true } },
    ])
    expect(children[0]?.attributes).not.toHaveProperty('model.mib_per_s')
  })

  it('does not call verified what nobody knows the hash of', async () => {
    const { children } = await run([modelOf('a', { sha256: null })])
    expect(children[0]?.attributes).toMatchObject({ 'model.sha256': 'aa', 'model.verified': false })
    expect(children[0]?.attributes).not.toHaveProperty('model.sha256_expected')
  })

  it('tells of a failed model when it fails, with its last attempt', async () => {
    const { children, error } = await run([modelOf('gone'), modelOf('b')])
    expect(children.map(({ key, state }) => [key, state])).toEqual([
      ['gone', 'failed'],
      ['b', 'done'],
    ])
    expect(children[0]).toMatchObject({ failure: { code: 'CM1802' }, attempts: [{ code: 'CM1802', attempt: 1 }] })
    expect(children[0]?.endUs).toBeLessThan(children[1]?.endUs ?? 0)
    expect(error).toMatchObject({ code: 'CM1802' })
  })

  it('has the span of the model on every journal line about it', async () => {
    const { entries } = await run([modelOf('vae/a')])
    const ofModel = entries.filter(({ fields }) => fields?.['COMFY_MODEL'] === 'a')
    expect(ofModel.map(({ priority }) => priority)).toEqual(['warning', 'info'])
    for (const { fields } of ofModel) expect(fields?.['SPAN_ID']).toBe(spanIdOf(INVOCATION, 'child/vae/a'))
    expect(entries.at(-1)?.fields?.['SPAN_ID']).toBe(INVOCATION.slice(0, 16))
  })

  it('tells how far it is', async () => {
    const { told } = await run([modelOf('a')])
    expect(told).toContain('0/1 models, 3.1/4.2 MB, 1.0 MB/s, 1 s left')
    expect(told.at(-2)).toBe('1/1 models, 4.2/4.2 MB, 1.6 MB/s')
  })
})
