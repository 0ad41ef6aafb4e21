import { expect, test } from 'vitest'
import { digest } from '../../../src/host/digest.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import { groupWorks } from '../../../src/models/group-works.ts'
import { parseIndex } from '../../../src/models/model-index.ts'
import { renderPartMap } from '../../../src/models/part-map.ts'
import { planWorks } from '../../../src/models/plan-works.ts'
import { askSizes } from '../../../src/models/preflight.ts'
import { previewModels, readArrived } from '../../../src/models/preview-models.ts'
import { memoryContext } from '../install/context.ts'
import { modelOf, modelWorld } from './memory-store.ts'

const CONTENT = '0123456789'

async function preview(models: readonly WantedModel[], texts: Readonly<Record<string, string>> = {}) {
  const context = memoryContext()
  for (const [path, text] of Object.entries(texts)) context.texts.set(path, text)
  const world = modelWorld(context)
  world.sizes.set('https://models.example/asked', 1_234_567)
  const works = await planWorks(context, parseIndex(texts['/w/models.json']), models)
  const groups = groupWorks(
    context,
    works.filter(({ action }) => action === 'download'),
  )
  const { fetcher } = await world.open()
  const sizes = await askSizes(context, fetcher, groups)
  const changes = previewModels(works, sizes, await readArrived(context.host.files, groups, 'boot'))
  return changes.map(({ path, action, bytes }) => [path, action, bytes])
}

test('says what is read, placed and downloaded, with the bytes that are missing', async () => {
  const unknown = { sha256: null, bytes: null, estimatedBytes: 0 }
  const models = [
    modelOf('half', CONTENT),
    modelOf('same', CONTENT),
    modelOf('stored', 'in the store'),
    modelOf('foreign', 'foreign'),
    modelOf('asked', '', unknown),
    modelOf('silent', '', unknown),
    modelOf('kept', 'kept'),
    modelOf('named', '', { ...unknown, path: null, url: null }),
  ]
  const part = { source: '', sha256: digest(CONTENT), etag: null, lastModified: null, total: CONTENT.length }
  const files = { kept: { bytes: 4, mtimeMs: 1, sha256: digest('kept') } }
  const texts = {
    '/w/models.json': JSON.stringify({ schema: 1, files }),
    '/w/models/kept': 'kept',
    '/w/models/foreign': 'foreigN',
    [`/w/models/.store/partial/${digest(CONTENT)}.map`]: renderPartMap(part, 'boot', [{ from: 0, to: 4 }]),
    [`/w/models/.store/blobs/sha256/${digest('in the store')}`]: 'in the store',
  }
  expect(await preview(models, texts)).toEqual([
    ['half', 'download', 6],
    ['same', 'place', null],
    ['stored', 'place', null],
    ['foreign', 'verify', null],
    ['asked', 'download', 1_234_567],
    ['silent', 'download', null],
    [null, 'find', null],
  ])
})

test('holds a URL to the file that it served first', async () => {
  const model = modelOf('a', '', { sha256: null, bytes: null })
  const file = { bytes: 4, mtimeMs: 1, sha256: digest('old!'), source: digest(model.url ?? '') }
  const texts = { '/w/models.json': JSON.stringify({ schema: 1, files: { b: file } }) }
  expect(await preview([model], texts)).toEqual([['a', 'download', 4]])
  const stored = { [`/w/models/.store/blobs/sha256/${digest('old!')}`]: 'old!' }
  expect(await preview([model], { ...texts, ...stored })).toEqual([['a', 'place', null]])
})
